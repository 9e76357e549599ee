import type {
  EngineInfo,
  ExecutionHead,
  Fence,
  InboxOutcome,
  OutboxEntry,
  RegistryRecord,
} from "../../../store/store.ts";
import type { Definition } from "../../../workflow/definition.ts";
import type { Execution } from "../../../workflow/execution.ts";
import { apply } from "../../../workflow/fold.ts";
import type { Job, Outcome } from "../../../workflow/job.ts";
import { parseNormalForm } from "../../../workflow/load.ts";
import type { Fact, FactOf } from "./facts.ts";

/**
 * What a right store would hold, made from the facts alone: a model beside the model, so that a wrong answer of the store
 * does not explain itself. Simple where the store is fast.
 */
export type World = {
  /** By `namespace/id`. */
  readonly executions: Map<string, Known>;
  /** Open ones, by id. */
  readonly jobs: Map<string, KnownJob>;
  readonly sessions: Map<string, KnownSession>;
  readonly shards: Map<number, { fence: Fence; at: number }>;
  readonly registries: Map<string, RegistryRecord>;
  /** Outcomes that the store showed, by entry: those that it made by itself are known from nowhere else. */
  readonly shown: Map<string, InboxOutcome>;
  nowMs: number;
};

export type Known = {
  key: string;
  head: ExecutionHead;
  /** The fold of its history. */
  state: Execution;
  definition: Definition | undefined;
  revision: number;
  timers: Map<string, number>;
  outbox: Map<string, OutboxEntry>;
  /** Trace indices of its commits, oldest first. */
  commits: number[];
  /** Why its history could not be folded: from there on it stands still. */
  broken?: string;
};
export type KnownJob = {
  job: Job;
  enqueuedAt: number;
  claim?: { token: string; worker: string; session: string; at: number };
  outcome?: { token: string; outcome: Outcome; at: number };
};
export type KnownSession = {
  session: string;
  node: string;
  engine: EngineInfo;
  ttlMs: number;
  expiresAtMs: number;
  endedAtMs?: number;
};

export const keyOf = (of: { namespace: string; id: string }): string => `${of.namespace}/${of.id}`;
export const executionOf = (job: Pick<Job, "namespace" | "executionId">): string =>
  `${job.namespace}/${job.executionId}`;

export function emptyWorld(): World {
  return {
    executions: new Map(),
    jobs: new Map(),
    sessions: new Map(),
    shards: new Map(),
    registries: new Map(),
    shown: new Map(),
    nowMs: 0,
  };
}

/** Leases that are over by now are ended, and their shards free, before anything else happens. */
export function judge(world: World, nowMs: number): void {
  world.nowMs = Math.max(world.nowMs, nowMs);
  for (const session of world.sessions.values()) {
    if (session.endedAtMs === undefined && session.expiresAtMs <= nowMs) end(world, session, session.expiresAtMs);
  }
}

export function isLive(world: World, session: string): boolean {
  const known = world.sessions.get(session);
  return known !== undefined && known.endedAtMs === undefined;
}

export function applyFact(world: World, fact: Fact): void {
  switch (fact.kind) {
    case "sessionOpened":
      return openSession(world, fact);
    case "sessionRenewed": {
      const session = world.sessions.get(fact.session);
      if (session !== undefined) session.expiresAtMs = fact.nowMs + session.ttlMs;
      return;
    }
    case "sessionEnded": {
      const session = world.sessions.get(fact.session);
      if (session !== undefined && session.endedAtMs === undefined) end(world, session, fact.nowMs);
      return;
    }
    case "acquired":
      for (const fence of fact.fences) world.shards.set(fence.shard, { fence, at: fact.at });
      return;
    case "released":
      for (const { shard, nonce } of fact.fences) {
        if (world.shards.get(shard)?.fence.nonce === nonce) world.shards.delete(shard);
      }
      return;
    case "commit":
      return commit(world, fact);
    case "claimed": {
      const { job, token, worker } = fact.assignment;
      const known = world.jobs.get(job.id);
      if (known !== undefined) known.claim = { token, worker, session: fact.session, at: fact.at };
      return;
    }
    case "reported":
      return report(world, fact);
    case "adopted":
      for (const { jobId, token } of [...fact.jobs, ...fact.missing]) {
        const claim = world.jobs.get(jobId)?.claim;
        if (claim?.token === token) claim.session = fact.session;
      }
      return;
    case "shown":
      for (const outcome of fact.outcomes) world.shown.set(outcome.entry, outcome);
      return;
    case "registryChanged":
      return changeRegistry(world, fact);
    case "rolledBack":
      for (const session of world.sessions.values()) {
        if (session.endedAtMs === undefined) end(world, session, fact.nowMs);
      }
      return;
    default:
  }
}

