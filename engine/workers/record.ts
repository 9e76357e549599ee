import type { Timer } from "../../base/clock.ts";
import type { WorkerSlot } from "../../store/store.ts";
import type { WorkerState, WorkerView } from "../../transport/api/cluster.ts";
import type { Hello, ToWorker } from "../../transport/api/worker.ts";
import type { Job, JobFacts } from "../../workflow/job.ts";
import type { Resources } from "../../workflow/requirement.ts";
import type { WorkerSnapshot } from "../scheduler/snapshot.ts";

/** A claim in the hands of a worker. */
export type Held = {
  jobId: string;
  token: string;
  /** Absent for one that came with its worker and whose record the store had no more. */
  job?: Job;
  facts: JobFacts;
  /**
   * `waiting`: given by the store beyond the worker's slots (jobs pinned to its workspace), not sent yet. `sent`: no
   * `accepted` yet. `reporting`: its outcome is on the way into the store; it takes no room any more.
   */
  state: "waiting" | "sent" | "running" | "reporting";
  startedAtMs?: number;
  /** The next deadline: for `accepted`, then for the end of the run. */
  deadline?: Timer;
};

/** One worker, from its first hello until it is gone; it outlives its streams. */
export type WorkerRecord = {
  readonly id: string;
  hello: Hello;
  signature: string;
  /** The stream that is obeyed: the newest one. Undefined while it is away. */
  stream: { send(message: ToWorker): void; cancel(): void } | undefined;
  /** Whether that stream has had its welcome: a worker drops what comes before. */
  welcomed: boolean;
  state: Extract<WorkerState, "registering" | "available" | "unhealthy" | "draining" | "terminated" | "failed">;
  readonly held: Map<string, Held>;
  readonly workspaces: Set<string>;
  /** In a claim that is not answered yet. */
  offered: boolean;
  /** Whether it has asked for work since a job of it last ended. */
  askedSince: boolean;
  /** An ephemeral one that has had its job: only jobs of its workspace may come. */
  spent: boolean;
  /** After a refusal it is left alone for a moment, lest the same job goes round and round. */
  restUntilMs: number;
  /** Monotonic. */
  lastWordMs: number;
  idleSinceMs: number;
  /** Wall. */
  connectedAtMs: number;
  lastHeartbeatAtMs: number;
  cpuPercent: number;
  memoryBytes: number;
};

/** Whether it would hear what is said to it now. */
export function hears(record: WorkerRecord): boolean {
  return record.stream !== undefined && record.welcomed;
}

/** Jobs that take room on the worker. */
export function active(record: WorkerRecord): Held[] {
  return [...record.held.values()].filter((held) => held.state === "sent" || held.state === "running");
}

function freeOf(record: WorkerRecord): WorkerSlot["free"] {
  const jobs = [...record.held.values()].filter((held) => held.state !== "reporting");
  const left = (of: keyof Resources): number =>
    record.hello.offer.total[of] - jobs.reduce((sum, held) => sum + (held.job?.requirement.resources[of] ?? 0), 0);
  return {
    cpuMillis: left("cpuMillis"),
    memoryBytes: left("memoryBytes"),
    gpu: left("gpu"),
    storageBytes: left("storageBytes"),
    slots: openSlots(record, jobs.length),
  };
}

/** An ephemeral worker takes one job from the queue; its other slots are for the workspace that this job may bring. */
function openSlots(record: WorkerRecord, taken: number): number {
  if (record.spent) return 0;
  return Math.max((record.hello.offer.ephemeral ? 1 : record.hello.slots) - taken, 0);
}

export function slotOf(record: WorkerRecord): WorkerSlot {
  return {
    worker: record.id,
    signature: record.signature,
    offer: record.hello.offer,
    free: freeOf(record),
    workspaces: [...record.workspaces],
  };
}

export function snapshotOf(record: WorkerRecord, nowMs: number): WorkerSnapshot {
  const free = freeOf(record);
  const away = !hears(record) || record.restUntilMs > nowMs;
  const state = record.state === "available" || record.state === "draining" ? record.state : "unhealthy";
  const busy = [...record.held.values()].filter((held) => held.state !== "reporting").length;
  return {
    worker: record.id,
    state: away ? "unhealthy" : state,
    offered: record.offered,
    freeSlots: free.slots,
    slots: record.hello.slots,
    total: record.hello.offer.total,
    free,
    // What comes for a workspace needs a slot of the worker all the same: it refuses more than it has.
    workspaces: busy < record.hello.slots ? record.workspaces.size : 0,
    cpuPercent: record.cpuPercent,
    idleSinceMs: record.idleSinceMs,
  };
}

export function viewOf(record: WorkerRecord, engine: string): WorkerView {
  const jobs = [...record.held.values()].filter((held) => held.state !== "reporting").map((held) => held.jobId);
  return {
    id: record.id,
    name: record.hello.name,
    engine,
    pid: record.hello.host.pid,
    host: record.hello.host.hostname,
    state: record.state === "available" && jobs.length > 0 ? "running" : record.state,
    labels: record.hello.offer.labels,
    handlers: record.hello.offer.handlers,
    ephemeral: record.hello.offer.ephemeral,
    slots: record.hello.slots,
    namespace: record.hello.offer.namespace,
    jobs,
    cpuPercent: record.cpuPercent,
    memoryBytes: record.memoryBytes,
    connectedAtMs: record.connectedAtMs,
    lastHeartbeatAtMs: record.lastHeartbeatAtMs,
  };
}

/** The pool that a metric is labelled with: bounded in number, unlike worker ids. */
export function poolOf(record: WorkerRecord): string {
  return record.hello.offer.template ?? "default";
}
