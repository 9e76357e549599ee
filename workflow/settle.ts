import { own, type StepRecord } from "./execution.ts";
import { endPhase } from "./end-phase.ts";
import type { StepNode } from "./graph.ts";
import { LIMITS } from "./limits.ts";
import { openIteration } from "./open-iteration.ts";
import { openStep } from "./open-step.ts";
import { iterationKey } from "./scope.ts";
import { STOP_MS, stopAll } from "./stop-iteration.ts";
import { stepGraceTimer } from "./timer-id.ts";
import { isStopping, type Turn } from "./turn.ts";
import { releaseIfLast } from "./workspace.ts";

/** Visits the touched steps, and those that this touches, until nothing moves; then sees whether the phase is over. */
export function settle(turn: Turn): void {
  do {
    // A set visits what is added to it, and again what was deleted and added again.
    for (const id of turn.touched) {
      turn.touched.delete(id);
      const node = turn.graph.nodes.get(id);
      if (node !== undefined) settleStep(turn, node);
    }
  } while (endPhase(turn));
}

function settleStep(turn: Turn, node: StepNode): void {
  const { execution } = turn;
  const { id } = node.step;
  if (own(execution.steps, id)?.endedAtMs !== undefined) return;
  // While paused nothing is even decided: a skip would show what the state came to before the resume.
  if ((own(execution.steps, id)?.state ?? "pending") === "pending") {
    if (execution.gate === "open") openStep(turn, node);
    if (execution.gate === "cancelled") {
      turn.emit({ type: "stepEnded", step: id, state: "cancelled", reason: stopReason(turn) });
    }
  }
  const record = own(execution.steps, id);
  if (record?.state === "open") runStep(turn, node, record);
  if (record?.endedAtMs === undefined) return;
  turn.phaseMayEnd = true;
  releaseIfLast(turn, node);
  for (const dependent of node.dependents) turn.touch(dependent);
}

function stopReason({ execution }: Turn): string {
  return execution.stopping?.error?.message ?? execution.cancelReason ?? "cancelled";
}

/**
 * Order matters: first the window is filled, then a failure seen (an iteration may fail while it is opened), and only then
 * the step may end. What a stop leaves open ends later, by an outcome or by the grace, which touches the step again.
 */
function runStep(turn: Turn, node: StepNode, record: StepRecord): void {
  const { step } = node;
  const total = record.items?.length ?? 1;
  if (turn.execution.gate === "open") fillWindow(turn, node, record, total);
  const others = record.ended < total;
  if (step.failFast && record.failed > 0 && others && !isStopping(turn, record) && roomToStop(turn, node, record)) {
    turn.emit({ type: "stepStopping", step: step.id, reason: record.error?.message ?? "an iteration failed" });
    stopAll(turn, node, "another iteration failed");
    turn.setTimer(stepGraceTimer(step.id), turn.nowMs + STOP_MS);
  }
  const stopped = turn.execution.gate === "cancelled" && step.kind === "workflow" && record.stoppingAtMs === undefined;
  if (stopped && record.open > 0 && roomToStop(turn, node, record)) {
    turn.emit({ type: "stepStopping", step: step.id, reason: stopReason(turn) });
    stopAll(turn, node, stopReason(turn));
  }
  if (record.open > 0 || (record.ended < total && !isStopping(turn, record))) return;
  if (record.stoppingAtMs !== undefined) turn.clearTimer(stepGraceTimer(step.id));
  const { error } = record;
  if (record.failed > 0) {
    turn.emit({ type: "stepEnded", step: step.id, state: "failed", ...(error === undefined ? {} : { error }) });
    return;
  }
  const whole = record.cancelled === 0 && record.ended === total;
  turn.emit({ type: "stepEnded", step: step.id, state: whole ? "succeeded" : "cancelled" });
}

/** Each child is told by a message of its own. A step has never more of them open than one commit holds. */
function roomToStop(turn: Turn, { step }: StepNode, record: StepRecord): boolean {
  return step.kind !== "workflow" || turn.takeRoom(record.open);
}

/** Opens iterations from the left until as many are open as may be. O(1) for each outcome: it goes by the counters. */
function fillWindow(turn: Turn, node: StepNode, record: StepRecord, total: number): void {
  const { maxParallel, failFast } = node.step;
  const window = Math.min(maxParallel ?? LIMITS.openIterations, LIMITS.openIterations);
  while (record.open < window && record.open + record.ended < total) {
    if (isStopping(turn, record) || (failFast && record.failed > 0)) return;
    let index = record.opened;
    // Only after a retry: iterations that it kept stand to the right of the window.
    while (record.iterations[iterationKey(record, index)] !== undefined) index++;
    if (!turn.takeRoom()) return;
    openIteration(turn, node, iterationKey(record, index));
  }
}
