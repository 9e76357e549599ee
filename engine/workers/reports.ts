import { HodeiError, isHodeiError } from "../../workflow/errors.ts";
import type { Job, JobFacts, Outcome } from "../../workflow/job.ts";
import { parseJobId } from "../keys.ts";
import { untilAnswered } from "../retry.ts";
import type { Claims } from "./claims.ts";
import type { WorkersContext } from "./context.ts";

/** `job`: as it was given to the worker; absent for one that came with its worker and of which the store knew no more. */
export type Report = { jobId: string; token: string; outcome: Outcome; facts: JobFacts; job?: Job };

/** While there is no session (it was lost, the store is away) a report waits so long before it looks again. */
const NO_SESSION_MS = 100;

/**
 * Makes outcomes durable. When this engine owns the execution too, the outcome is folded and settled in the owner's next
 * turn, one store call in all; else, or when that turn could not take it, it goes into the inbox of whoever is the owner.
 */
export class Reports {
  readonly #context: WorkersContext;
  readonly #claims: Claims;

  constructor(context: WorkersContext, claims: Claims) {
    this.#context = context;
    this.#claims = claims;
  }

  /** `taken`: the store has it. `stale`: the token is unknown or revoked. Throws only when the engine stops before. */
  async report(report: Report): Promise<"taken" | "stale"> {
    const { ownership, executor, metrics } = this.#context;
    const { job } = report;
    if (!job && !parseJobId(report.jobId)) return "stale";
    metrics.count("hodei_job_outcomes_total", { outcome: report.outcome.kind });
    if (job && !isForTheStore(report.outcome, job) && ownership.fence(job.shard)) {
      const { jobId, token, outcome, facts } = report;
      const { step, iteration, attempt, executionUid: uid } = job;
      const result = await executor().settle(job, { jobId, token, uid, step, iteration, attempt, outcome, facts });
      if (result.status === "committed") return "taken";
    }
    return await this.#toInbox(report);
  }

  async #toInbox(report: Report): Promise<"taken" | "stale"> {
    const { store, ownership, clock, random, closing, logger } = this.#context;
    for (;;) {
      const session = ownership.session;
      if (!session) {
        if (closing()) throw new HodeiError("UNAVAILABLE", "the engine stops");
        await clock.sleep(NO_SESSION_MS);
        continue;
      }
      const claimFor = this.#claims.offer([report]);
      const { jobId, token, outcome, facts } = report;
      const request = { opId: random.id(), session, jobId, token, outcome, facts, claimFor };
      try {
        const scope = { clock, random, goOn: () => ownership.session === session };
        const answer = await untilAnswered(scope, () => store.reportAndClaim(request));
        if (answer.status !== "FENCED") {
          this.#claims.answered(claimFor, answer.assignments);
          return answer.status === "STALE" ? "stale" : "taken";
        }
        ownership.suspect();
      } catch (error) {
        this.#claims.answered(claimFor, []);
        if (!isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) throw error;
        logger.warn({ error, job: jobId }, "the outcome is not durable yet");
        continue;
      }
      // The session is over: its successor may report, for the worker's jobs are adopted to it.
      this.#claims.answered(claimFor, []);
      await clock.sleep(NO_SESSION_MS);
    }
  }
}

/**
 * A loss is for the store to judge: the worker may live on at another engine, which has adopted the job. So is a refusal
 * in a workspace: settled like a result it would bind the workspace to the worker that refuses.
 */
function isForTheStore({ kind }: Outcome, { workspace }: Pick<Job, "workspace">): boolean {
  return kind === "lost" || (kind === "rejected" && workspace !== undefined);
}
