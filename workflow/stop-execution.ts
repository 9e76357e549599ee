import { own } from "./execution.ts";
import { cancel } from "./end-iteration.ts";
import type { Message } from "./message.ts";
import { STOP_MS, stopAll } from "./stop-iteration.ts";
import { GRACE_TIMER } from "./timer-id.ts";
import { openIterations, type Turn } from "./turn.ts";
import { formatDuration } from "./duration.ts";

/**
 * Stops the current phase. In the steps: then `finally` runs, with a gate that is open again (`outcome` says that they were
 * cancelled). In `finally`: that is given up too, and the execution ends. While it is stopping already: nothing.
 */
export function takeCancel(turn: Turn, message: Extract<Message, { kind: "cancel" }>): void {
  const { id, reason, by } = message;
  if (turn.execution.phase === "done" || turn.execution.gate === "cancelled") return;
  turn.emit({ type: "cancelRequested", id, reason, by });
  stopPhase(turn, reason);
}

/** The execution's own timeout: as a cancel, but it will have failed. `finally` has the timeouts of its own steps. */
export function timeOut(turn: Turn, timeoutMs: number): void {
  const message = `the execution was not done within ${formatDuration(timeoutMs)}`;
  turn.emit({ type: "executionTimedOut", error: { code: "JOB_TIMEOUT", message } });
  stopPhase(turn, message);
}

function stopPhase(turn: Turn, reason: string): void {
  for (const node of turn.phaseNodes()) {
    const record = own(turn.execution.steps, node.step.id);
    // One that stops because an iteration failed has told its jobs already, and has its own grace.
    if (record?.state !== "open" || record.stoppingAtMs !== undefined) continue;
    // Children are told by messages, of which a commit holds so many: as it has room, when the step is settled.
    if (node.step.kind !== "workflow") stopAll(turn, node, reason);
  }
  // Cleared again when nothing is left open, with the end of the phase.
  turn.setTimer(GRACE_TIMER, turn.nowMs + STOP_MS);
  turn.touchAll();
}

/** What was told to stop has had its time. Its last word, if it still comes, changes nothing. */
export function endGrace(turn: Turn, step: string | undefined): void {
  for (const node of turn.phaseNodes()) {
    if (step !== undefined && node.step.id !== step) continue;
    for (const of of openIterations(turn, node)) {
      if (of.iteration.state === "queued") turn.revokeJob(node.step.id, of.key, of.iteration.attempt);
      cancel(turn, of);
    }
  }
}
