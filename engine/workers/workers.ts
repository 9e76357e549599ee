import { untilIdle } from "./drain.ts";
import type { Hint, Renewal, WorkerSlot, Assignment } from "../../store/store.ts";
import type { ServiceHandlers } from "../../transport/transport.ts";
import type { WorkerView } from "../../transport/api/cluster.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { Claims } from "./claims.ts";
import type { WorkersContext } from "./context.ts";
import { Dispatch, heldBy } from "./dispatch.ts";
import type { HostEvidence } from "./liveness.ts";
import { Liveness } from "./liveness.ts";
import { takeLogs } from "./logs.ts";
import type { WorkerRecord } from "./record.ts";
import { active, hears, viewOf } from "./record.ts";
import { Reconciliation } from "./reconciliation.ts";
import { Reports } from "./reports.ts";
import { Sessions } from "./sessions.ts";
import { Settling } from "./settling.ts";

export type WorkersHooks = {
  registered(requestId: string, worker: string): void;
  gone(record: WorkerRecord, reason: string): void;
};

const UNHEARD_MAXIMUM = 1_000;

/** The workers of one engine: the rooms of this folder, joined. */
export class Workers {
  readonly #context: WorkersContext;
  readonly #claims: Claims;
  readonly #dispatch: Dispatch;
  readonly #reports: Reports;
  readonly #settling: Settling;
  readonly #liveness: Liveness;
  readonly #sessions: Sessions;
  readonly #reconciliation: Reconciliation;
  /** Cancels that reached no worker, by token: said when it comes. */
  readonly #unheard = new Map<string, string>();

