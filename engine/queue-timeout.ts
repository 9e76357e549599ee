import type { Store } from "../store/store.ts";
import { jobId } from "../workflow/job.ts";
import type { Message } from "../workflow/message.ts";
import type { Mismatch, Requirement } from "../workflow/requirement.ts";
import { parseTimer } from "../workflow/timer-id.ts";
import type { Envelope } from "./mailbox.ts";
import type { Loaded } from "./turn.ts";

/** Whether a timer is a queue timeout: what it cancels is then withdrawn, which spares a job that was claimed meanwhile. */
export function isQueueTimer(timer: string | undefined): boolean {
  return timer !== undefined && parseTimer(timer)?.kind === "queue";
}

/**
 * A queue timeout says that a job waited too long; only the store knows whether it still waits, and for what. Claimed:
 * the timer is taken off and nothing is folded. Waiting where nobody could ever run it: the message gets the words. The
 * answer may be old when the turn is committed, which is why the commit withdraws the job instead of cancelling it.
 * Throws what the store throws; asking again is harmless.
 */
export async function judgeQueueTimer(
  envelope: Envelope,
  about: {
    state: Loaded;
    store: Pick<Store, "jobs" | "demand">;
    /** What keeps the template from making a worker for it; empty: it could, so that it was only late; undefined: no template. */
    templateMismatches: (requirement: Requirement) => Mismatch[] | undefined;
  },
): Promise<Envelope> {
  const timer = envelope.fire === undefined ? undefined : parseTimer(envelope.fire);
  if (timer?.kind !== "queue" || envelope.message?.kind !== "timer") return envelope;
  const execution = about.state.execution;
  const iteration = execution.steps[timer.step]?.iterations[timer.iteration];
  if (!iteration || iteration.state !== "queued") return envelope;
  const { namespace, id: executionId } = execution;
  const id = jobId({
    namespace,
    executionId,
    step: timer.step,
    iteration: timer.iteration,
    attempt: iteration.attempt,
  });
  const [record] = await about.store.jobs({ jobId: id, limit: 1 });
  if (!record) return envelope;
  if (record.state === "claimed") return { ...envelope, message: undefined };
  const template = about.templateMismatches(record.job.requirement);
  if (template?.length === 0) return envelope;
  const of = (await about.store.demand({})).find((each) => each.classKey === record.classKey);
  if (!of || of.servable) return envelope;
  const unmet = of.mismatches.length > 0 ? of.mismatches : (template ?? []);
  const message: Message = { ...envelope.message, reason: wordsOf(unmet) };
  return { ...envelope, message };
}

function wordsOf(mismatches: readonly Mismatch[]): string {
  if (mismatches.length === 0) return "no worker is connected";
  return mismatches.map((mismatch) => `${mismatch.clause}: ${mismatch.reason}`).join("; ");
}
