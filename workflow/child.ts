import type { Step } from "./definition.ts";
import { HodeiError } from "./errors.ts";
import { render, type Scope } from "./expression.ts";
import type { StepNode } from "./graph.ts";
import { LIMITS } from "./limits.ts";
import { checkInput } from "./queue-job.ts";
import type { Turn } from "./turn.ts";

export type WorkflowStep = Extract<Step, { kind: "workflow" }>;

/**
 * `parent/step/iteration`, and `parent/step/iteration#2` for the second child of the same iteration (a retry).
 * With `affinity: parent` what the parent hashes by is in braces, so that the child lives in the parent's shard; any
 * other child takes the braces off, or the whole tree under one affine child would share a shard.
 */
export function childIdOf(parentId: string, step: WorkflowStep, iteration: string, attempt: number): string {
  const braced = parentId.includes("{");
  let parent = parentId;
  if (step.affinity === "parent" && !braced) parent = `{${parentId}}`;
  if (step.affinity !== "parent" && braced) parent = parentId.replaceAll(/[{}]/g, "");
  return `${parent}/${step.id}/${iteration}${attempt === 1 ? "" : `#${attempt}`}`;
}

/** Asks for the start of the exact version that the execution's lock holds. Throws what makes the start impossible. */
export function startChild(
  turn: Turn,
  node: StepNode & { step: WorkflowStep },
  key: string,
  attempt: number,
  scope: Scope,
): void {
  const { execution } = turn;
  const { step } = node;
  if (execution.depth + 1 > LIMITS.childDepth) {
    throw new HodeiError("DEPTH_EXCEEDED", `sub-workflows nest at most ${LIMITS.childDepth} deep`);
  }
  const locked = execution.lock.entries[`${step.workflow} ${step.range}`];
  if (locked === undefined) {
    throw new HodeiError("NO_SUCH_VERSION", `the lock holds no version of ${step.workflow} for "${step.range}"`);
  }
  const input = render(step.input, scope);
  checkInput(turn, 0, input);
  const childId = childIdOf(execution.id, step, key, attempt);
  turn.emit({ type: "iterationWaiting", step: step.id, iteration: key, attempt, on: { childId } });
  turn.send({
    kind: "startChild",
    target: childId,
    step: step.id,
    iteration: key,
    workflow: locked.name,
    version: locked.version,
    digest: locked.digest,
    input,
    parent: {
      executionId: execution.id,
      uid: execution.uid,
      step: step.id,
      iteration: key,
      depth: execution.depth,
    },
  });
}