  constructor(context: WorkersContext, hooks: WorkersHooks, evidence: HostEvidence | undefined) {
    this.#context = context;
    this.#claims = new Claims(context, (assignment) => this.#dispatch.assign(assignment));
    this.#reports = new Reports(context, this.#claims);
    this.#settling = new Settling(context, () => ({
      claims: this.#claims,
      reports: this.#reports,
      sendWaiting: (record) => this.#dispatch.sendWaiting(record),
    }));
    this.#dispatch = new Dispatch(context, (held, outcome, record) => this.#settling.end(held, outcome, record));
    this.#liveness = new Liveness(context, { settling: this.#settling, claims: this.#claims, evidence });
    this.#liveness.onGone = (record, reason) => hooks.gone(record, reason);
    this.#reconciliation = new Reconciliation(context, this.#settling);
    const parts = { claims: this.#claims, dispatch: this.#dispatch, settling: this.#settling };
    this.#sessions = new Sessions(context, parts, {
      registered: (requestId, worker) => hooks.registered(requestId, worker),
      welcomed: (record) => this.#cancelUnheard(record),
      goodbye: (record, reason) => this.#liveness.goodbye(record, reason),
      away: (record) => this.#liveness.away(record),
    });
  }

  get handlers(): ServiceHandlers<"worker"> {
    return {
      connect: (stream, call) => this.#sessions.connect(stream, call),
      logs: (stream) => takeLogs(this.#context, stream),
    };
  }

  start(): void {
    this.#liveness.start();
    this.#reconciliation.start();
  }

  /** Cuts the streams: the workers look for another engine, with what they run. */
  stop(): void {
    this.#liveness.stop();
    this.#reconciliation.stop();
    for (const record of this.#context.workers.values()) {
      for (const held of record.held.values()) held.deadline?.cancel();
      record.stream?.cancel();
    }
    this.#context.workers.clear();
    this.#context.holders.clear();
  }

  /** Resolves when every outcome that is known here is in the store, or was given up for want of a session. */
  async reported(): Promise<void> {
    await this.#settling.idle();
  }

  async readopt(session: string): Promise<void> {
    await this.#sessions.readopt(session);
    // What the old session had parked in the store went with it.
    this.#claims.ask();
  }

  offer(settled: readonly { jobId: string }[]): WorkerSlot[] {
    return this.#claims.offer(settled);
  }

  answered(slots: readonly WorkerSlot[], assignments: readonly Assignment[]): void {
    this.#claims.answered(slots, assignments);
  }

  renewed(renewal: Renewal): void {
    for (const revoked of renewal.revoked) this.#cancel(revoked);
    for (const { jobId, token } of renewal.abandoned) {
      const facts = { enqueuedAtMs: this.#context.clock.now() };
      this.#settling.end(
        { jobId, token, facts, state: "running" },
        { kind: "lost", reason: "its engine is gone and no worker came back with it" },
      );
    }
    if (renewal.work) this.#claims.ask();
  }

  hint(hint: Extract<Hint, { kind: "work" | "cancel" | "workspaceReleased" }>): void {
    switch (hint.kind) {
      case "work":
        return this.#claims.ask();
      case "cancel":
        return this.#cancel(hint);
      case "workspaceReleased": {
        const record = this.#context.workers.get(hint.worker);
        record?.workspaces.delete(hint.workspace);
        record?.stream?.send({ kind: "releaseWorkspace", workspace: hint.workspace });
        return;
      }
      default:
        return hint satisfies never;
    }
  }

  /** Jobs that a turn of our own has cancelled: told to our workers without waiting for the store's hint. */
  cancelled(jobIds: Iterable<string>): void {
    for (const jobId of jobIds) {
      const record = this.#context.workers.get(this.#context.holders.get(jobId) ?? "");
      const held = record?.held.get(jobId);
      if (held) this.#cancel(held);
    }
  }

  /** The platform says that this worker's pod has ended. */
  ended(worker: string, reason: string): void {
    if (!this.#liveness.ended(worker, reason)) void this.#sessions.bereaved(worker, reason);
  }

  drainWorker(id: string): void {
    const record = this.#context.workers.get(id);
    if (!record) throw new HodeiError("NOT_FOUND", `no worker ${id} is connected to this engine`, { field: "id" });
    if (record.state === "draining") return;
    record.state = "draining";
    this.#context.emit("WorkerDraining", `worker ${record.hello.name} takes no new job`, { worker: id });
    record.stream?.send({ kind: "drain", redirect: [] });
  }

  /** Sends every worker elsewhere and waits, at most `withinMs`, until all have gone. */
  async redirect(addresses: readonly string[], withinMs: number): Promise<void> {
    for (const record of this.#context.workers.values()) {
      record.stream?.send({ kind: "drain", redirect: [...addresses] });
    }
    const { clock } = this.#context;
    await untilIdle(clock, withinMs, () => [...this.#context.workers.values()].every((record) => !record.stream));
  }

  views(): WorkerView[] {
    return [...this.#context.workers.values()].map((record) => viewOf(record, this.#context.engine));
  }

  /** Of every worker that is connected, busy ones too: what the store may count as able to serve. */
  signatures(): string[] {
    const connected = [...this.#context.workers.values()].filter((record) => record.stream);
    return [...new Set(connected.map((record) => record.signature))];
  }

  get(worker: string): WorkerRecord | undefined {
    return this.#context.workers.get(worker);
  }

  totals(): { workers: number; slots: number; jobs: number } {
    const records = [...this.#context.workers.values()];
    return {
      workers: records.length,
      slots: records.reduce((sum, record) => sum + (record.hello.offer.ephemeral ? 1 : record.hello.slots), 0),
      jobs: records.reduce((sum, record) => sum + active(record).length, 0),
    };
  }

  #cancel(of: { jobId: string; token: string }): void {
    const record = this.#context.workers.get(this.#context.holders.get(of.jobId) ?? "");
    const held = record ? heldBy(record, of) : undefined;
    if (!record || !held) return this.#keepUnheard(of);
    if (held.state === "waiting") this.#dispatch.cancelWaiting(record, held);
    else if (!hears(record)) this.#keepUnheard(of);
    else this.#dispatch.cancel(record, held, "cancelled");
  }

  /** Its worker is away, or on its way here (the store tells of it as soon as the job is adopted). The renewal tells again. */
  #keepUnheard({ jobId, token }: { jobId: string; token: string }): void {
    this.#unheard.set(token, jobId);
    for (const oldest of this.#unheard.keys()) {
      if (this.#unheard.size <= UNHEARD_MAXIMUM) return;
      this.#unheard.delete(oldest);
    }
  }

  #cancelUnheard(record: WorkerRecord): void {
    for (const { jobId, token } of record.held.values()) {
      if (this.#unheard.delete(token)) this.#cancel({ jobId, token });
    }
  }
}
