import type { Clock } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import type { Job } from "../../workflow/job.ts";
import type { InboxOutcome } from "../store.ts";
import type { Cold, LogTail } from "./cold.ts";
import { createHints, type Hints } from "./hints.ts";
import type { RequirementClass, Signature, WaitingLine } from "./line.ts";
import type {
  ClaimRow,
  ClusterRow,
  DefinitionRow,
  ExecutionRow,
  Journal,
  OutboxRow,
  RegistryRow,
  SessionRow,
  SettledToken,
  ShardRow,
  StoredAnswer,
  WorkerRequestRow,
  WorkspaceRow,
} from "./rows.ts";
import { Recent } from "./sets.ts";

/** Bounds of what the store remembers only for a while. */
export const REMEMBERED = {
  operations: 10_000,
  settledTokens: 20_000,
  revokedPerSession: 1000,
  /** Worker requests that are gone. */
  goneRequests: 1000,
  signatures: 1024,
  emptyClasses: 1024,
  logTails: 4096,
} as const;

export type Session = {
  row: SessionRow;
  /** Signatures its workers have, as far as known. */
  signatures: Set<string>;
  /** Signatures for which it wants to hear of work; "woken" until it claims again, so that a lost hint is made good. */
  parked: Map<string, "parked" | "woken">;
  /** Revoked claims that its workers may still run, by token. */
  revoked: Map<string, string>;
};

/** A running execution, or a finished one that has something to send yet. */
export type OpenExecution = {
  row: ExecutionRow;
  timers: Map<string, number>;
  outbox: Map<string, OutboxRow>;
  jobs: Set<string>;
  workspaces: Set<string>;
};

/** A job that is open: it waits in a line (or is held by a gate), or is claimed, or has an outcome in the inbox. */
export type OpenJob = {
  readonly job: Job;
  readonly classKey: string;
  readonly order: number;
  readonly enqueuedAtMs: number;
  place?: WaitingLine | undefined;
  claim?: ClaimRow | undefined;
  outcome?: InboxOutcome | undefined;
};

/** The whole model: rows (written through the journal) and indices over them. One object, many rooms. */
export type State = {
  readonly clock: Clock;
  readonly random: Random;
  readonly cold: Cold;
  readonly journal: Journal;
  readonly hints: Hints;

  cluster: ClusterRow;
  /** Next number for whatever needs an order: jobs, entries, operations. Greater than all that are stored. */
  order: number;
  serial: number;

  sessions: Map<string, Session>;
  /** No session changes state by time alone before this. */
  nextJudgementMs: number;
  shards: Map<number, ShardRow>;
  shardsOf: Map<string, Set<number>>;
  /** Not durable: whoever holds one asks again within its ttl. */
  leases: Map<string, { holder: string; expiresAtMs: number }>;

  executions: Map<string, OpenExecution>;
  executionsOf: Map<number, Set<string>>;

  jobs: Map<string, OpenJob>;
  claimsOf: Map<string, Set<string>>;
  /** Claimed jobs per namespace, and when each was served last: the fair share. */
  running: Map<string, number>;
  served: Map<string, number>;
  inbox: Map<string, { order: number; outcome: InboxOutcome }>;
  inboxOf: Map<number, Set<string>>;

  classes: Map<string, RequirementClass>;
  emptyClasses: Map<string, RequirementClass>;
  signatures: Map<string, Signature>;
  /** Sessions that wait for work, by signature, longest waiting first. */
  parked: Map<string, Set<string>>;
  /** Workers kept free for a large job: worker → class. */
  reservations: Map<string, RequirementClass>;

  workspaces: Map<string, WorkspaceRow>;
  workspacesOf: Map<string, Set<string>>;
  /** Waiting jobs of a bound workspace. */
  pinned: Map<string, WaitingLine>;
  /** Waiting jobs of a workspace that is not bound: they stand in their classes. */
  unbound: Map<string, Set<string>>;

  operations: Recent<StoredAnswer>;
  /** Of the next one. */
  operationNumber: number;
  settled: Recent<SettledToken>;
  logTails: Map<string, LogTail>;

  registries: Map<string, RegistryRow>;
  definitions: Map<string, DefinitionRow>;
  workerRequests: Map<string, WorkerRequestRow>;
};

export type StateOptions = { clock: Clock; random: Random; cold: Cold; journal: Journal; hints?: Hints };

export function emptyState({ clock, random, cold, journal, hints }: StateOptions): State {
  return {
    clock,
    random,
    cold,
    journal,
    hints: hints ?? createHints(),
    cluster: { shards: undefined, replicationId: "" },
    order: 1,
    serial: 1,
    sessions: new Map(),
    nextJudgementMs: Infinity,
    shards: new Map(),
    shardsOf: new Map(),
    leases: new Map(),
    executions: new Map(),
    executionsOf: new Map(),
    jobs: new Map(),
    claimsOf: new Map(),
    running: new Map(),
    served: new Map(),
    inbox: new Map(),
    inboxOf: new Map(),
    classes: new Map(),
    emptyClasses: new Map(),
    signatures: new Map(),
    parked: new Map(),
    reservations: new Map(),
    workspaces: new Map(),
    workspacesOf: new Map(),
    pinned: new Map(),
    unbound: new Map(),
    operations: new Recent(REMEMBERED.operations),
    operationNumber: 1,
    settled: new Recent(REMEMBERED.settledTokens),
    logTails: new Map(),
    registries: new Map(),
    definitions: new Map(),
    workerRequests: new Map(),
  };
}

/** 128 bits: what a stale holder cannot guess. */
export const SECRET_BYTES = 16;

export const executionKey = (of: { namespace: string; id: string }): string => `${of.namespace}/${of.id}`;
export const executionOf = (job: Pick<Job, "namespace" | "executionId">): string =>
  `${job.namespace}/${job.executionId}`;
