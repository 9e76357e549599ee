import type { Gate, ExecutionState, ParentRef } from "../workflow/execution.ts";
import type { Job, JobFacts, Outcome } from "../workflow/job.ts";
import type { Timer } from "../workflow/message.ts";
import type { Mismatch, Offer, Requirement, Resources } from "../workflow/requirement.ts";

/**
 * The port to durable memory. Adapters: `memory.ts` (the model), `sqlite/`, later `redis/`; all held to `conformance.ts`.
 *
 * What every adapter promises
 * - A call that resolved is durable to the adapter's declared level; one that rejected with UNAVAILABLE may or may not
 *   have happened: repeat it with the same `opId`. A repeated opId answers what the first one answered, marked DUPLICATE.
 * - Each call is atomic. Nothing is written when the answer is FENCED, CONFLICT or EARLY.
 * - Time: only the store's own clock judges leases and timers; answers carry it as `nowMs` (wall ms).
 * - Texts (`events`, `snapshot`, definitions, messages) are opaque JSON here: the store never reads inside.
 */
export type Store = {
  /** Reads or fixes what is decided once for a data set. Another `shards` than the persisted one → INVALID_ARGUMENT. */
  open(options: { shards: number }): Promise<ClusterInfo>;
  close(): Promise<void>;

  // Sessions and ownership --------------------------------------------------------------------------------------------

  /** A lease for one engine. Opening again under the same engine name ends the older session (its process is gone). */
  openSession(request: {
    opId: string;
    engine: EngineInfo;
    ttlMs: number;
  }): Promise<{ session: string; nowMs: number }>;
  /**
   * Renews the lease. FENCED when it has ended or expired. `signatures`: of every worker connected now, busy ones too;
   * without it the store knows only what claims have shown it since the session began.
   */
  renewSession(request: { session: string; signatures?: string[] }): Promise<Renewal | Fenced>;
  /** Ends it now: shards free, its claimed jobs adoptable for ADOPTION_MS. */
  endSession(request: { session: string }): Promise<void>;
  sessions(): Promise<SessionRecord[]>;
  /**
   * Takes shards that are free, whose owner's session has ended, or that the session itself has: it asks because it does
   * not know. A taken shard gets epoch + 1 and a fresh nonce. A repeated call takes no more than the first one did.
   */
  acquireShards(request: { opId: string; session: string; shards: number[] }): Promise<{ acquired: Fence[] } | Fenced>;
  releaseShards(request: { fences: Fence[] }): Promise<void>;
  shards(): Promise<ShardRecord[]>;
  /** Named lease for cluster singletons (the leader orchestrator). Answers the holder after the call. */
  lease(request: {
    name: string;
    holder: string;
    ttlMs: number;
    release?: boolean;
  }): Promise<{ holder: string | undefined; nowMs: number }>;

  // The four writes ---------------------------------------------------------------------------------------------------

  /** One atomic commit of one execution by the owner of its shard; also claims for the caller's idle workers. */
  turn(request: TurnRequest): Promise<TurnAnswer>;
  /**
   * Puts an attempt's outcome into its shard's inbox (first outcome wins), wakes the owner, claims again for the freed
   * worker. The same token again answers DUPLICATE, also for a while after the owner has folded the outcome. `lost` is
   * taken only from the session that holds the job, or, once the job is `abandoned`, from the owner of its shard.
   */
  reportAndClaim(request: ReportRequest): Promise<ReportAnswer>;
  /** Gives jobs to workers in the caller's order (at most 32); parks the session under the signatures that got nothing. */
  claim(request: ClaimRequest): Promise<{ assignments: Assignment[]; nowMs: number } | Fenced>;
  /**
   * Moves running jobs, and the workspaces of the worker, to the caller's session: their worker has reconnected here.
   * `adopted` and `stale` are tokens: after a lost tail a worker may hold one job under two. Those that are unknown, revoked
   * or have an outcome come back as stale. A job whose session has ended stays adoptable
   * until its owner reports it lost, which is ADOPTION_MS later at the earliest.
   * `missing`: claims that other sessions made for this worker and that it does not list, so it never got them. They are
   * the caller's now, which reports them lost: waiting out ADOPTION_MS would only delay them.
   */
  adopt(request: {
    opId: string;
    session: string;
    worker: string;
    jobs: { jobId: string; token: string }[];
  }): Promise<{ adopted: string[]; stale: string[]; missing?: { jobId: string; token: string }[] } | Fenced>;

  // Reads of the owner (fenced) ---------------------------------------------------------------------------------------

  /** What a new owner of a shard must know: open executions, timers, outbox. Pages by `cursor`. */
  loadShard(request: { fence: Fence; cursor?: string; limit: number }): Promise<ShardPage | Fenced>;
  readInbox(request: { fences: Fence[]; limit: number }): Promise<{ entries: InboxEntry[]; fenced: Fence[] }>;
  /** The owner's read: head, newest snapshot, the events after it, timers, outbox. Undefined: no such execution. */
  readExecution(request: {
    namespace: string;
    id: string;
    fence?: Fence;
  }): Promise<ExecutionRecord | undefined | Fenced>;
  /** Deletes finished executions whose end is older, with history and logs; at most `limit`. */
  expire(request: { fence: Fence; endedBeforeMs: number; limit: number }): Promise<{ expired: number } | Fenced>;

  // Reads for anyone --------------------------------------------------------------------------------------------------

  /** Events after `afterRevision` (a revision is one commit), oldest first. */
  readHistory(request: {
    namespace: string;
    id: string;
    afterRevision: number;
    limit: number;
  }): Promise<HistoryPage | undefined>;
  listExecutions(filter: ExecutionFilter): Promise<{ executions: ExecutionHead[]; nextPage?: string }>;
  /** The open jobs of one execution, or of all, oldest first. A job whose outcome waits for its owner counts as claimed. */
  jobs(filter: { namespace?: string; executionId?: string; jobId?: string; limit: number }): Promise<JobRecord[]>;
  /**
   * Unmatched demand: per class, what waits in the shards that `session` owns (all shards when undefined). Jobs held back
   * by a gate or pinned to the holder of their workspace are no demand. `oldestAtMs` is that of the whole class.
   */
  demand(request: { session?: string }): Promise<ClassDemand[]>;
  /** Hints only (may be lost, may repeat): re-read what they point at. Returns the way to stop. */
  watch(topic: WatchTopic, onHint: (hint: Hint) => void): () => void;

  // Registry, logs, worker requests -----------------------------------------------------------------------------------

  registry: RegistryStore;
  logs: LogStore;
  workerRequests: WorkerRequestStore;
};

