import { join } from "node:path";
import type { Timer } from "../base/clock.ts";
import { afterPromises } from "../base/turn.ts";
import type { AssignedJob, FromWorker } from "../transport/api/worker.ts";
import type { Channel } from "../transport/transport.ts";
import type { Outcome } from "../workflow/job.ts";
import { inheritedEnv } from "./environment.ts";
import type { ResultSpool, WorkerHost, WorkspaceFolders } from "./host.ts";
import { JobLog, LogBudget } from "./logs.ts";
import { Masker, secretsOf } from "./mask.ts";
import type { TaskFunction, WorkerOptions } from "./options.ts";
import { Reaper } from "./reaper.ts";
import { type JobParts, RunningJob } from "./run-job.ts";
import { SPOOL_MAXIMUM } from "./spool.ts";
import type { Result } from "./spool.ts";
import { LogUploader } from "./upload.ts";
import { waitAtMost } from "./wait.ts";

/**
 * A result goes to disk when its acknowledgement is late, not before it is sent: whichever comes first, the store's commit or
 * our fsync, makes it safe, and waiting for the disk first would only put its latency (0.1–10 ms) into every step. A worker
 * that dies within this time of a step's end loses what it would lose by dying so much earlier (docs/decisions/0012). Looked
 * at so often, so it goes to disk after 1 to 2 times this. Not 20 ms: an engine under load answers in 50 to 150, and then
 * every result cost two fsyncs beside those of the store that was late already.
 */
const SPOOL_AFTER_MS = 200;
/** The log of a step should be held before its outcome is, so that who reads both sees all; but a result waits no longer. */
const LOG_FIRST_MS = 2_000;
/** Attempts that ended and were acknowledged; a repeated assignment of one of them is ignored. */
const REMEMBERED = 1_000;

type Finished = Result & { log: JobLog | undefined; finishedAt: number; refusedByDisk?: true };

export type JobsOptions = Pick<
  WorkerOptions,
  "clock" | "logger" | "directory" | "baseEnv" | "passEnv" | "masks" | "id"
> & {
  host: Pick<WorkerHost, "spool" | "workspaces">;
  slots: number;
  ephemeral: boolean;
  handlers: ReadonlyMap<string, TaskFunction>;
  send: (message: FromWorker) => void;
  /** No job runs and no result waits, or something that hung on that has changed. */
  onIdle: () => void;
};

