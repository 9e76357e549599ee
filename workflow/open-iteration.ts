import { own } from "./execution.ts";
import { fail, reasonOf } from "./end-iteration.ts";
import { startChild } from "./child.ts";
import { unreachable } from "./errors.ts";
import type { Scope } from "./expression.ts";
import type { Json, JsonObject } from "./json.ts";
import type { Step } from "./definition.ts";
import type { StepNode } from "./graph.ts";
import { queueJob } from "./queue-job.ts";
import { iterationTimer } from "./timer-id.ts";
import type { Turn } from "./turn.ts";
import { sleep, waitForSignal } from "./wait.ts";

/** The first attempt of an iteration. What it cannot evaluate fails it; the other iterations are not concerned. */
export function openIteration(turn: Turn, node: StepNode, key: string): void {
  const { id, timeout } = node.step;
  if (timeout.totalMs !== undefined) turn.setTimer(iterationTimer("total", id, key), turn.nowMs + timeout.totalMs);
  startAttempt(turn, node, key);
}

/** The next attempt of an iteration. Attempts number from 1 over everything, a retry of the execution included. */
export function startAttempt(turn: Turn, node: StepNode, key: string): void {
  const record = own(turn.execution.steps, node.step.id);
  const attempt = (record?.iterations[key]?.attempt ?? record?.attemptsBefore?.[key] ?? 0) + 1;
  try {
    startKind(turn, node, key, attempt, turn.scope(seenBy(node.step, record?.items, key)));
  } catch (error) {
    fail(turn, { node, key }, reasonOf(error));
  }
}

function startKind(turn: Turn, node: StepNode, key: string, attempt: number, scope: Scope): void {
  const { step } = node;
  switch (step.kind) {
    case "run":
    case "task":
      return queueJob(turn, { ...node, step }, key, attempt, scope);
    case "workflow":
      return startChild(turn, { ...node, step }, key, attempt, scope);
    case "wait":
      return waitForSignal(turn, { ...node, step }, key);
    case "sleep":
      return sleep(turn, { ...node, step }, key, scope);
    default:
      unreachable(step);
  }
}

/** What only this iteration sees. */
function seenBy(step: Step, items: Json[] | undefined, key: string): Pick<Scope, "matrix" | "item" | "index"> {
  if (items === undefined) return {};
  const index = Number.parseInt(key, 10);
  const item = items[index] ?? null;
  return step.matrix === undefined ? { item, index } : { matrix: item as JsonObject };
}
