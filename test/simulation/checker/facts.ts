import type {
  Assignment,
  DefinitionRecord,
  EngineInfo,
  Fence,
  InboxOutcome,
  LogStore,
  RegistryStore,
  ReportAnswer,
  ReportRequest,
  Store,
  TurnRequest,
  WorkerSlot,
} from "../../../store/store.ts";
import type { HistoryEvent } from "../../../workflow/event.ts";
import { STORE_CLOCK_JUMP, type TraceEvent } from "../trace.ts";

/**
 * What a call to the store did, in the terms of its port; calls that did nothing are none. `at` is the index of the event
 * in the trace, `nowMs` the store's clock, `op` the operation id under which a repeat does nothing more.
 */
export type Fact = { at: number; nowMs: number; node: string; op?: string } & (
  | { kind: "sessionOpened"; session: string; engine: EngineInfo; ttlMs: number }
  | { kind: "sessionRenewed"; session: string }
  | { kind: "sessionEnded"; session: string }
  | { kind: "acquired"; session: string; fences: Fence[] }
  | { kind: "released"; fences: Fence[] }
  /** A call other than a commit that was let in by this fence. */
  | { kind: "passed"; fence: Fence; method: string }
  /** A call that only a living session may make, and that was let in. */
  | { kind: "admitted"; session: string; method: string }
  | { kind: "commit"; request: TurnRequest; revision: number; events: HistoryEvent[] }
  | { kind: "claimed"; assignment: Assignment; slots: WorkerSlot[]; session: string }
  /** The same operation asked again, and what it was given then. */
  | { kind: "repeated"; opId: string; assignments: Assignment[]; revision?: number }
  | { kind: "reported"; request: ReportRequest; status: Exclude<ReportAnswer["status"], "FENCED"> }
  /** `again`: what an earlier call answered, perhaps not how things stand. */
  | { kind: "adopted"; session: string; worker: string; jobs: Held[]; missing: Held[]; again: boolean }
  /** An outcome was shown to its owner: the store makes some by itself, for jobs of a lost workspace. */
  | { kind: "shown"; outcomes: InboxOutcome[] }
  | { kind: "expired"; fence: Fence; endedBeforeMs: number; expired: number }
  | { kind: "registryRead"; namespace: string; revision: number }
  | {
      kind: "registryChanged";
      namespace: string;
      expectedRevision: number;
      revision: number;
      put?: Omit<DefinitionRecord, "body">;
      remove?: { name: string; version: string };
      channels?: Record<string, Record<string, string>>;
    }
  | { kind: "counted"; opId: string; namespace: string; name: string; value: number }
  | { kind: "logged"; request: Asked<LogStore["append"]>; heldTo: number }
  /** The store lost what it had applied after `keptEvents`; all sessions and fences end with that. */
  | { kind: "rolledBack"; keptEvents: number }
);
export type FactOf<Kind extends Fact["kind"]> = Extract<Fact, { kind: Kind }>;
export type Held = { jobId: string; token: string };

type Method = (...args: never[]) => Promise<unknown>;
type Asked<M extends Method> = Parameters<M>[0];
type Answered<M extends Method> = Awaited<ReturnType<M>>;

/** One history of the store, from its beginning: of several, the last one is what it holds at rest. */
export type Branch = { facts: Fact[]; last: boolean };

type StoreEvent = TraceEvent & { kind: "store" };
type Plain = { at: number; nowMs: number; node: string; op?: string };

/** Every history that the store has had: each rollback ends one, and what came before it begins the next one too. */
export function branchesOf(trace: readonly TraceEvent[]): Branch[] {
  const branches: Branch[] = [];
  let facts: Fact[] = [];
  let seen = new Set<string>();
  const time = { nowMs: 0, atMs: 0 };
  for (const [at, event] of trace.entries()) {
    if (event.kind === "rolledBack") {
      branches.push({ facts, last: false });
      facts = facts.filter((fact) => fact.at < event.keptEvents);
      seen = new Set(facts.flatMap(({ op }) => op ?? []));
      facts.push({ at, nowMs: nowOf(event, time), node: "store", kind: "rolledBack", keptEvents: event.keptEvents });
    } else if (event.kind === "store") {
      for (const fact of factsOf(event, { at, nowMs: nowOf(event, time), node: event.node }, seen)) facts.push(fact);
    } else if (event.kind === "fault" && event.fault === STORE_CLOCK_JUMP && time.nowMs > 0) {
      // Leases may end by it before any answer has told the time.
      time.nowMs = nowOf(event, time) + Number.parseInt(event.detail ?? "0", 10);
    }
  }
  branches.push({ facts, last: true });
  return branches;
}

