import type { Fence, Store } from "../store/store.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { LIMITS } from "../workflow/limits.ts";
import type { Envelope } from "./mailbox.ts";
import { parseJobId } from "./keys.ts";
import { untilAnswered } from "./retry.ts";

/**
 * After a commit that cancelled jobs: those that only waited have left the store and nobody will tell of them, so that we
 * say `cancelled` in their name; those with a worker answer for themselves when their process has ended. A crash in
 * between costs time, not truth: the grace timer that the core has set covers it.
 */
export async function outcomesOfWithdrawn(
  about: { store: Store; clock: Clock; random: Random; holds: (fence: Fence) => boolean; nowMs: number },
  of: { namespace: string; id: string; uid: string; fence: Fence; cancelled: ReadonlySet<string> },
): Promise<Envelope[]> {
  const { store, clock, random, holds, nowMs } = about;
  const scope = { clock, random, goOn: () => holds(of.fence) };
  const filter = { namespace: of.namespace, executionId: of.id, limit: LIMITS.iterations };
  const open = new Set((await untilAnswered(scope, () => store.jobs(filter))).map((record) => record.job.id));
  return [...of.cancelled].flatMap((jobId) => {
    const attempt = open.has(jobId) ? undefined : parseJobId(jobId);
    if (!attempt) return [];
    const { step, iteration, attempt: number } = attempt;
    const facts = { enqueuedAtMs: nowMs };
    const outcome = { kind: "cancelled" } as const;
    const message = { kind: "outcome", step, iteration, attempt: number, outcome, facts } as const;
    return [{ message, uid: of.uid, done: () => {} }];
  });
}
