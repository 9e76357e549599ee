import type { JobFacts, Outcome } from "../../workflow/job.ts";
import type { Claims } from "./claims.ts";
import type { WorkersContext } from "./context.ts";
import { heldBy } from "./dispatch.ts";
import type { Held, WorkerRecord } from "./record.ts";
import type { Reports } from "./reports.ts";

type Told = { jobId: string; token: string; startedAtMs?: number; endedAtMs?: number };

/** The end of attempts: outcome into the store, then the acknowledgement to the worker, then room for the next job. */
export class Settling {
  readonly #context: WorkersContext;
  /** Outcomes on their way into the store. */
  readonly #reporting = new Set<Promise<void>>();
  readonly #parts: () => { claims: Claims; reports: Reports; sendWaiting: (record: WorkerRecord) => void };

  constructor(
    context: WorkersContext,
    parts: () => { claims: Claims; reports: Reports; sendWaiting: (record: WorkerRecord) => void },
  ) {
    this.#context = context;
    this.#parts = parts;
  }

  /** What a worker says of an attempt. Acknowledged once the store has it, or has said that it wants it no more. */
  result(record: WorkerRecord, told: Told, outcome: Outcome): void {
    const held = heldBy(record, told);
    const facts: JobFacts = { ...held?.facts, enqueuedAtMs: held?.facts.enqueuedAtMs ?? this.#context.clock.now() };
    if (told.startedAtMs !== undefined) facts.startedAtMs = told.startedAtMs;
    facts.endedAtMs = told.endedAtMs ?? this.#context.clock.now();
    if (outcome.kind === "rejected") {
      this.#context.emit("JobRejected", `worker ${record.hello.name} refused ${told.jobId}: ${outcome.reason}`, {
        worker: record.id,
      });
    }
    this.#observe(told, outcome);
    // Said twice (a new stream while the first report is under way): the first one acknowledges.
    if (held?.state === "reporting") return;
    this.#begin(this.#report(record, told, outcome, facts, held));
  }

  /** An end that the worker did not tell of: lost, a timeout. */
  end(held: Held, outcome: Outcome, record?: WorkerRecord): void {
    const { emit, metrics, clock } = this.#context;
    if (held.state === "reporting") return;
    if (outcome.kind === "lost") {
      metrics.count("hodei_jobs_lost_total");
      emit("JobLost", `${held.jobId}: ${outcome.reason}`, { worker: record?.id ?? "" });
    }
    if (outcome.kind === "timeout") {
      emit("JobTimedOut", `${held.jobId}: its ${outcome.timeout} timeout is over`, { worker: record?.id ?? "" });
    }
    const facts: JobFacts = { ...held.facts, endedAtMs: clock.now() };
    if (held.startedAtMs !== undefined) facts.startedAtMs = held.startedAtMs;
    this.#begin(this.#report(record, held, outcome, facts, held));
  }

  /** Resolves when none is on its way. */
  async idle(): Promise<void> {
    while (this.#reporting.size > 0) await Promise.allSettled(this.#reporting);
  }

  #begin(reporting: Promise<void>): void {
    this.#reporting.add(reporting);
    void reporting.finally(() => this.#reporting.delete(reporting));
  }

  /** The store wants nothing of it any more. */
  forget(record: WorkerRecord, held: Held): void {
    held.deadline?.cancel();
    record.held.delete(held.jobId);
    if (this.#context.holders.get(held.jobId) === record.id) this.#context.holders.delete(held.jobId);
    record.idleSinceMs = this.#context.clock.monotonic();
  }

  async #report(
    record: WorkerRecord | undefined,
    of: { jobId: string; token: string },
    outcome: Outcome,
    facts: JobFacts,
    held: Held | undefined,
  ): Promise<void> {
    const { logger, emit } = this.#context;
    const { claims, reports, sendWaiting } = this.#parts();
    if (held) {
      held.state = "reporting";
      held.deadline?.cancel();
    }
    const questions = record?.questions;
    const { jobId, token } = of;
    const about = { job: jobId, worker: record?.id, outcome: outcome.kind };
    try {
      const report = { jobId, token, outcome, facts, ...(held?.job ? { job: held.job } : {}) };
      const taken = await reports.report(report);
      if (outcome.kind === "succeeded") logger.debug({ ...about, taken }, "attempt ended");
      else logger.info({ ...about, taken }, "attempt ended");
      if (taken === "stale")
        emit("ResultStale", `${jobId}: a ${outcome.kind} came too late`, { worker: about.worker ?? "" });
    } catch (error) {
      // Not acknowledged: the worker keeps its result and hands it to another engine.
      return logger.warn({ ...about, error }, "the outcome could not be handed in");
    }
    if (!record) return;
    record.stream?.send({ kind: "ack", jobId, token });
    if (held) this.forget(record, held);
    sendWaiting(record);
    // Its own commit has asked, unless the worker could not be offered then. Not for what ended since: that has a commit too.
    if (record.questions === questions) claims.ask([record.id]);
  }

  #observe(told: Told, outcome: Outcome): void {
    if (told.startedAtMs === undefined || told.endedAtMs === undefined) return;
    const seconds = Math.max(told.endedAtMs - told.startedAtMs, 0) / 1000;
    this.#context.metrics.observe("hodei_job_execution_duration_seconds", seconds, { outcome: outcome.kind });
  }
}
