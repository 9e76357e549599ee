import { errorOf, reasonOf } from "./end-iteration.ts";
import { HodeiError } from "./errors.ts";
import { expand } from "./expand.ts";
import { evaluate } from "./expression.ts";
import { own } from "./execution.ts";
import type { StepNode } from "./graph.ts";
import type { Turn } from "./turn.ts";

/** Opens, skips or fails a pending step once all its needs have ended; before that, nothing. */
export function openStep(turn: Turn, node: StepNode): void {
  const { step } = node;
  const { steps } = turn.execution;
  for (const id of step.needs) if (own(steps, id)?.endedAtMs === undefined) return;
  try {
    const skip = step.when === undefined ? skipReason(turn, step.needs) : whenReason(turn, step.when);
    if (skip !== undefined) {
      turn.emit({ type: "stepEnded", step: step.id, state: "skipped", reason: skip });
      return;
    }
    // What a retry kept belongs to the items as they were.
    const kept = own(turn.execution.steps, step.id)?.items;
    const items = kept === undefined ? expand(step, turn.scope()) : undefined;
    if (items !== undefined) turn.weigh(JSON.stringify(items).length);
    turn.emit(items === undefined ? opened(step.id) : { ...opened(step.id), items });
  } catch (error) {
    turn.emit({ type: "stepEnded", step: step.id, state: "failed", error: errorOf(reasonOf(error), step.id) });
  }
}

function opened(step: string): { type: "stepOpened"; step: string } {
  return { type: "stepOpened", step };
}

/** Without `when` a step runs only when everything it needs has succeeded, or failed with `continueOnError`. */
function skipReason(turn: Turn, needs: readonly string[]): string | undefined {
  for (const id of needs) {
    const record = own(turn.execution.steps, id);
    const excused = record?.state === "failed" && turn.graph.nodes.get(id)?.step.continueOnError === true;
    if (record?.state === "succeeded" || excused) continue;
    const verb = record?.state === "failed" ? "failed" : `was ${record?.state ?? "not run"}`;
    return `${id} ${verb}`;
  }
  return undefined;
}

function whenReason(turn: Turn, when: string): string | undefined {
  const value = evaluate(when, turn.scope());
  if (typeof value === "boolean") return value ? undefined : `when is false: ${when}`;
  throw new HodeiError("INVALID_EXPRESSION", `when must give true or false and gave ${JSON.stringify(value)}: ${when}`);
}
