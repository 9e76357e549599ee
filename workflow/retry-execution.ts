import { own } from "./execution.ts";
import { HodeiError } from "./errors.ts";
import type { Message } from "./message.ts";
import { executionDueMs } from "./pause.ts";
import { EXECUTION_TIMER } from "./timer-id.ts";
import type { Turn } from "./turn.ts";

/**
 * Sets a failed or cancelled execution running again: the named steps (default: all that failed or were cancelled), what
 * depends on them, everything that shares a workspace with one of those (its folder is gone), and `finally`. Attempts go
 * on counting, so that job ids, tokens and idempotency keys never mean two things. Unnamed steps of many iterations keep
 * those that succeeded, unless what they ran over may change.
 */
export function takeRetry(turn: Turn, message: Extract<Message, { kind: "retry" }>): void {
  const { execution, graph } = turn;
  if (execution.state === "running") {
    throw new HodeiError("STILL_RUNNING", `execution ${execution.id} still runs`, {
      hint: "cancel it, or wait for its end",
    });
  }
  if (execution.state === "succeeded") {
    throw new HodeiError("CLOSED", `execution ${execution.id} has succeeded: there is nothing to retry`);
  }
  const roots = new Set(message.steps.length > 0 ? named(turn, message.steps) : unsuccessful(turn));
  const { steps, workspaces } = closure(turn, roots);
  const keep = [...roots].filter((id) => message.steps.length === 0 && mayKeep(turn, id, steps));
  turn.emit({
    type: "retried",
    id: message.id,
    by: message.by,
    steps: [...steps, ...graph.finally.map((node) => node.step.id)],
    keep,
    workspaces: [...workspaces],
  });
  const dueMs = executionDueMs(turn);
  if (dueMs !== undefined) turn.setTimer(EXECUTION_TIMER, dueMs);
  turn.touchAll();
}

function named(turn: Turn, steps: string[]): string[] {
  const unknown = steps.filter((id) => turn.graph.nodes.get(id)?.inFinally !== false);
  if (unknown.length === 0) return steps;
  const known = turn.graph.steps.map((node) => node.step.id).join(", ");
  throw new HodeiError("INVALID_ARGUMENT", `no such step: ${unknown.join(", ")}`, {
    field: "steps",
    hint: `the steps are ${known}; finally runs again in any case`,
  });
}

function unsuccessful(turn: Turn): string[] {
  const ids = turn.graph.steps.map((node) => node.step.id);
  return ids.filter((id) => {
    const state = own(turn.execution.steps, id)?.state;
    return state === "failed" || state === "cancelled";
  });
}

function closure(turn: Turn, roots: ReadonlySet<string>): { steps: Set<string>; workspaces: Set<string> } {
  const { graph } = turn;
  const steps = new Set(roots);
  const workspaces = new Set<string>();
  // A set visits what is added while it is walked.
  for (const id of steps) {
    const node = graph.nodes.get(id);
    for (const dependent of node?.dependents ?? []) steps.add(dependent);
    const name = node?.step.workspace;
    if (name === undefined || workspaces.has(name)) continue;
    workspaces.add(name);
    for (const sharer of graph.workspaces.get(name) ?? []) if (!sharer.inFinally) steps.add(sharer.step.id);
  }
  // What only `finally` used gets a fresh folder too: it was released at the end.
  for (const { step } of graph.finally) if (step.workspace !== undefined) workspaces.add(step.workspace);
  return { steps, workspaces };
}

function mayKeep(turn: Turn, id: string, reset: ReadonlySet<string>): boolean {
  const step = turn.graph.nodes.get(id)?.step;
  if (step === undefined || step.workspace !== undefined) return false;
  if (step.matrix === undefined && step.forEach === undefined) return false;
  return !step.needs.some((need) => reset.has(need));
}