/** After a session's end its jobs may be adopted this long; only then does the owner report them lost. */
export const ADOPTION_MS = 45_000;

/** When a job has waited this long its class is served whatever its band, and it may reserve a worker. */
export const AGEING_MS = 60_000;

export type ClusterInfo = {
  shards: number;
  /**
   * Changes when the store may have lost its tail (failover, restore): drop all ownership and reload. Every session and
   * fence of before has ended with it, so that nobody writes on the strength of an answer that the store has forgotten.
   */
  replicationId: string;
  durability: "memory" | "process" | "disk";
  nowMs: number;
};

export type Fenced = { status: "FENCED" };
export type Fence = { session: string; shard: number; epoch: number; nonce: string };
export type ShardRecord = { shard: number; owner?: string; session?: string; epoch: number };

export type EngineInfo = { name: string; address: string; pid: number; version: string; startedAtMs: number };
export type SessionRecord = {
  session: string;
  engine: EngineInfo;
  expiresAtMs: number;
  shards: number;
  claims: number;
};

export type Renewal = {
  status: "OK";
  nowMs: number;
  replicationId: string;
  /** Shards of this session whose inbox is not empty. */
  inbox: number[];
  /** Claims of this session to stop: cancelled ones until their outcome comes, revoked ones until their worker reports. */
  revoked: { jobId: string; token: string }[];
  /**
   * Jobs in shards of this session whose holder's session ended more than ADOPTION_MS ago (at most 256 at a time). The
   * owner reports them lost with `reportAndClaim`, which takes `lost` from it for these.
   */
  abandoned: { jobId: string; token: string }[];
  /** Whether jobs wait that one of the parked signatures could run. */
  work: boolean;
};

