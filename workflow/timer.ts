import { own } from "./execution.ts";
import { decideTimeout } from "./outcome.ts";
import { recordAttempt, succeed } from "./end-iteration.ts";
import { unreachable } from "./errors.ts";
import type { Message } from "./message.ts";
import { startAttempt } from "./open-iteration.ts";
import { executionDueMs } from "./pause.ts";
import { endGrace, timeOut } from "./stop-execution.ts";
import { STOP_MS } from "./stop-iteration.ts";
import { parseTimer, type IterationTimer } from "./timer-id.ts";
import { findOpen, isStopping, type OpenIteration, type Turn } from "./turn.ts";

/**
 * A timer fired. Whatever comes of it, the answer clears or moves it, so that a fired timer never stays behind.
 * - Early by the state (it was moved while the message was under way): it is set to its date again.
 * - Paused: it is only cleared. The date stands in the state, and `resume` sets it again. Grace alone does not wait: it
 *   ends things and opens none.
 */
export function takeTimer(turn: Turn, message: Extract<Message, { kind: "timer" }>): void {
  const { execution } = turn;
  turn.clearTimer(message.timer);
  const timer = parseTimer(message.timer);
  if (timer === undefined) return;
  if (timer.kind === "grace") {
    const sinceMs =
      timer.step === undefined ? execution.stopping?.atMs : own(execution.steps, timer.step)?.stoppingAtMs;
    if (sinceMs !== undefined && isDue(turn, message.timer, sinceMs + STOP_MS)) endGrace(turn, timer.step);
    return;
  }
  if (execution.gate !== "open") return;
  if (timer.kind === "execution") {
    const dueMs = executionDueMs(turn);
    const { timeoutMs } = turn.definition;
    if (dueMs === undefined || timeoutMs === undefined || execution.phase !== "steps") return;
    if (isDue(turn, message.timer, dueMs)) timeOut(turn, timeoutMs);
    return;
  }
  const of = findOpen(turn, timer.step, timer.iteration);
  if (of === undefined || isStopping(turn, of.record)) return;
  const dueMs = iterationDueMs(timer.kind, of);
  // With a reason the shell has found that no worker can ever take it: waiting longer is of no use.
  if (dueMs === undefined || (message.reason === undefined && !isDue(turn, message.timer, dueMs))) return;
  fire(turn, timer.kind, of, message.reason);
}

function isDue(turn: Turn, timer: string, dueMs: number): boolean {
  if (turn.nowMs >= dueMs) return true;
  turn.setTimer(timer, dueMs);
  return false;
}

/** Undefined when the iteration does not wait for that. */
function iterationDueMs(kind: IterationTimer, of: OpenIteration): number | undefined {
  const { timeout } = of.node.step;
  const { state, queuedAtMs, untilMs, openedAtMs } = of.iteration;
  switch (kind) {
    case "queue":
      return state === "queued" && queuedAtMs !== undefined ? queuedAtMs + timeout.queueMs : undefined;
    case "retry":
      return state === "backoff" ? untilMs : undefined;
    case "sleep":
      return state === "waiting" ? untilMs : undefined;
    case "total":
      return timeout.totalMs === undefined ? undefined : openedAtMs + timeout.totalMs;
    default:
      unreachable(kind);
  }
}

function fire(turn: Turn, kind: IterationTimer, of: OpenIteration, reason: string | undefined): void {
  switch (kind) {
    case "sleep":
      return succeed(turn, of, {});
    case "retry":
      return startAttempt(turn, of.node, of.key);
    case "queue":
    case "total":
      endAttempt(turn, of, kind);
      return decideTimeout(turn, of, kind, reason);
    default:
      unreachable(kind);
  }
}

/** Takes back what is under way for the iteration: its job, recorded as timed out, or its child. */
function endAttempt(turn: Turn, of: OpenIteration, timeout: "queue" | "total"): void {
  const step = of.node.step.id;
  const { state, attempt, childId } = of.iteration;
  if (childId !== undefined && state === "waiting") {
    const reason = "the step's total timeout is over";
    turn.cancelChild({ kind: "cancelChild", target: childId, step, iteration: of.key, reason });
  }
  if (state !== "queued") return;
  // A queue timeout must spare a job that was claimed meanwhile; a total timeout must not.
  if (timeout === "queue") turn.cancelJob(step, of.key, attempt);
  else turn.revokeJob(step, of.key, attempt);
  recordAttempt(turn, of, { kind: "timeout", timeout });
}
