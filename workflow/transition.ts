import type { Definition } from "./definition.ts";
import { tellParent } from "./end-phase.ts";
import { HodeiError, unreachable } from "./errors.ts";
import type { Execution } from "./execution.ts";
import { takeChildEnded, takeChildRefused } from "./child-ended.ts";
import type { Message, Start, Transition, TransitionContext } from "./message.ts";
import { takeOutcome } from "./outcome.ts";
import { executionDueMs, takePause, takeResume } from "./pause.ts";
import { takeRetry } from "./retry-execution.ts";
import { settle } from "./settle.ts";
import { takeSignal } from "./signal.ts";
import { takeCancel } from "./stop-execution.ts";
import { takeTimer } from "./timer.ts";
import { EXECUTION_TIMER } from "./timer-id.ts";
import { Turn } from "./turn.ts";

/**
 * The core decides, a shell does: given an execution and one message, what to record and what to do about it. Pure: the
 * same definition, execution, message and context give the same answer; time and chance come in by the context.
 *
 * `execution` is advanced in place and given back. Its owner drops it, and folds it again, when the commit fails and when
 * this throws INTERNAL. Any other HodeiError is the sender's: nothing has changed then.
 *
 * What the shell keeps to:
 * - All of one answer is one commit. An answer without any entry need not be committed.
 * - `cancel` names queued and claimed jobs alike. For a queued one that left the queue the shell sends an outcome
 *   `cancelled`; a claimed one answers for itself. Until then the iteration stays open, 45 s at most (timer `grace`).
 *   Those that are in `revoke` too are over for the core: their token has to go with the commit.
 * - A queue timer is sent only while the job is queued. Its answer cancels the job: when the store refuses that, because
 *   a worker has just taken or ended it, the shell drops the whole answer and folds again.
 * - Timers that fired are sent once each, and again after a failed commit. The answer always clears or moves them.
 * - After `more` the shell sends `continue`, also when a crash comes between: the state does not hold `more`.
 *
 * Errors: CLOSED (signal, pause, resume to one that has ended or is being cancelled; retry of a succeeded one), CONFLICT
 * (retry of a running one), INVALID_ARGUMENT, INVALID_INPUT, TOO_LARGE, RESOURCE_EXHAUSTED (signal), NOT_FOUND (anything
 * but a start for an execution that is not there).
 */
export function transition(
  definition: Definition,
  execution: Execution | undefined,
  message: Message,
  context: TransitionContext,
): { execution: Execution | undefined; transition: Transition } {
  const turn = new Turn(definition, execution, context);
  if (message.kind === "start") {
    if (execution === undefined) takeStart(turn, message.start);
    // The same start again: the first one stands. A parent that asks has not heard of the end, or a store that lost its
    // tail has made it forget; nobody else would ever tell it.
    else tellParent(turn);
  } else {
    if (execution === undefined) throw new HodeiError("NOT_FOUND", "there is no such execution");
    const repeated = "id" in message && execution.seen.includes(message.id);
    if (!repeated) take(turn, message);
  }
  settle(turn);
  return turn.result();
}

function takeStart(turn: Turn, start: Start): void {
  turn.emit({ type: "executionStarted", start: { ...start, priority: start.priority ?? turn.definition.priority } });
  const dueMs = executionDueMs(turn);
  if (dueMs !== undefined) turn.setTimer(EXECUTION_TIMER, dueMs);
  turn.touchAll();
}

function take(turn: Turn, message: Exclude<Message, { kind: "start" }>): void {
  const { execution } = turn;
  switch (message.kind) {
    case "outcome":
      return takeOutcome(turn, message);
    case "timer":
      return takeTimer(turn, message);
    case "childEnded":
      return takeChildEnded(turn, message);
    case "childRefused":
      return takeChildRefused(turn, message);
    case "cancel":
      return takeCancel(turn, message);
    case "retry":
      return takeRetry(turn, message);
    case "signal":
      refuseEnded(execution);
      return takeSignal(turn, message);
    case "pause":
      refuseEnded(execution);
      return takePause(turn, message);
    case "resume":
      refuseEnded(execution);
      return takeResume(turn, message);
    case "continue":
      if (execution.phase !== "done") turn.touchAll();
      return;
    default:
      unreachable(message);
  }
}

function refuseEnded(execution: Execution): void {
  if (execution.state === "running") return;
  throw new HodeiError("CLOSED", `execution ${execution.id} has ended: ${execution.state}`);
}