/**
 * One worker of the caller that could take jobs, with what it has free now: it gets up to `free.slots` of them, and
 * those of the workspaces bound to it besides. Listing a worker twice with a slot each spreads jobs over workers.
 */
export type WorkerSlot = {
  worker: string;
  /** Digest of `offer` without ids: equal offers are one signature. */
  signature: string;
  offer: Offer;
  free: Resources & { slots: number };
  /** Workspaces this worker holds: their jobs come first and need no free slot. */
  workspaces: string[];
};

/** A claim: the job is this worker's under this token, before anything is dispatched. */
export type Assignment = { job: Job; token: string; worker: string; facts: JobFacts };

export type TurnRequest = {
  opId: string;
  fence: Fence;
  namespace: string;
  id: string;
  /** 0 creates the execution; otherwise what the owner last saw. */
  expectedRevision: number;
  /** JSON texts, one event each. */
  events: string[];
  head: ExecutionHead;
  /** The folded state after these events, when the owner chose to write it. */
  snapshot?: string;
  /** On create: the locked definitions by digest, normal form as JSON text. */
  definitions?: Record<string, string>;
  /** Inbox entries that this turn has folded; they leave the inbox. */
  take: string[];
  /** Outcomes that reached the owner directly (worker and owner share an engine), folded in this turn. */
  settle: { jobId: string; token: string }[];
  enqueue: Job[];
  /**
   * By job id. A queued job is removed. A claimed one is asked to stop: its session gets a `cancel` hint and sees it in
   * `Renewal.revoked`, its token stays good, and the job leaves when its outcome is taken or settled, so that the owner
   * learns when the process has really ended. One that already has an outcome in the inbox → CONFLICT with it.
   */
  cancel: string[];
  /**
   * By job id: removed whatever their state, tokens revoked: no result can be accepted any more (timeouts, requeues, a
   * cancel whose grace is over). Same rule as cancel about outcomes.
   */
  revoke?: string[];
  /** By job id: removed if still queued (queue timeout); a claimed one → CONFLICT that names it in `claimed`. */
  withdraw?: string[];
  timers: Timer[];
  clearTimers: string[];
  /** Timers that fired and are folded in this turn; one that is not due by the store's clock → EARLY, unknown → CONFLICT. */
  fire: string[];
  outbox: OutboxEntry[];
  /** Outbox entries (by id) whose delivery was acknowledged. */
  outboxDone: string[];
  /**
   * Keys. A workspace is bound to the worker that claims its first job and pins its later jobs there. Once a job has ended
   * in it, it is lost with the worker (a job of it is `lost`, `ClaimRequest.gone`, a session that nobody adopted): its
   * waiting and later jobs then come to the inbox as `lost` naming it, until it is released here. The end of an execution
   * releases all of its own.
   */
  releaseWorkspaces: string[];
  claimFor: WorkerSlot[];
};

export type TurnAnswer =
  | { status: "OK" | "DUPLICATE"; revision: number; nowMs: number; assignments: Assignment[] }
  | Fenced
  /** The head moved on (`revision`), or a cancelled or settled job has another outcome (`outcomes`), or ALREADY exists on create. */
  | { status: "CONFLICT"; revision: number; outcomes: InboxOutcome[]; claimed?: string[] }
  | { status: "EARLY"; byMs: number };

