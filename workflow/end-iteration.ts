import type { FailureClass } from "./definition.ts";
import { isHodeiError, type ErrorCode } from "./errors.ts";
import { own, type IterationError } from "./execution.ts";
import type { Outcome } from "./job.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { iterationTimer } from "./timer-id.ts";
import type { OpenIteration, Place, Turn } from "./turn.ts";

// The three ways in which an iteration is over. Each clears what could still fire for it and wakes its step.

/** `outputs` is left out where an `attemptEnded` has recorded them already. */
export function succeed(turn: Turn, at: Place, outputs?: Record<string, Json>): void {
  clearTimers(turn, at);
  const ended = { type: "iterationEnded", step: at.node.step.id, iteration: at.key, state: "succeeded" } as const;
  turn.emit(outputs === undefined ? ended : { ...ended, outputs });
}

/** Why an iteration or a step failed. */
export type Reason = { code: ErrorCode; message: string; class: FailureClass; exitCode?: number };

/** An iteration may fail before it was ever opened: when its input does not evaluate, for one. */
export function fail(turn: Turn, at: Place, reason: Reason): void {
  clearTimers(turn, at);
  const step = at.node.step.id;
  const error = errorOf(reason, step, at.key);
  turn.emit({ type: "iterationEnded", step, iteration: at.key, state: "failed", error });
}

export function cancel(turn: Turn, at: Place): void {
  clearTimers(turn, at);
  turn.emit({ type: "iterationEnded", step: at.node.step.id, iteration: at.key, state: "cancelled" });
}

/** Records the end of an attempt that the owner decides: no worker has told of it. */
export function recordAttempt(turn: Turn, of: OpenIteration, outcome: Outcome): void {
  const { attempt, queuedAtMs, openedAtMs } = of.iteration;
  const facts = { enqueuedAtMs: queuedAtMs ?? openedAtMs, endedAtMs: turn.nowMs };
  turn.emit({ type: "attemptEnded", step: of.node.step.id, iteration: of.key, attempt, outcome, facts });
}

/** Clears the timers that the iteration has set, by where it stands. */
export function clearTimers(turn: Turn, at: Place): void {
  const { id, timeout } = at.node.step;
  turn.touch(id);
  if (timeout.totalMs !== undefined) turn.clearTimer(iterationTimer("total", id, at.key));
  const iteration = own(turn.execution.steps, id)?.iterations[at.key];
  if (iteration === undefined) return;
  if (iteration.state === "queued") turn.clearTimer(iterationTimer("queue", id, at.key));
  if (iteration.state === "backoff") turn.clearTimer(iterationTimer("retry", id, at.key));
  if (iteration.state === "waiting" && iteration.untilMs !== undefined) {
    turn.clearTimer(iterationTimer("sleep", id, at.key));
  }
}

export function errorOf(reason: Reason, step: string, iteration?: string): IterationError {
  return {
    code: reason.code,
    message: reason.message,
    step,
    ...(iteration === undefined ? {} : { iteration }),
    class: reason.class,
    ...(reason.exitCode === undefined ? {} : { exitCode: reason.exitCode }),
  };
}

/** What a rule threw about the definition or its data. A defect of ours goes on: it must not look like the user's. */
export function reasonOf(error: unknown): Reason {
  if (!isHodeiError(error) || error.code === "INTERNAL") throw error;
  const infrastructure = error.code === "WORKSPACE_LOST";
  return { code: error.code, message: error.message, class: infrastructure ? "infrastructure" : "config" };
}

/** Undefined when `outputs` may be kept. Retrying would give the same again, so this failure is final. */
export function tooLarge(outputs: Readonly<Record<string, Json>>): Reason | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(outputs));
  if (bytes <= LIMITS.outputBytes) return undefined;
  return {
    code: "TOO_LARGE",
    message: `the outputs are ${bytes} bytes long, at most ${LIMITS.outputBytes} are kept`,
    class: "user",
  };
}