function openSession(world: World, { session, engine, ttlMs, nowMs, node }: FactOf<"sessionOpened">): void {
  for (const other of world.sessions.values()) {
    if (other.engine.name === engine.name && other.endedAtMs === undefined) end(world, other, nowMs);
  }
  world.sessions.set(session, { session, node, engine, ttlMs, expiresAtMs: nowMs + ttlMs });
}

function end(world: World, session: KnownSession, atMs: number): void {
  session.endedAtMs = atMs;
  for (const [shard, { fence }] of world.shards) if (fence.session === session.session) world.shards.delete(shard);
}

function commit(world: World, fact: FactOf<"commit">): void {
  const { request, events } = fact;
  const key = keyOf(request);
  const known = world.executions.get(key);
  let state = known?.state;
  let broken: string | undefined;
  try {
    for (const event of events) state = apply(state, event);
  } catch (error) {
    broken = error instanceof Error ? error.message : String(error);
  }
  // A commit without a history is a violation of its own; there is nothing to keep of it.
  if (state === undefined) return;
  const execution = known ?? newly(key, request, state);
  if (broken !== undefined) execution.broken ??= broken;
  world.executions.set(key, execution);
  Object.assign(execution, { state, head: request.head, revision: fact.revision });
  execution.commits.push(fact.at);
  for (const id of [...request.fire, ...request.clearTimers]) execution.timers.delete(id);
  for (const { id, atMs } of request.timers) execution.timers.set(id, atMs);
  for (const id of request.outboxDone) execution.outbox.delete(id);
  for (const entry of request.outbox) execution.outbox.set(entry.id, entry);
  changeJobs(world, fact);
}

function newly(key: string, request: FactOf<"commit">["request"], state: Execution): Known {
  const source = request.definitions?.[request.head.digest];
  return {
    key,
    head: request.head,
    state,
    definition: source === undefined ? undefined : parsed(request.head.digest, source),
    revision: 0,
    timers: new Map(),
    outbox: new Map(),
    commits: [],
  };
}

const definitions = new Map<string, Definition>();

/** Few definitions, many executions. */
function parsed(digest: string, source: string): Definition {
  const key = `${digest} ${source.length}`;
  let definition = definitions.get(key);
  if (definition === undefined) {
    definition = parseNormalForm(source);
    if (definitions.size > 200) definitions.clear();
    definitions.set(key, definition);
  }
  return definition;
}

function changeJobs(world: World, { request, at }: FactOf<"commit">): void {
  const { jobs } = world;
  for (const jobId of takenBy(world, request)) jobs.delete(jobId);
  for (const { jobId } of request.settle) jobs.delete(jobId);
  for (const jobId of request.cancel) if (jobs.get(jobId)?.claim === undefined) jobs.delete(jobId);
  for (const jobId of [...(request.revoke ?? []), ...(request.withdraw ?? [])]) jobs.delete(jobId);
  if (request.head.state === "running") {
    for (const job of request.enqueue) jobs.set(job.id, { job, enqueuedAt: at });
    return;
  }
  const key = keyOf(request);
  for (const [jobId, { job }] of jobs) if (executionOf(job) === key) jobs.delete(jobId);
  world.executions.get(key)?.timers.clear();
}

/** The jobs whose outcomes leave the inbox with this commit. */
export function takenBy(world: World, { take }: { take: string[] }): string[] {
  if (take.length === 0) return [];
  const entries = new Set(take);
  const known = [...world.jobs].filter(([, { outcome }]) => outcome !== undefined && entries.has(outcome.token));
  return [...known.map(([jobId]) => jobId), ...take.flatMap((entry) => world.shown.get(entry)?.jobId ?? [])];
}

function report(world: World, { request, status, at }: FactOf<"reported">): void {
  const known = world.jobs.get(request.jobId);
  if (status !== "OK" || known === undefined) return;
  delete known.claim;
  known.outcome = { token: request.token, outcome: request.outcome, at };
}

function changeRegistry(world: World, fact: FactOf<"registryChanged">): void {
  const { namespace, revision, put, remove, channels } = fact;
  const before = world.registries.get(namespace) ?? { revision: 0, definitions: [], channels: {} };
  const kept = before.definitions.filter(({ name, version }) => name !== remove?.name || version !== remove.version);
  const others = kept.filter(({ name, version }) => name !== put?.name || version !== put.version);
  world.registries.set(namespace, {
    revision,
    definitions: put === undefined ? kept : [...others, put],
    channels: { ...before.channels, ...channels },
  });
}