export type ReportRequest = {
  opId: string;
  session: string;
  jobId: string;
  token: string;
  outcome: Outcome;
  facts: JobFacts;
  claimFor: WorkerSlot[];
};
export type ReportAnswer =
  | { status: "OK" | "DUPLICATE"; assignments: Assignment[]; nowMs: number }
  /** The token is unknown or revoked: the outcome was not taken. Claims for `claimFor` were made all the same. */
  | { status: "STALE"; assignments: Assignment[]; nowMs: number }
  | Fenced;

export type ClaimRequest = {
  opId: string;
  session: string;
  workers: WorkerSlot[];
  /** Workers of the caller that are gone for good: the workspaces that its session holds for them are lost. */
  gone?: string[];
};

/** What list and get show without folding. `revision` is set by the store. */
export type ExecutionHead = {
  namespace: string;
  id: string;
  uid: string;
  shard: number;
  revision: number;
  workflow: string;
  version: string;
  digest: string;
  requestDigest: string;
  /** "name@version" of everything locked, itself included: what `delete` must respect. */
  uses: string[];
  labels: Record<string, string>;
  state: ExecutionState;
  gate: Gate;
  parent?: ParentRef;
  startedAtMs: number;
  endedAtMs?: number;
};

export type OutboxEntry = { id: string; target: string; namespace: string; text: string };

export type InboxOutcome = {
  entry: string;
  shard: number;
  jobId: string;
  token: string;
  outcome: Outcome;
  facts: JobFacts;
  job: Pick<Job, "namespace" | "executionId" | "executionUid" | "step" | "iteration" | "attempt">;
};
export type InboxEntry = InboxOutcome;

export type ShardPage = { status: "OK"; executions: LoadedExecution[]; cursor?: string; nowMs: number };
export type LoadedExecution = { head: ExecutionHead; timers: Timer[]; outbox: OutboxEntry[] };

export type ExecutionRecord = {
  status: "OK";
  head: ExecutionHead;
  snapshot?: { text: string; revision: number };
  /** After the snapshot, oldest first. */
  events: string[];
  definitions: Record<string, string>;
  timers: Timer[];
  outbox: OutboxEntry[];
};

export type HistoryPage = { head: ExecutionHead; commits: { revision: number; events: string[] }[]; more: boolean };

export type ExecutionFilter = {
  namespace: string;
  states?: ("running" | "paused" | "cancelling" | "succeeded" | "failed" | "cancelled")[];
  workflow?: string;
  /** All must be equal. */
  labels?: Record<string, string>;
  startedAfterMs?: number;
  startedBeforeMs?: number;
  /** "name@version": executions whose lock holds it. */
  uses?: string;
  parent?: string;
  limit: number;
  /** From `nextPage`; newest start first. */
  page?: string;
};

export type JobRecord = {
  job: Job;
  state: "queued" | "claimed";
  classKey: string;
  token?: string;
  worker?: string;
  session?: string;
  facts: JobFacts;
  mismatches?: Mismatch[];
};

export type ClassDemand = {
  classKey: string;
  namespace: string;
  requirement: Requirement;
  waiting: number;
  oldestAtMs: number;
  /** Whether any connected worker could ever run it (when free). */
  servable: boolean;
  /** Why the nearest signature cannot, when none can. */
  mismatches: Mismatch[];
};

export type WatchTopic =
  | { kind: "session"; session: string }
  | { kind: "execution"; namespace: string; id: string }
  /** Its end alone, for those who wait: else each of them would read at every commit. */
  | { kind: "end"; namespace: string; id: string }
  | { kind: "logs"; namespace: string; executionId: string }
  | { kind: "registry"; namespace: string };

export type Hint =
  | { kind: "inbox"; shard: number }
  /** Jobs wait that a parked signature of this session could run: claim again. */
  | { kind: "work" }
  | { kind: "cancel"; jobId: string; token: string; worker: string }
  | { kind: "workspaceReleased"; workspace: string; worker: string }
  | { kind: "changed" };

