import { loseOrFail, retryOrFail } from "./again.ts";
import { cancel, fail, succeed, tooLarge, type Reason } from "./end-iteration.ts";
import { formatDuration } from "./duration.ts";
import { unreachable } from "./errors.ts";
import type { Failure, Outcome } from "./job.ts";
import type { Message } from "./message.ts";
import { iterationTimer } from "./timer-id.ts";
import { findOpen, isStopping, type OpenIteration, type Turn } from "./turn.ts";
import { loseWorkspace } from "./workspace-lost.ts";

/** How an attempt ended decides how its iteration goes on. One that is not the current attempt changes nothing. */
export function takeOutcome(turn: Turn, message: Extract<Message, { kind: "outcome" }>): void {
  const { step, iteration, attempt, facts } = message;
  const of = findOpen(turn, step, iteration);
  if (of === undefined || of.iteration.state !== "queued" || of.iteration.attempt !== attempt) return;
  const outcome = bounded(message.outcome);
  turn.clearTimer(iterationTimer("queue", step, iteration));
  turn.emit({ type: "attemptEnded", step, iteration, attempt, outcome, facts });
  if (outcome.kind === "succeeded") return succeed(turn, of);
  // It was told to stop: however it ended, it is not tried again.
  if (isStopping(turn, of.record) || outcome.kind === "cancelled") return cancel(turn, of);
  decide(turn, of, outcome);
}

/** `attemptEnded` has been folded: `failures` and `losses` count this attempt already. */
function decide(turn: Turn, of: OpenIteration, outcome: Exclude<Outcome, { kind: "succeeded" | "cancelled" }>): void {
  switch (outcome.kind) {
    case "failed": {
      const { failure } = outcome;
      const reason = failureReason(failure);
      if (failure.class === "infrastructure") return loseOrFail(turn, of, true, reason);
      return retryOrFail(turn, of, failure, reason);
    }
    case "timeout":
      return decideTimeout(turn, of, outcome.timeout);
    case "rejected": {
      const message = `workers refused it ${of.iteration.losses} times: ${outcome.reason}`;
      return loseOrFail(turn, of, false, { code: "JOB_REJECTED", message, class: "infrastructure" });
    }
    case "lost": {
      const { workspace } = of.iteration;
      if (workspace !== undefined) return loseWorkspace(turn, workspace.name, of, outcome);
      const message = `its worker is gone: ${outcome.reason}`;
      return loseOrFail(turn, of, true, { code: "JOB_LOST", message, class: "infrastructure" });
    }
    default:
      unreachable(outcome);
  }
}

/** Also for the timeouts that the owner keeps (queue and total), whose timers fire here (timer.ts). */
export function decideTimeout(
  turn: Turn,
  of: OpenIteration,
  timeout: "queue" | "start" | "run" | "total",
  noWorker?: string,
): void {
  const limits = of.node.step.timeout;
  const failed = (message: string): Reason => ({ code: "JOB_TIMEOUT", message, class: "timeout" });
  switch (timeout) {
    case "queue":
      if (noWorker !== undefined) {
        return fail(turn, of, { code: "NO_MATCHING_WORKER", message: noWorker, class: "config" });
      }
      return fail(turn, of, failed(`queue timeout: no worker took it within ${formatDuration(limits.queueMs)}`));
    case "start":
      // The worker had it and did not start it: the machine's fault. It may have started all the same.
      return loseOrFail(turn, of, true, failed(`start timeout: not running within ${formatDuration(limits.startMs)}`));
    case "run":
      return retryOrFail(
        turn,
        of,
        { class: "timeout" },
        failed(`run timeout: not done within ${formatDuration(limits.runMs)}`),
      );
    case "total": {
      const allowed = limits.totalMs === undefined ? "its time" : formatDuration(limits.totalMs);
      return fail(turn, of, failed(`total timeout: not done within ${allowed}, all attempts together`));
    }
    default:
      unreachable(timeout);
  }
}

function failureReason(failure: Failure): Reason {
  const code = failure.type === "TOO_LARGE" && failure.permanent === true ? "TOO_LARGE" : "JOB_FAILED";
  const reason: Reason = { code, message: failure.message, class: failure.class };
  return failure.exitCode === undefined ? reason : { ...reason, exitCode: failure.exitCode };
}

/** Outputs beyond the bound never reach the history: the attempt is recorded as failed instead. */
function bounded(outcome: Outcome): Outcome {
  if (outcome.kind !== "succeeded") return outcome;
  const refused = tooLarge(outcome.outputs);
  if (refused === undefined) return outcome;
  const failure: Failure = { class: refused.class, type: "TOO_LARGE", message: refused.message, permanent: true };
  return { kind: "failed", failure };
}
