import type { Timer } from "../../base/clock.ts";
import type { Outcome } from "../../workflow/job.ts";
import type { Claims } from "./claims.ts";
import type { WorkersContext } from "./context.ts";
import type { WorkerRecord } from "./record.ts";
import { poolOf } from "./record.ts";
import type { Settling } from "./settling.ts";

/** Three missed heartbeats. */
const UNHEALTHY_MS = 15_000;
const FAILED_MS = 45_000;
const SWEEP_MS = 1_000;
/** A process that was killed closes its sockets some milliseconds before it has left the process table. */
const PROBE_AFTER_MS = [5, 25, 75, 200, 500];

/** What this host knows of its processes; a worker that says the same boot id and pid namespace can be looked at. */
export type HostEvidence = {
  bootId: string;
  pidNamespace: string;
  /** Whether the process with this pid and start time still runs (a zombie does not). */
  alive(pid: number, startTime: string): boolean;
};

/**
 * Who is dead. A closed stream says nothing: the worker may be on its way back with its jobs. Evidence is 45 s without a
 * word, a process of this host that is gone, or the platform saying that the pod has ended.
 */
export class Liveness {
  readonly #context: WorkersContext;
  readonly #settling: Settling;
  readonly #claims: Claims;
  readonly #evidence: HostEvidence | undefined;
  #sweep: Timer | undefined;
  readonly #probes = new Set<Timer>();
  /** Told of every worker that is gone, for good. */
  onGone: (record: WorkerRecord, reason: string) => void = () => {};

  constructor(
    context: WorkersContext,
    parts: { settling: Settling; claims: Claims; evidence?: HostEvidence | undefined },
  ) {
    this.#context = context;
    this.#settling = parts.settling;
    this.#claims = parts.claims;
    this.#evidence = parts.evidence;
  }

  start(): void {
    this.#sweep = this.#context.clock.after(SWEEP_MS, () => {
      // Looking may remove one; a map allows that under its own iteration.
      for (const record of this.#context.workers.values()) this.#look(record);
      this.#gauges();
      this.start();
    });
  }

  stop(): void {
    this.#sweep?.cancel();
    for (const probe of this.#probes) probe.cancel();
    this.#probes.clear();
  }

  /** Its stream closed. One that has nothing of ours is simply gone; any other is looked for. */
  away(record: WorkerRecord): void {
    if (this.#context.workers.get(record.id) !== record) return;
    if (record.held.size === 0 && record.workspaces.size === 0) return this.#leave(record, "its stream closed");
    this.#context.emit("WorkerDisconnected", `worker ${record.hello.name} is away, with jobs`, { worker: record.id });
    for (const afterMs of PROBE_AFTER_MS) {
      const probe = this.#context.clock.after(afterMs, () => {
        this.#probes.delete(probe);
        this.#look(record);
      });
      this.#probes.add(probe);
    }
  }

  goodbye(record: WorkerRecord, reason: string): void {
    if (record.held.size > 0 || record.workspaces.size > 0) return this.failed(record, `it went: ${reason}`);
    this.#leave(record, reason);
  }

  /** The platform says that the pod of this worker has ended. False: it is not known here. */
  ended(worker: string, reason: string): boolean {
    const record = this.#context.workers.get(worker);
    if (!record) return false;
    // Its goodbye may still be on the way: an end without anything of ours is no failure.
    if (record.held.size === 0 && record.workspaces.size === 0) this.#leave(record, reason);
    else this.failed(record, reason);
    return true;
  }

  /** Dead: what it held is lost, at once. */
  failed(record: WorkerRecord, reason: string): void {
    const { workers, emit, logger } = this.#context;
    if (workers.get(record.id) !== record) return;
    workers.delete(record.id);
    record.state = "failed";
    const jobs = [...record.held.values()];
    const spends = this.#context.stopping() ? { spends: false as const } : {};
    logger.warn({ worker: record.id, jobs: jobs.length, reason }, "worker failed");
    emit("WorkerFailed", `worker ${record.hello.name} is lost: ${reason}`, {
      worker: record.id,
      facts: { jobs: String(jobs.length), reason },
    });
    for (const held of jobs) {
      const workspace = held.job?.workspace;
      const lost: Outcome = { kind: "lost", reason: `worker ${record.hello.name}: ${reason}`, ...spends };
      this.#settling.end(held, workspace === undefined ? lost : { ...lost, workspace });
      this.#context.holders.delete(held.jobId);
    }
    if (record.workspaces.size > 0) this.#claims.gone(record.id);
    record.stream?.cancel();
    this.onGone(record, reason);
  }

  #leave(record: WorkerRecord, reason: string): void {
    if (this.#context.workers.get(record.id) !== record) return;
    this.#context.workers.delete(record.id);
    record.state = "terminated";
    this.#context.emit("WorkerTerminated", `worker ${record.hello.name} has left: ${reason}`, { worker: record.id });
    this.onGone(record, reason);
  }

  #look(record: WorkerRecord): void {
    const { clock, workers, emit } = this.#context;
    if (workers.get(record.id) !== record) return;
    if (this.#isDeadHere(record)) return this.failed(record, "its process is gone");
    const silentMs = clock.monotonic() - record.lastWordMs;
    if (silentMs >= FAILED_MS) return this.failed(record, `no word for ${FAILED_MS / 1000} s`);
    if (silentMs < UNHEALTHY_MS || record.state === "unhealthy" || record.state === "draining") return;
    record.state = "unhealthy";
    emit("WorkerUnhealthy", `worker ${record.hello.name} has missed three heartbeats`, { worker: record.id });
  }

  #isDeadHere(record: WorkerRecord): boolean {
    const { bootId, pidNamespace, pid, startTime } = record.hello.host;
    const evidence = this.#evidence;
    if (!evidence || record.stream || bootId === "" || pidNamespace === "") return false;
    if (evidence.bootId !== bootId || evidence.pidNamespace !== pidNamespace) return false;
    return !evidence.alive(pid, startTime);
  }

  #gauges(): void {
    const { workers, metrics } = this.#context;
    const states = new Map<string, number>();
    const cpu = new Map<string, { sum: number; count: number }>();
    for (const record of workers.values()) {
      states.set(record.state, (states.get(record.state) ?? 0) + 1);
      const of = cpu.get(poolOf(record)) ?? { sum: 0, count: 0 };
      cpu.set(poolOf(record), { sum: of.sum + record.cpuPercent, count: of.count + 1 });
    }
    for (const state of ["available", "unhealthy", "draining"]) {
      metrics.gauge("hodei_workers", states.get(state) ?? 0, { state });
    }
    for (const [pool, of] of cpu) metrics.gauge("hodei_worker_cpu_usage_percent", of.sum / of.count, { pool });
  }
}
