import type { FailureClass } from "./definition.ts";
import { fail, type Reason } from "./end-iteration.ts";
import { LIMITS } from "./limits.ts";
import { startAttempt } from "./open-iteration.ts";
import { iterationTimer } from "./timer-id.ts";
import type { OpenIteration, Turn } from "./turn.ts";

/** The user's budget: retries what `retry.on` names by class or by type, after an exponential wait with full jitter. */
export function retryOrFail(
  turn: Turn,
  of: OpenIteration,
  failure: { class: FailureClass; type?: string; permanent?: boolean },
  reason: Reason,
): void {
  const { retry } = of.node.step;
  const wanted = retry.on.includes(failure.class) || retry.on.includes(failure.type ?? failure.class);
  const attempts = Math.min(retry.maxAttempts, LIMITS.userAttempts);
  if (failure.permanent === true || !wanted || of.iteration.failures >= attempts) return fail(turn, of, reason);
  const capMs = Math.min(retry.maxMs, retry.initialMs * retry.multiplier ** (of.iteration.failures - 1));
  again(turn, of, Math.floor(turn.context.random * capMs));
}

/**
 * The infrastructure's budget, which is not the user's: the attempt did not end by its own doing. `started` false: it
 * surely never ran, so that even an at-most-once step may be given to another worker.
 */
export function loseOrFail(turn: Turn, of: OpenIteration, started: boolean, reason: Reason): void {
  if (started && of.node.step.onLost === "fail") return fail(turn, of, reason);
  if (of.iteration.losses > LIMITS.infrastructureAttempts) return fail(turn, of, reason);
  again(turn, of, 0);
}

/** Now when that is possible; a pause, a wait or a full commit leaves it to the timer. */
function again(turn: Turn, of: OpenIteration, waitMs: number): void {
  if (waitMs === 0 && turn.execution.gate === "open" && turn.takeRoom()) return startAttempt(turn, of.node, of.key);
  const untilMs = turn.nowMs + waitMs;
  turn.emit({ type: "iterationBackoff", step: of.node.step.id, iteration: of.key, untilMs });
  turn.setTimer(iterationTimer("retry", of.node.step.id, of.key), untilMs);
}