/** All attempts that this worker has to do with: running, ended and not acknowledged, lately acknowledged. */
export class Jobs {
  readonly slots: number;
  readonly #options: JobsOptions;
  readonly #running = new Map<string, RunningJob>();
  readonly #finished = new Map<string, Finished>();
  readonly #remembered = new Set<string>();
  readonly #workspaces: WorkspaceFolders;
  readonly #spool: ResultSpool;
  readonly #reaper: Reaper;
  readonly #uploader: LogUploader;
  readonly #budget = new LogBudget();
  readonly #parts: JobParts;
  /** Begun just now, and not said to be accepted yet. */
  #begun: RunningJob[] = [];
  #spooling: Timer | undefined;
  #connection = 0;
  #connected = false;
  #refusal: string | undefined;
  /** Of an ephemeral worker: whether it had its job, and the workspace that it lives for. */
  #used: { workspace: string | undefined } | undefined;
  #onFinished: (() => void) | undefined;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.slots = options.slots;
    this.#workspaces = options.host.workspaces;
    this.#spool = options.host.spool;
    this.#reaper = new Reaper(options.logger);
    this.#uploader = new LogUploader(options.clock, options.logger);
    const { clock, logger, directory, handlers, baseEnv, passEnv, send } = options;
    this.#parts = {
      clock,
      logger,
      reaper: this.#reaper,
      workspaces: this.#workspaces,
      inherited: inheritedEnv(baseEnv, passEnv),
      directory: join(directory, "jobs"),
      handlers,
      logsLive: () => this.#uploader.live,
      onProgress: ({ jobId, token }, message) => send({ kind: "progress", jobId, token, message }),
    };
  }

  /** Reads what an earlier life left behind. */
  async open(): Promise<void> {
    const [results] = await Promise.all([this.#spool.open(), this.#workspaces.open()]);
    for (const result of results) this.#finished.set(keyOf(result), { ...result, log: undefined, finishedAt: 0 });
  }

  get running(): RunningJob[] {
    return [...this.#running.values()];
  }

  get finished(): Result[] {
    return [...this.#finished.values()];
  }

  get workspaces(): string[] {
    return this.#workspaces.keys;
  }

  /** An ephemeral worker that has done what it was made for and has handed it in. */
  get spent(): boolean {
    if (!this.#options.ephemeral || !this.#used || this.#running.size > 0 || this.#finished.size > 0) return false;
    return this.#used.workspace === undefined || !this.#workspaces.has(this.#used.workspace);
  }

  /** From now on every job is rejected with this reason. */
  refuse(reason: string): void {
    this.#refusal ??= reason;
  }

  assign(job: AssignedJob): void {
    const key = keyOf(job);
    const running = this.#running.get(key);
    const finished = this.#finished.get(key);
    // The same attempt again (the engine did not hear us): say again what we said, never run it twice.
    if (running) return this.#accept(running);
    if (finished) return this.#deliver(finished);
    if (this.#remembered.has(key)) return;
    const reason = this.#whyNot(job);
    if (reason !== undefined) {
      this.#options.send({ kind: "rejected", jobId: job.jobId, token: job.token, reason });
      return;
    }
    this.#begin(key, job);
  }

  cancel(jobId: string, token: string): void {
    this.#running.get(keyOf({ jobId, token }))?.end("cancelled");
  }

  acknowledge(of: { jobId: string; token: string }): void {
    const key = keyOf(of);
    if (!this.#finished.has(key)) return;
    this.#uploader.finish(of);
    this.#finished.delete(key);
    this.#remember(key);
    this.#spool.remove(of).catch((error: unknown) => {
      this.#options.logger.warn({ error, job: of.jobId }, "spooled result could not be removed");
    });
    this.#onFinished?.();
    this.#options.onIdle();
  }

  releaseWorkspace(workspace: string): void {
    this.#workspaces.release(workspace).then(
      () => this.#options.onIdle(),
      (error: unknown) => this.#options.logger.warn({ error, workspace }, "workspace could not be removed"),
    );
  }

  /** A new engine, or the same again: hand in what waits. `stale` names attempts that are no longer wanted, by job id or token. */
  connected(channel: Channel, stale: readonly string[]): void {
    this.#connection++;
    this.#connected = true;
    const unwanted = (of: { jobId: string; token: string }): boolean =>
      stale.includes(of.token) || stale.includes(of.jobId);
    for (const running of this.#running.values()) if (unwanted(running.job)) running.end("forgotten");
    // A result that is stale may have been taken while its acknowledgement was lost: the store judges the rest of its log.
    for (const finished of this.#finished.values()) if (unwanted(finished)) this.acknowledge(finished);
    this.#uploader.attach(channel);
    for (const finished of this.#finished.values()) this.#deliver(finished);
  }

  disconnected(): void {
    this.#connected = false;
    this.#uploader.detach();
    // Nobody will acknowledge soon: what has not reached the disk goes there now.
    for (const finished of this.#finished.values()) void this.#persist(finished);
  }

  /** Ends what runs and forgets it; waits for results to be handed in, at most `handInMs`; what is left stays on disk. */
  async close(bounds: { killAfterMs: number; handInMs: number }): Promise<void> {
    const { clock } = this.#options;
    const running = this.running;
    for (const job of running) job.end("forgotten", bounds.killAfterMs);
    await Promise.all(running.map((job) => job.done));
    if (this.#finished.size > 0) {
      const handedIn = Promise.withResolvers<void>();
      this.#onFinished = () => (this.#finished.size === 0 ? handedIn.resolve() : undefined);
      await waitAtMost(clock, bounds.handInMs, handedIn.promise);
    }
    await waitAtMost(clock, bounds.handInMs, this.#uploader.finished());
    await Promise.all([...this.#finished.values()].map((finished) => this.#persist(finished)));
    for (const finished of this.#finished.values()) finished.log?.discard();
    this.#uploader.detach();
    this.#spooling?.cancel();
    this.#spooling = undefined;
    this.#reaper.stop();
  }

  #whyNot(job: AssignedJob): string | undefined {
    const { ephemeral, handlers } = this.#options;
    if (this.#refusal !== undefined) return this.#refusal;
    if (ephemeral && this.#used && (job.workspace === undefined || job.workspace !== this.#used.workspace)) {
      return "this ephemeral worker has had its job";
    }
    if (this.#running.size >= this.slots) return `all ${this.slots} slots of this worker are taken`;
    if (this.#finished.size >= SPOOL_MAXIMUM) return `${SPOOL_MAXIMUM} results wait here for their acknowledgement`;
    if (job.work.kind === "task" && !handlers.has(job.work.handler)) return `no handler "${job.work.handler}" here`;
    if (job.work.kind === "run" && job.work.container !== undefined) return "this worker runs no containers";
    return undefined;
  }

  #begin(key: string, job: AssignedJob): void {
    const { clock, baseEnv, masks = [] } = this.#options;
    const log = new JobLog({
      jobId: job.jobId,
      token: job.token,
      clock,
      budget: this.#budget,
      masker: () => new Masker(secretsOf({ ...baseEnv, ...job.work.env }, masks)),
      onReady: this.#uploader.notify,
    });
    this.#uploader.add(log);
    this.#used ??= { workspace: job.workspace };
    const running = new RunningJob(job, log, this.#parts);
    this.#running.set(key, running);
    // After what it does at once: a job that has ended by then needs no word of its beginning, its result has the time of it.
    if (this.#begun.push(running) === 1) afterPromises(() => this.#acceptBegun());
    void running.done.then((outcome) => this.#finish(key, running, outcome));
  }

  #acceptBegun(): void {
    for (const running of this.#begun.splice(0))
      if (this.#running.get(keyOf(running.job)) === running) this.#accept(running);
  }

  #accept({ job, startedAtMs }: RunningJob): void {
    this.#options.send({ kind: "accepted", jobId: job.jobId, token: job.token, startedAtMs });
  }

  #finish(key: string, running: RunningJob, outcome: Outcome): void {
    const { job, log, startedAtMs } = running;
    this.#running.delete(key);
    if (running.forgotten) {
      this.#remember(key);
      this.#uploader.remove(job);
      return this.#options.onIdle();
    }
    const { jobId, token } = job;
    const { clock } = this.#options;
    const endedAtMs = clock.now();
    const finishedAt = clock.monotonic();
    const finished: Finished = { kind: "result", jobId, token, outcome, startedAtMs, endedAtMs, log, finishedAt };
    this.#finished.set(key, finished);
    if (this.#connected) this.#spooling ??= clock.after(SPOOL_AFTER_MS, () => this.#spoolLate());
    else void this.#persist(finished);
    this.#deliver(finished);
    this.#options.onIdle();
  }

  /** Sends a result over the connection of now, its log first. A later connection sends it again if need be. */
  #deliver(finished: Finished): void {
    if (!this.#connected) return;
    const { log } = finished;
    const send = (): void => this.#options.send(resultOf(finished));
    if (!log || log.done) return send();
    const connection = this.#connection;
    void log.drained(LOG_FIRST_MS).then(() => {
      if (this.#connection === connection && this.#connected && this.#finished.has(keyOf(finished))) send();
    });
  }

  /** One timer for all: hardly a result is ever late. */
  #spoolLate(): void {
    const { clock } = this.#options;
    const before = clock.monotonic() - SPOOL_AFTER_MS;
    for (const finished of this.#finished.values()) if (finished.finishedAt <= before) void this.#persist(finished);
    this.#spooling = this.#finished.size > 0 ? clock.after(SPOOL_AFTER_MS, () => this.#spoolLate()) : undefined;
  }

  /** Never rejects: a result that the disk refuses is still in memory and still sent; only the worker's own death loses it. */
  async #persist(finished: Finished): Promise<void> {
    try {
      await this.#spool.write(resultOf(finished));
    } catch (error) {
      // Tried again five times a second: a full disk must not fill the log too.
      if (finished.refusedByDisk) return;
      finished.refusedByDisk = true;
      this.#options.logger.error({ error, job: finished.jobId }, "result could not be spooled");
    }
  }

  #remember(key: string): void {
    this.#remembered.add(key);
    const [oldest] = this.#remembered;
    if (this.#remembered.size > REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
  }
}

function resultOf({ kind, jobId, token, outcome, startedAtMs, endedAtMs }: Finished): Result {
  return { kind, jobId, token, outcome, startedAtMs, endedAtMs };
}

function keyOf(of: { jobId: string; token: string }): string {
  return `${of.jobId} ${of.token}`;
}