/** Definitions of one namespace under one revision: a change is a compare-and-set on it. */
export type RegistryStore = {
  read(namespace: string): Promise<RegistryRecord>;
  /** CONFLICT: read again and decide again. */
  write(request: {
    opId: string;
    namespace: string;
    expectedRevision: number;
    put?: DefinitionRecord;
    remove?: { name: string; version: string };
    channels?: Record<string, Record<string, string>>;
  }): Promise<{ status: "OK" | "DUPLICATE" | "CONFLICT"; revision: number }>;
  /** The normal form as JSON text. */
  body(request: { namespace: string; digest: string }): Promise<string | undefined>;
  /**
   * Counts up per workflow name, from 1 (BUILD_NUMBER). The same opId gives the same number. The name `tree/UID` counts
   * for the execution with that uid and is forgotten when that expires. May be answered before it is durable, if nothing
   * that the caller writes with the number can then be durable without it; no number is given twice, whatever fails.
   */
  nextRunNumber(request: { opId: string; namespace: string; name: string }): Promise<number>;
};

export type RegistryRecord = {
  revision: number;
  definitions: Omit<DefinitionRecord, "body">[];
  /** workflow → channel → version. */
  channels: Record<string, Record<string, string>>;
};

export type DefinitionRecord = {
  name: string;
  version: string;
  digest: string;
  publishedAtMs: number;
  /** Direct sub-workflows: name → range as written. */
  dependencies: Record<string, string[]>;
  body: string;
};

/** Chunks of at most 64 KiB (longer: TOO_LARGE), appended under the attempt's token at the expected offset; bounded per attempt, then one drop mark. */
export type LogStore = {
  /** `offset` counts bytes of the attempt from 0. Answers how far the log is held: a repeat is ignored, a hole is marked. */
  append(request: {
    session: string;
    jobId: string;
    token: string;
    offset: number;
    data: Uint8Array;
    dropped: number;
  }): Promise<{ status: "OK" | "STALE"; heldTo: number }>;
  read(request: {
    namespace: string;
    executionId: string;
    step?: string;
    after?: LogCursor;
    limitBytes: number;
  }): Promise<{ chunks: LogChunk[]; next: LogCursor; more: boolean }>;
};

/** Opaque position in the logs of one execution, in arrival order. */
export type LogCursor = string;
export type LogChunk = {
  step: string;
  iteration: string;
  attempt: number;
  offset: number;
  data: Uint8Array;
  /** Bytes lost just before this chunk. */ dropped: number;
  atMs: number;
};

export const LOG_BOUNDS = { chunkBytes: 64 * 1024, attemptBytes: 4 * 1024 * 1024 } as const;

/** The recorded wish for one worker, made before its process or pod: intent first, then the side effect. */
export type WorkerRequest = {
  id: string;
  engine: string;
  namespace: string;
  template: string;
  pool?: string;
  /** The class whose demand asked for it. */
  classKey?: string;
  state: "requested" | "launched" | "registered" | "gone";
  /** What the platform called it, once launched. */
  platformId?: string;
  createdAtMs: number;
  reason?: string;
};

export type WorkerRequestStore = {
  /** Reserves a place: at most `maximum` requests of the pool that are not gone. FULL otherwise. */
  reserve(request: {
    opId: string;
    session: string;
    want: Omit<WorkerRequest, "state" | "createdAtMs" | "platformId">;
    maximum: number;
  }): Promise<{ status: "OK" | "DUPLICATE" | "FULL" } | Fenced>;
  update(request: {
    session: string;
    id: string;
    state: WorkerRequest["state"];
    platformId?: string;
    reason?: string;
  }): Promise<{ status: "OK" | "UNKNOWN" } | Fenced>;
  list(filter: { engine?: string; open?: boolean }): Promise<WorkerRequest[]>;
};
