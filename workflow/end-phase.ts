import { reasonOf, tooLarge } from "./end-iteration.ts";
import { own, type Execution, type ExecutionError } from "./execution.ts";
import { render } from "./expression.ts";
import type { StepNode } from "./graph.ts";
import type { JsonObject } from "./json.ts";
import { EXECUTION_TIMER, GRACE_TIMER } from "./timer-id.ts";
import type { Turn } from "./turn.ts";

/** What an execution, or one of its phases, came to. */
type Result =
  | { outcome: "succeeded"; output: JsonObject }
  | { outcome: "failed"; error: ExecutionError }
  | { outcome: "cancelled" };

/** Ends the phase when all its steps have. True when another one begins, whose steps are touched. */
export function endPhase(turn: Turn): boolean {
  const { execution } = turn;
  if (!turn.phaseMayEnd) return false;
  turn.phaseMayEnd = false;
  if (hasOpenSteps(turn)) return false;
  clearTimers(turn);
  if (execution.phase === "finally") {
    end(turn, withFinally(execution, resultOf(turn, turn.graph.finally)));
    return false;
  }
  const result = resultOf(turn, turn.graph.steps);
  if (turn.graph.finally.length === 0) {
    end(turn, result);
    return false;
  }
  const error = result.outcome === "failed" ? { error: result.error } : {};
  turn.emit({ type: "finallyStarted", outcome: result.outcome, ...error });
  turn.touchAll();
  return true;
}

/**
 * Where the last search found a step that had not ended: the next one begins there, else the many that end one after the
 * other would each be passed again, and a graph of a thousand steps spent a twentieth of its time here.
 */
const openAt = new WeakMap<Execution, number>();

function hasOpenSteps(turn: Turn): boolean {
  const { execution } = turn;
  const nodes = turn.phaseNodes();
  const from = Math.min(openAt.get(execution) ?? 0, nodes.length);
  for (let passed = 0; passed < nodes.length; passed++) {
    const at = (from + passed) % nodes.length;
    const id = nodes[at]?.step.id;
    if (id === undefined || own(execution.steps, id)?.endedAtMs !== undefined) continue;
    openAt.set(execution, at);
    return true;
  }
  return false;
}

function clearTimers(turn: Turn): void {
  if (turn.definition.timeoutMs !== undefined && turn.execution.phase === "steps") turn.clearTimer(EXECUTION_TIMER);
  if (turn.execution.stopping !== undefined) turn.clearTimer(GRACE_TIMER);
}

/**
 * A stop outweighs what the steps came to; the first failure, by time and then by order, outweighs a cancelled step. A step
 * with `continueOnError` counts for nothing here.
 */
function resultOf(turn: Turn, nodes: readonly StepNode[]): Result {
  const { execution } = turn;
  const { stopping } = execution;
  if (stopping?.error !== undefined) return { outcome: "failed", error: stopping.error };
  if (stopping !== undefined) return { outcome: "cancelled" };
  let first: { error: ExecutionError; endedAtMs: number } | undefined;
  let cancelled = false;
  for (const { step } of nodes) {
    const record = own(execution.steps, step.id);
    if (record === undefined || step.continueOnError) continue;
    if (record.state === "cancelled") cancelled = true;
    if (record.state !== "failed") continue;
    const endedAtMs = record.endedAtMs ?? 0;
    if (first !== undefined && first.endedAtMs <= endedAtMs) continue;
    const { code, message, iteration } = record.error ?? { code: "JOB_FAILED", message: `step ${step.id} failed` };
    first = { error: { code, message, step: step.id, ...(iteration === undefined ? {} : { iteration }) }, endedAtMs };
  }
  if (first !== undefined) return { outcome: "failed", error: first.error };
  return cancelled ? { outcome: "cancelled" } : outputOf(turn);
}

/** An output that cannot be given fails the execution, before `finally`, which then sees that. */
function outputOf(turn: Turn): Result {
  try {
    const output: JsonObject = Object.fromEntries(
      Object.entries(turn.definition.output).map(([name, template]) => [name, render(template, turn.scope())]),
    );
    const refused = tooLarge(output);
    if (refused === undefined) return { outcome: "succeeded", output };
    return { outcome: "failed", error: { code: refused.code, message: `output: ${refused.message}` } };
  } catch (error) {
    const { code, message } = reasonOf(error);
    return { outcome: "failed", error: { code, message: `output: ${message}` } };
  }
}

/** `finally` can only make it worse: what the steps came to stands, unless they succeeded. */
function withFinally(execution: Execution, result: Result): Result {
  if (execution.outcome === "cancelled") return { outcome: "cancelled" };
  return execution.error === undefined ? result : { outcome: "failed", error: execution.error };
}

function end(turn: Turn, result: Result): void {
  const state = result.outcome;
  const output = result.outcome === "succeeded" ? { output: result.output } : {};
  const error = result.outcome === "failed" ? { error: result.error } : {};
  turn.emit({ type: "executionEnded", state, ...output, ...error });
  tellParent(turn);
}

/** How it ended, to the execution that started it. */
export function tellParent(turn: Turn): void {
  const { parent, state, output, error } = turn.execution;
  if (parent === undefined || state === "running") return;
  turn.send({
    kind: "childEnded",
    target: parent.executionId,
    step: parent.step,
    iteration: parent.iteration,
    childId: turn.execution.id,
    parentUid: parent.uid,
    state,
    ...(output === undefined ? {} : { output }),
    ...(error === undefined ? {} : { error }),
  });
}