/** Of every store event at which moment, if ever, the store lost it again. */
export function lossesOf(trace: readonly TraceEvent[]): (at: number) => number {
  const rollbacks = trace.flatMap((event, at) => (event.kind === "rolledBack" ? [{ at, kept: event.keptEvents }] : []));
  return (at) => rollbacks.find((rollback) => rollback.at > at && rollback.kept <= at)?.at ?? Infinity;
}

/** By the answer where it says so, else by what has passed since the last one that did. */
function nowOf(event: TraceEvent, time: { nowMs: number; atMs: number }): number {
  const answer = event.kind === "store" ? event.answer : undefined;
  const told = isRecord(answer) && typeof answer["nowMs"] === "number" ? answer["nowMs"] : undefined;
  const nowMs = told ?? (time.nowMs === 0 ? event.atMs : time.nowMs + event.atMs - time.atMs);
  Object.assign(time, { nowMs, atMs: event.atMs });
  return nowMs;
}

const texts = new WeakMap<TurnRequest, HistoryEvent[]>();

export function eventsOf(request: TurnRequest): HistoryEvent[] {
  let events = texts.get(request);
  if (events === undefined) {
    events = request.events.map((text) => JSON.parse(text) as HistoryEvent);
    texts.set(request, events);
  }
  return events;
}

// The trace holds what the port's types say: requests and answers of one method each.
function factsOf(event: StoreEvent, plain: Plain, seen: Set<string>): Fact[] {
  const { method, request, answer } = event;
  if (isRecord(answer) && answer["status"] === "FENCED") return [];
  switch (method) {
    case "turn":
      return ofTurn(request as TurnRequest, answer as Answered<Store["turn"]>, plain, seen);
    case "reportAndClaim":
      return ofReport(request as ReportRequest, answer as ReportAnswer, plain, seen);
    case "claim":
      return ofClaim(request as Asked<Store["claim"]>, answer as Answered<Store["claim"]>, plain, seen);
    case "adopt":
      return ofAdopt(request as Asked<Store["adopt"]>, answer as Answered<Store["adopt"]>, plain, seen);
    case "openSession":
    case "renewSession":
    case "endSession":
    case "acquireShards":
    case "releaseShards":
      return ofOwnership(event, plain, seen);
    case "readInbox": {
      const { fences } = request as Asked<Store["readInbox"]>;
      const { entries, fenced } = answer as Answered<Store["readInbox"]>;
      const refused = new Set(fenced.map(({ nonce }) => nonce));
      const passed = fences.filter(({ nonce }) => !refused.has(nonce));
      return [
        ...passed.map((fence): Fact => ({ ...plain, kind: "passed", fence, method })),
        ...(entries.length > 0 ? [{ ...plain, kind: "shown", outcomes: entries } as const] : []),
      ];
    }
    case "loadShard":
    case "readExecution": {
      const { fence } = request as { fence?: Fence };
      return fence === undefined ? [] : [{ ...plain, kind: "passed", fence, method }];
    }
    case "expire": {
      const { fence, endedBeforeMs } = request as Asked<Store["expire"]>;
      const { expired } = answer as { expired: number };
      return [{ ...plain, kind: "expired", fence, endedBeforeMs, expired }];
    }
    case "logs.append": {
      const asked = request as Asked<LogStore["append"]>;
      const { status, heldTo } = answer as Answered<LogStore["append"]>;
      return status === "OK" ? [{ ...plain, kind: "logged", request: asked, heldTo }] : [];
    }
    case "registry.read":
    case "registry.write":
    case "registry.nextRunNumber":
      return ofRegistry(event, plain, seen);
    default:
      return [];
  }
}

function ofTurn(request: TurnRequest, answer: Answered<Store["turn"]>, plain: Plain, seen: Set<string>): Fact[] {
  if (answer.status === "CONFLICT") return [{ ...plain, kind: "shown", outcomes: answer.outcomes }];
  if (answer.status !== "OK" && answer.status !== "DUPLICATE") return [];
  const { revision, assignments } = answer;
  // A repeat of what was never done is a commit under a false name.
  if (answer.status === "DUPLICATE" && seen.has(request.opId)) {
    return [{ ...plain, kind: "repeated", opId: request.opId, assignments, revision }];
  }
  seen.add(request.opId);
  const events = eventsOf(request);
  return [
    { ...plain, op: request.opId, kind: "commit", request, revision, events },
    ...claims(assignments, request.claimFor, request.fence.session, { ...plain, op: request.opId }),
  ];
}

