import type { Job } from "../workflow/job.ts";
import { jobId } from "../workflow/job.ts";
import { signatureOf } from "../workflow/matching.ts";
import type { Offer, Requirement } from "../workflow/requirement.ts";
import type { ExecutionHead, Fence, ReportRequest, Store, TurnRequest, WorkerSlot } from "./store.ts";

/** Small valid requests for the suite and the measurements; what a test is about it overrides. */
export const GIB = 1024 ** 3;
export const SHARDS = 8;
export const TTL_MS = 10_000;

let counter = 0;
/** A fresh operation id. */
export const op = (): string => `op-${++counter}`;

export type Owner = { session: string; fences: Fence[] };

/** An engine with a session that owns `shards`. */
export async function openOwner(store: Store, name: string, shards: number[] = [0], ttlMs = TTL_MS): Promise<Owner> {
  const engine = { name, address: `${name}:1`, pid: 1, version: "0.1.0", startedAtMs: 0 };
  const { session } = await store.openSession({ opId: op(), engine, ttlMs });
  const answer = await store.acquireShards({ opId: op(), session, shards });
  if ("status" in answer) throw new Error("a fresh session is fenced");
  return { session, fences: answer.acquired };
}

export function fenceOf(owner: Owner, shard = 0): Fence {
  const fence = owner.fences.find((each) => each.shard === shard);
  if (fence === undefined) throw new Error(`${owner.session} does not own shard ${shard}`);
  return fence;
}

export function headOf(id: string, over: Partial<ExecutionHead> = {}): ExecutionHead {
  return {
    namespace: "default",
    id,
    uid: `uid-${id}`,
    shard: 0,
    revision: 0,
    workflow: "greet",
    version: "1.0.0",
    digest: "sha256:a",
    requestDigest: "sha256:b",
    uses: ["greet@1.0.0"],
    labels: {},
    state: "running",
    gate: "open",
    startedAtMs: 1000,
    ...over,
  };
}

export type TurnOver = Partial<Omit<TurnRequest, "head">> & { head?: Partial<ExecutionHead> };

/** A turn that changes nothing but the revision, and creates the execution when `expectedRevision` is not given. */
export function turnOf(owner: Owner, id: string, { head, ...over }: TurnOver = {}): TurnRequest {
  const of = headOf(id, head);
  return {
    opId: op(),
    fence: over.fence ?? fenceOf(owner, of.shard),
    namespace: of.namespace,
    id,
    expectedRevision: 0,
    events: [],
    head: of,
    take: [],
    settle: [],
    enqueue: [],
    cancel: [],
    timers: [],
    clearTimers: [],
    fire: [],
    outbox: [],
    outboxDone: [],
    releaseWorkspaces: [],
    claimFor: [],
    ...over,
  };
}

export type JobOver = Partial<Omit<Job, "id" | "requirement">> & { requirement?: Partial<Requirement> };

export function jobOf(executionId: string, step: string, over: JobOver = {}): Job {
  const { requirement, ...rest } = over;
  const job = {
    namespace: "default",
    shard: 0,
    executionId,
    executionUid: `uid-${executionId}`,
    step,
    iteration: "0",
    attempt: 1,
    priority: "normal" as const,
    work: { kind: "run" as const, script: "true", shell: "sh" as const, env: {} },
    startMs: 1000,
    runMs: 1000,
    graceMs: 1000,
    ...rest,
    requirement: { resources: { cpuMillis: 500, memoryBytes: GIB, gpu: 0, storageBytes: 0 }, ...requirement },
  };
  return { id: jobId(job), ...job };
}

export function offerOf(over: Partial<Offer> = {}): Offer {
  return {
    labels: ["linux"],
    handlers: [],
    services: [],
    hardware: {},
    models: {},
    custom: {},
    ephemeral: false,
    namespace: "*",
    total: { cpuMillis: 4000, memoryBytes: 8 * GIB, gpu: 0, storageBytes: 0 },
    ...over,
  };
}

export type SlotOver = { offer?: Partial<Offer>; free?: Partial<WorkerSlot["free"]>; workspaces?: string[] };

/** An idle worker with one slot. */
export function slotOf(worker: string, over: SlotOver = {}): WorkerSlot {
  const offer = offerOf(over.offer);
  return {
    worker,
    signature: signatureOf(offer),
    offer,
    free: { ...offer.total, slots: 1, ...over.free },
    workspaces: over.workspaces ?? [],
  };
}

export function reportOf(
  session: string,
  of: { job: Job; token: string },
  over: Partial<ReportRequest> = {},
): ReportRequest {
  return {
    opId: op(),
    session,
    jobId: of.job.id,
    token: of.token,
    outcome: { kind: "succeeded", outputs: {} },
    facts: { enqueuedAtMs: 0 },
    claimFor: [],
    ...over,
  };
}
