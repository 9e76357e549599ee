import type { Job } from "../../workflow/job.ts";
import type { Timer } from "../../workflow/message.ts";
import type { DefinitionRecord, EngineInfo, ExecutionHead, Fence, OutboxEntry, WorkerRequest } from "../store.ts";
import type { InboxOutcome } from "../store.ts";

/**
 * What the model keeps hot, as rows. A durable adapter writes each change of a row through and hands all rows back at
 * its start; everything else in memory is an index over them. Rows are plain JSON and are replaced, never changed.
 */
export type Rows = {
  /** One row, "cluster". */
  clusters: ClusterRow;
  /** By session id. An ended one stays while it has claims or workspaces. */
  sessions: SessionRow;
  /** By shard number. */
  shards: ShardRow;
  /** By `namespace/id`; only running executions and finished ones whose outbox is not empty. */
  executions: ExecutionRow;
  /** By `namespace/id/timer`. */
  timers: TimerRow;
  /** By `namespace/id/entry`. */
  outbox: OutboxRow;
  /** By job id. */
  jobs: JobRow;
  /** By job id: a small row of its own, so that a claim does not write the job's script again. */
  claims: ClaimRow;
  /** By entry id. */
  inbox: InboxRow;
  /** By workspace key. */
  workspaces: WorkspaceRow;
  /** By number, counted up: the newest operations. */
  operations: OperationRow;
  /** By namespace. */
  registries: RegistryRow;
  /** By `namespace/name@version`. */
  definitions: DefinitionRow;
  /** By request id. */
  workerRequests: WorkerRequestRow;
};
export type TableName = keyof Rows;

export type ClusterRow = { shards?: number | undefined; replicationId: string };
export type SessionRow = {
  session: string;
  engine: EngineInfo;
  ttlMs: number;
  expiresAtMs: number;
  endedAtMs?: number;
};
/** `session` is absent while the shard is free; the epoch stays for ever. */
export type ShardRow = { shard: number; epoch: number; nonce: string; session?: string };
/** `serial` numbers executions in the order of their creation. */
export type ExecutionRow = { serial: number; head: ExecutionHead };
export type TimerRow = { execution: string; timer: Timer };
export type OutboxRow = { execution: string; order: number; entry: OutboxEntry };
export type JobRow = { job: Job; classKey: string; order: number; enqueuedAtMs: number };
export type ClaimRow = {
  jobId: string;
  token: string;
  worker: string;
  session: string;
  claimedAtMs: number;
  cancelling?: boolean;
};
export type InboxRow = { order: number; outcome: InboxOutcome };
export type WorkspaceRow = {
  workspace: string;
  execution: string;
  worker: string;
  session: string;
  /** Whether a job has run in it: its loss then loses work, and it is not bound to another worker behind the owner's back. */
  used: boolean;
  lost?: string;
  /** Of the loss: what waits for it ends the same. */
  spends?: false;
};
export type OperationRow = { order: number; opId: string; answer: StoredAnswer; settled: SettledToken[] };
export type RegistryRow = { revision: number; channels: Record<string, Record<string, string>> };
export type DefinitionRow = { namespace: string; record: Omit<DefinitionRecord, "body"> };
export type WorkerRequestRow = { order: number; request: WorkerRequest };

/** The first answer to an operation id. Assignments are kept as (job, token) pairs: jobs are large and in memory anyway. */
export type StoredAnswer =
  | { kind: "turn"; revision: number; given: GivenJob[] }
  | { kind: "report"; status: "OK" | "DUPLICATE" | "STALE"; given: GivenJob[] }
  | { kind: "claim"; given: GivenJob[] }
  | { kind: "adopt"; adopted: string[]; stale: string[]; missing: GivenJob[] }
  | { kind: "session"; session: string }
  | { kind: "shards"; acquired: Fence[] }
  | { kind: "registry"; revision: number }
  | { kind: "runNumber"; value: number }
  | { kind: "reserve" };
export type GivenJob = { jobId: string; token: string };

/** A token whose outcome is folded: late repeats of the result and the last of the log are still told apart by it. */
export type SettledToken = { token: string; lost: boolean; log: LogKey };

/** The attempt a log belongs to. */
export type LogKey = {
  serial: number;
  namespace: string;
  executionId: string;
  step: string;
  iteration: string;
  attempt: number;
};

/** Takes note of every change of a row, so that an adapter can write it through. */
export type Journal = {
  put<Name extends TableName>(table: Name, key: string, row: Rows[Name]): void;
  remove(table: TableName, key: string): void;
};

/** For the store that is memory alone. */
export const noJournal: Journal = { put() {}, remove() {} };

/** All rows of a durable adapter, by key, at its start. */
export type StoredRows = { [Name in TableName]: Iterable<[string, Rows[Name]]> };
