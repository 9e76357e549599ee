import type { WorkerSlot } from "../../store/store.ts";
import type { WorkerState, WorkerView } from "../../transport/api/cluster.ts";
import type { Hello, ToWorker } from "../../transport/api/worker.ts";
import type { Job, JobFacts } from "../../workflow/job.ts";
import type { Resources } from "../../workflow/requirement.ts";
import type { WorkerSnapshot } from "../scheduler/snapshot.ts";
import type { Deadline } from "./deadline.ts";

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
  /** For `accepted`, then for the end of the run. */
  deadline?: Deadline;
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
  /** Its places in questions that are not answered yet: what they offer is spoken for. */
  readonly asking: Set<WorkerSlot>;
  /** What the last answered one of several questions at once left; undefined when all are answered. */
  leftover?: WorkerSlot["free"] | undefined;
  /** How often it was asked for in a question. */
  questions: number;
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

/** Room that no job takes, its jobs that are being reported left out, and no open question offers. */
export function freeOf(record: WorkerRecord): WorkerSlot["free"] {
  const { total, ephemeral } = record.hello.offer;
  const free = { ...total, slots: ephemeral ? 1 : record.hello.slots };
  const take = (of: Resources, slots: number): void => {
    free.cpuMillis -= of.cpuMillis;
    free.memoryBytes -= of.memoryBytes;
    free.gpu -= of.gpu;
    free.storageBytes -= of.storageBytes;
    free.slots -= slots;
  };
  for (const held of record.held.values()) {
    if (held.state === "reporting") continue;
    if (held.job) take(held.job.requirement.resources, 1);
    else free.slots -= 1;
  }
  for (const asked of record.asking) take(asked.free, asked.free.slots);
  // An ephemeral worker takes one job from the queue; its other slots are for the workspace that this job may bring.
  free.slots = record.spent ? 0 : Math.max(free.slots, 0);
  return free;
}

export function slotOf(record: WorkerRecord, free: WorkerSlot["free"]): WorkerSlot {
  return {
    worker: record.id,
    signature: record.signature,
    offer: record.hello.offer,
    free,
    workspaces: [...record.workspaces],
  };
}

export function snapshotOf(record: WorkerRecord, free: WorkerSlot["free"], nowMs: number): WorkerSnapshot {
  const away = !hears(record) || record.restUntilMs > nowMs;
  const state = record.state === "available" || record.state === "draining" ? record.state : "unhealthy";
  let busy = 0;
  for (const held of record.held.values()) if (held.state !== "reporting") busy += 1;
  return {
    worker: record.id,
    state: away ? "unhealthy" : state,
    offered: record.asking.size > 0 && free.slots === 0,
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
