import { cancel } from "./end-iteration.ts";
import type { StepNode } from "./graph.ts";
import { GRACE_MS } from "./queue-job.ts";
import { openIterations, type OpenIteration, type Turn } from "./turn.ts";

/** How long a stop waits for the last word of jobs and children; then they count as cancelled. */
export const STOP_MS = GRACE_MS + 15_000;

/**
 * Tells what is open to stop. Jobs and children stay open until their end is known, so that what runs next (`finally`, a
 * dependent in the same folder) does not meet them; everything else ends at once.
 */
export function stopIteration(turn: Turn, of: OpenIteration, reason: string): void {
  const { step } = of.node;
  const { state, attempt, childId } = of.iteration;
  if (state === "queued" && turn.cancelJob(step.id, of.key, attempt)) return;
  if (state === "waiting" && childId !== undefined) {
    if (turn.cancelChild({ kind: "cancelChild", target: childId, step: step.id, iteration: of.key, reason })) return;
  }
  cancel(turn, of);
}

export function stopAll(turn: Turn, node: StepNode, reason: string): void {
  for (const of of openIterations(turn, node)) stopIteration(turn, of, reason);
}
