import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { AssignedJob } from "../transport/api/worker.ts";
import { unreachable } from "../workflow/errors.ts";
import type { Outcome } from "../workflow/job.ts";
import { runTask } from "./handler.ts";
import type { WorkspaceFolders } from "./host.ts";
import type { JobLog } from "./logs.ts";
import type { TaskFunction } from "./options.ts";
import type { Reaper } from "./reaper.ts";
import { runShell } from "./shell.ts";

/** Why a job was ended before its own end. `forgotten`: nobody wants its result any more. */
export type EndReason = "cancelled" | "timeout" | "forgotten";

export type JobParts = {
  clock: Clock;
  logger: Logger;
  reaper: Reaper;
  workspaces: WorkspaceFolders;
  inherited: Record<string, string>;
  /** Where job folders are made. */
  directory: string;
  handlers: ReadonlyMap<string, TaskFunction>;
  logsLive: () => boolean;
  onProgress: (job: AssignedJob, message: string) => void;
};

/** One attempt from its assignment to its outcome. Starts at once; `done` never rejects. */
export class RunningJob {
  readonly job: AssignedJob;
  readonly log: JobLog;
  readonly startedAtMs: number;
  readonly done: Promise<Outcome>;
  /** The process group of a shell step, once there is one. */
  group: number | undefined;
  readonly #parts: JobParts;
  readonly #abort = new AbortController();
  readonly #timer: Timer;
  #endReason: EndReason | undefined;
  #graceMs: number;

  constructor(job: AssignedJob, log: JobLog, parts: JobParts) {
    this.job = job;
    this.log = log;
    this.#parts = parts;
    this.#graceMs = job.graceMs;
    this.startedAtMs = parts.clock.now();
    this.#timer = parts.clock.after(job.runMs, () => this.end("timeout"));
    this.done = this.#run();
  }

  /** The first reason stands, except that nobody's wish for the result outweighs all. The grace period can only shrink. */
  end(reason: EndReason, graceMs = this.#graceMs): void {
    this.#graceMs = Math.min(graceMs, this.#graceMs);
    if (reason === "forgotten" || this.#endReason === undefined) this.#endReason = reason;
    this.#abort.abort(new DOMException(`the step was ended: ${reason}`, "AbortError"));
  }

  get forgotten(): boolean {
    return this.#endReason === "forgotten";
  }

  async #run(): Promise<Outcome> {
    try {
      const outcome = await this.#work();
      // Whatever the process said on its way out: it was told to go, and that is the news.
      if (this.#endReason === "timeout") return { kind: "timeout", timeout: "run" };
      return this.#endReason === undefined ? outcome : { kind: "cancelled" };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#parts.logger.error({ error, job: this.job.jobId }, "job could not be run");
      return { kind: "failed", failure: { class: "infrastructure", type: "WorkerError", message } };
    } finally {
      this.#timer.cancel();
      this.log.close();
    }
  }

  async #work(): Promise<Outcome> {
    const { job, log } = this;
    const { work } = job;
    const common = { clock: this.#parts.clock, log, signal: this.#abort.signal, graceMs: () => this.#graceMs };
    switch (work.kind) {
      case "task": {
        const run = this.#parts.handlers.get(work.handler);
        if (!run) return { kind: "rejected", reason: `no handler "${work.handler}" here` };
        const onProgress = (message: string): void => this.#parts.onProgress(job, message);
        return await runTask(job, work, { ...common, run, onProgress });
      }
      case "run": {
        const { reaper, inherited, directory, logsLive, workspaces } = this.#parts;
        const workspace = job.workspace === undefined ? undefined : await workspaces.enter(job.workspace);
        try {
          const onGroup = (group: number): void => void (this.group = group);
          const shell = { ...common, reaper, inherited, directory, logsLive, workspace, onGroup };
          return await runShell(job, work, shell);
        } finally {
          if (job.workspace !== undefined) await workspaces.leave(job.workspace);
        }
      }
      default:
        return unreachable(work);
    }
  }
}