function ofReport(request: ReportRequest, answer: ReportAnswer, plain: Plain, seen: Set<string>): Fact[] {
  if (answer.status === "FENCED") return [];
  const { status, assignments } = answer;
  const again = seen.has(request.opId);
  const done = status === "OK" || assignments.length > 0;
  if (done) seen.add(request.opId);
  const reported: Fact = { ...plain, ...(done ? { op: request.opId } : {}), kind: "reported", request, status };
  if (again) return [{ ...plain, kind: "repeated", opId: request.opId, assignments }];
  return [reported, ...claims(assignments, request.claimFor, request.session, { ...plain, op: request.opId })];
}

function ofClaim(
  request: Asked<Store["claim"]>,
  answer: Answered<Store["claim"]>,
  plain: Plain,
  seen: Set<string>,
): Fact[] {
  if ("status" in answer) return [];
  const { assignments } = answer;
  const again = seen.has(request.opId);
  if (again) return [{ ...plain, kind: "repeated", opId: request.opId, assignments }];
  const done = assignments.length > 0;
  if (done) seen.add(request.opId);
  return [
    { ...plain, ...(done ? { op: request.opId } : {}), kind: "admitted", session: request.session, method: "claim" },
    ...claims(assignments, request.workers, request.session, { ...plain, op: request.opId }),
  ];
}

function claims(assignments: Assignment[], slots: WorkerSlot[], session: string, plain: Plain): Fact[] {
  return assignments.map((assignment) => {
    const own = slots.filter(({ worker }) => worker === assignment.worker);
    return { ...plain, kind: "claimed", assignment, slots: own, session };
  });
}

function ofAdopt(
  request: Asked<Store["adopt"]>,
  answer: Answered<Store["adopt"]>,
  plain: Plain,
  seen: Set<string>,
): Fact[] {
  if ("status" in answer) return [];
  const adopted = new Set(answer.adopted);
  const jobs = request.jobs.filter(({ token }) => adopted.has(token));
  const { opId, session, worker } = request;
  const again = seen.has(opId);
  seen.add(opId);
  return [{ ...plain, op: opId, kind: "adopted", session, worker, jobs, missing: answer.missing ?? [], again }];
}

function ofOwnership(event: StoreEvent, plain: Plain, seen: Set<string>): Fact[] {
  const { method, request, answer } = event;
  switch (method) {
    case "openSession": {
      const { opId, engine, ttlMs } = request as Asked<Store["openSession"]>;
      if (seen.has(opId)) return [];
      seen.add(opId);
      const { session } = answer as Answered<Store["openSession"]>;
      return [{ ...plain, op: opId, kind: "sessionOpened", session, engine, ttlMs }];
    }
    case "renewSession":
      return [{ ...plain, kind: "sessionRenewed", session: (request as { session: string }).session }];
    case "endSession":
      return [{ ...plain, kind: "sessionEnded", session: (request as { session: string }).session }];
    case "acquireShards": {
      const { opId, session } = request as Asked<Store["acquireShards"]>;
      const { acquired } = answer as { acquired: Fence[] };
      if (acquired.length === 0 || seen.has(opId)) return [];
      seen.add(opId);
      return [{ ...plain, op: opId, kind: "acquired", session, fences: acquired }];
    }
    case "releaseShards":
      return [{ ...plain, kind: "released", fences: (request as { fences: Fence[] }).fences }];
    default:
      return [];
  }
}

function ofRegistry(event: StoreEvent, plain: Plain, seen: Set<string>): Fact[] {
  const { method, request, answer } = event;
  if (method === "registry.read") {
    const { revision } = answer as { revision: number };
    return [{ ...plain, kind: "registryRead", namespace: request as string, revision }];
  }
  const { opId } = request as { opId: string };
  if (seen.has(opId)) return [];
  if (method === "registry.nextRunNumber") {
    seen.add(opId);
    const { namespace, name } = request as Asked<RegistryStore["nextRunNumber"]>;
    return [{ ...plain, op: opId, kind: "counted", opId, namespace, name, value: answer as number }];
  }
  const { status, revision } = answer as Answered<RegistryStore["write"]>;
  if (status === "CONFLICT") return [];
  seen.add(opId);
  const { namespace, expectedRevision, put, remove, channels } = request as Asked<RegistryStore["write"]>;
  return [
    {
      ...plain,
      op: opId,
      kind: "registryChanged",
      namespace,
      expectedRevision,
      revision,
      ...(put === undefined ? {} : { put }),
      ...(remove === undefined ? {} : { remove }),
      ...(channels === undefined ? {} : { channels }),
    },
  ];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
