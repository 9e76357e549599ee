import { HodeiError } from "./errors.ts";
import type { Message } from "./message.ts";
import { EXECUTION_TIMER, iterationTimer } from "./timer-id.ts";
import { openIterations, type OpenIteration, type Turn } from "./turn.ts";

/** Opens nothing more; what runs goes on, and its outcomes are taken. Pausing twice is one pause. */
export function takePause(turn: Turn, message: Extract<Message, { kind: "pause" }>): void {
  const { gate, id } = turn.execution;
  if (gate === "cancelled") throw new HodeiError("CLOSED", `execution ${id} is being cancelled`);
  if (gate === "open") turn.emit({ type: "paused", id: message.id, by: message.by });
}

/** Sets again every timer that may have come due meanwhile (see timer.ts), and opens what was held back. */
export function takeResume(turn: Turn, message: Extract<Message, { kind: "resume" }>): void {
  const { execution, nowMs } = turn;
  if (execution.gate === "cancelled") throw new HodeiError("CLOSED", `execution ${execution.id} is being cancelled`);
  if (execution.gate === "open") return;
  turn.emit({ type: "resumed", id: message.id, by: message.by });
  const dueMs = executionDueMs(turn);
  if (dueMs !== undefined && execution.phase === "steps") turn.setTimer(EXECUTION_TIMER, Math.max(dueMs, nowMs));
  for (const node of turn.phaseNodes()) for (const of of openIterations(turn, node)) resetTimers(turn, of);
  turn.touchAll();
}

/** When the execution's own timeout is over. */
export function executionDueMs(turn: Turn): number | undefined {
  const { timeoutMs } = turn.definition;
  const { startedAtMs, retriedAtMs } = turn.execution;
  return timeoutMs === undefined ? undefined : (retriedAtMs ?? startedAtMs) + timeoutMs;
}

function resetTimers(turn: Turn, of: OpenIteration): void {
  const { step } = of.node;
  const { state, untilMs, openedAtMs } = of.iteration;
  const set = (kind: "queue" | "retry" | "sleep" | "total", dueMs: number): void =>
    turn.setTimer(iterationTimer(kind, step.id, of.key), Math.max(dueMs, turn.nowMs));
  // No worker could take it while the gate was closed: its time in the queue begins again.
  if (state === "queued") set("queue", turn.nowMs + step.timeout.queueMs);
  if (state === "backoff" && untilMs !== undefined) set("retry", untilMs);
  if (state === "waiting" && untilMs !== undefined) set("sleep", untilMs);
  if (step.timeout.totalMs !== undefined) set("total", openedAtMs + step.timeout.totalMs);
}
