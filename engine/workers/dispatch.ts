import type { Assignment } from "../../store/store.ts";
import type { AssignedJob } from "../../transport/api/worker.ts";
import type { Job, Outcome } from "../../workflow/job.ts";
import type { WorkersContext } from "./context.ts";
import { Deadline } from "./deadline.ts";
import type { Held, WorkerRecord } from "./record.ts";
import { hears } from "./record.ts";

/** From the assignment being sent to the worker's `accepted`. */
const ACCEPT_MS = 5_000;
/** The worker keeps the run timeout; its engine steps in when even the kill after the grace period brought no result. */
const RUN_SLACK_MS = 30_000;

/** Without a record the worker itself is gone. */
export type EndAttempt = (held: Held, outcome: Outcome, record?: WorkerRecord) => void;

/**
 * Hands claims to workers, and keeps the deadlines of what they hold. Nothing is sent before the store has given the
 * token: a worker can only ever run what is recorded as its own.
 */
export class Dispatch {
  readonly #context: WorkersContext;
  readonly #end: EndAttempt;

  constructor(context: WorkersContext, end: EndAttempt) {
    this.#context = context;
    this.#end = end;
  }

  assign(assignment: Assignment): void {
    const { workers, holders, logger, metrics } = this.#context;
    const { job, token, worker, facts } = assignment;
    const record = workers.get(worker);
    const held: Held = { jobId: job.id, token, job, facts, state: "waiting" };
    const waitedMs = (facts.claimedAtMs ?? facts.enqueuedAtMs) - facts.enqueuedAtMs;
    metrics.observe("hodei_job_queue_duration_seconds", waitedMs / 1000);
    if (!record) return this.#homeless(worker, held);
    // A repeated answer (the same operation asked again) must not start the clock anew.
    if (record.held.get(job.id)?.token === token) return;
    record.held.set(job.id, held);
    holders.set(job.id, record.id);
    if (job.workspace !== undefined) record.workspaces.add(job.workspace);
    if (record.hello.offer.ephemeral) record.spent = true;
    logger.debug({ job: job.id, execution: job.executionId, worker }, "job given to worker");
    this.sendWaiting(record);
  }

  /** Sends what waits, as far as the worker has slots. */
  sendWaiting(record: WorkerRecord): void {
    if (!hears(record)) return;
    let busy = 0;
    for (const { state } of record.held.values()) if (state === "sent" || state === "running") busy += 1;
    for (const held of record.held.values()) {
      if (held.state !== "waiting" || !held.job) continue;
      if (busy >= record.hello.slots) return;
      busy += 1;
      held.state = "sent";
      this.#deadline(held, Math.min(ACCEPT_MS, held.job.startMs), () => {
        const started = held.job !== undefined && held.job.startMs <= ACCEPT_MS;
        const lost: Outcome = { kind: "lost", reason: "the worker did not accept the job in 5 s" };
        this.cancel(record, held, "not accepted in time");
        this.#doubt(record);
        this.#end(held, started ? { kind: "timeout", timeout: "start" } : lost, record);
      });
      record.stream?.send({ kind: "assign", job: assignedJob(held.job, held.token) });
    }
  }

  accepted(record: WorkerRecord, of: { jobId: string; token: string; startedAtMs: number }): void {
    const held = heldBy(record, of);
    if (!held || held.state === "reporting") return;
    held.state = "running";
    held.startedAtMs = of.startedAtMs;
    this.watchRun(record, held);
  }

  /** From now on, by our own clock: what a worker's wall clock says of the start may be anything. */
  watchRun(record: WorkerRecord, held: Held): void {
    if (!held.job) return;
    this.#deadline(held, held.job.runMs + held.job.graceMs + RUN_SLACK_MS, () => {
      this.cancel(record, held, "its run timeout is over");
      this.#end(held, { kind: "timeout", timeout: "run" }, record);
    });
  }

  /**
   * It does not hear, or does not answer: until its next word others get the jobs. It looks idle, so without this it would
   * be given the same job again every 5 s, and that would have spent its losses in 20.
   */
  #doubt(record: WorkerRecord): void {
    if (record.state !== "available") return;
    record.state = "unhealthy";
    const words = `worker ${record.hello.name} did not accept a job in ${ACCEPT_MS / 1000} s`;
    this.#context.emit("WorkerUnhealthy", words, { worker: record.id });
  }

  cancel(record: WorkerRecord, held: { jobId: string; token: string }, reason: string): void {
    record.stream?.send({ kind: "cancel", jobId: held.jobId, token: held.token, reason });
  }

  /** Cancelled before it was sent: there is no process to wait for. */
  cancelWaiting(record: WorkerRecord, held: Held): void {
    if (held.state === "waiting") this.#end(held, { kind: "cancelled" }, record);
  }

  #deadline(held: Held, delayMs: number, action: () => void): void {
    if (!Number.isFinite(delayMs)) held.deadline?.cancel();
    else if (held.deadline) held.deadline.move(delayMs, action);
    else held.deadline = new Deadline(this.#context.clock, delayMs, action);
  }

  /** Claimed for a worker that went while the store answered: nobody has seen the job, so it is nobody's loss. */
  #homeless(worker: string, held: Held): void {
    this.#context.logger.warn({ job: held.jobId, worker }, "claimed for a worker that is gone");
    this.#end(held, { kind: "rejected", reason: "the worker went away before the job reached it", spends: false });
  }
}

/** The held job of this id, if the token is the one it is held under. */
export function heldBy(record: WorkerRecord, of: { jobId: string; token: string }): Held | undefined {
  const held = record.held.get(of.jobId);
  return held?.token === of.token ? held : undefined;
}

function assignedJob(job: Job, token: string): AssignedJob {
  return {
    jobId: job.id,
    token,
    work: job.work,
    namespace: job.namespace,
    executionId: job.executionId,
    executionUid: job.executionUid,
    step: job.step,
    iteration: job.iteration,
    attempt: job.attempt,
    runNumber: job.runNumber ?? 0,
    ...(job.workspace === undefined ? {} : { workspace: job.workspace }),
    runMs: job.runMs,
    graceMs: job.graceMs,
    resources: job.requirement.resources,
  };
}
