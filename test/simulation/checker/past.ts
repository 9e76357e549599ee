import type { RegistryRecord } from "../../../store/store.ts";
import { type Branch, branchesOf, type Fact, type FactOf, lossesOf } from "./facts.ts";
import type { Run } from "./invariant.ts";
import type { HistoryEvent } from "../../../workflow/event.ts";
import type { Definition } from "../../../workflow/definition.ts";
import type { Execution, Gate } from "../../../workflow/execution.ts";
import { applyFact, emptyWorld, keyOf } from "./world.ts";

/** One commit of an execution, and how things stood after it. */
export type Moment = {
  at: number;
  nowMs: number;
  revision: number;
  events: HistoryEvent[];
  uid: string;
  state: Execution["state"];
  gate: Gate;
  /** When the store lost it again; Infinity: never. */
  lostAt: number;
};

/** A client's call: where it was asked and, unless it never was, answered. */
export type Call = {
  call: number;
  client: string;
  method: string;
  request: unknown;
  asked: number;
  answered?: { at: number; response?: unknown; error?: string };
};

/** What the whole run has seen, lost histories of the store included; for what the outside world was told. */
export type Past = {
  branches: Branch[];
  /** When the store lost what it did at this event; Infinity: never. */
  lostAt: (at: number) => number;
  claims: FactOf<"claimed">[];
  grants: FactOf<"acquired">[];
  counts: FactOf<"counted">[];
  /** Children that were asked for, and when the store lost that they were. */
  asked: { child: string; uid: string; lostAt: number }[];
  /** What was published in the default namespace, after each change; each holds until the next. */
  registries: { at: number; nowMs: number; record: RegistryRecord }[];
  /** Of every execution, in the order of their effect. */
  moments: Map<string, Moment[]>;
  /** By uid. */
  definitions: Map<string, Definition>;
  calls: Call[];
};

const pasts = new WeakMap<Run, Past>();

export function pastOf(run: Run): Past {
  let past = pasts.get(run);
  if (past === undefined) pasts.set(run, (past = make(run)));
  return past;
}

function make(run: Run): Past {
  const branches = branchesOf(run.trace);
  const past: Past = {
    branches,
    lostAt: lossesOf(run.trace),
    claims: [],
    grants: [],
    counts: [],
    asked: [],
    registries: [],
    moments: new Map(),
    definitions: new Map(),
    calls: callsOf(run),
  };
  // What two histories share is told once.
  let told = -1;
  for (const { facts } of branches) {
    const world = emptyWorld();
    for (const fact of facts) {
      applyFact(world, fact);
      if (fact.at > told) note(past, fact, world);
    }
    told = Math.max(told, facts.at(-1)?.at ?? -1);
  }
  return past;
}

function note(past: Past, fact: Fact, world: ReturnType<typeof emptyWorld>): void {
  if (fact.kind === "claimed") past.claims.push(fact);
  if (fact.kind === "acquired") past.grants.push(fact);
  if (fact.kind === "counted") past.counts.push(fact);
  if (fact.kind === "registryChanged" || fact.kind === "rolledBack") {
    const record = world.registries.get("default") ?? { revision: 0, definitions: [], channels: {} };
    past.registries.push({ at: fact.at, nowMs: fact.nowMs, record });
  }
  if (fact.kind !== "commit") return;
  const key = keyOf(fact.request);
  const known = world.executions.get(key);
  if (known === undefined) return;
  const { uid, state, gate } = known.state;
  if (known.definition !== undefined) past.definitions.set(uid, known.definition);
  for (const { target, text } of fact.request.outbox) {
    if (text.startsWith('{"kind":"startChild"')) past.asked.push({ child: target, uid, lostAt: past.lostAt(fact.at) });
  }
  const { at, nowMs, revision, events } = fact;
  const moments = past.moments.get(key) ?? [];
  past.moments.set(key, moments);
  moments.push({ at, nowMs, revision, events, uid, state, gate, lostAt: past.lostAt(at) });
}

function callsOf(run: Run): Call[] {
  const calls = new Map<number, Call>();
  for (const [at, event] of run.trace.entries()) {
    if (event.kind === "asked") {
      const { call, client, method, request } = event;
      calls.set(call, { call, client, method, request, asked: at });
    }
    const open = event.kind === "answered" ? calls.get(event.call) : undefined;
    if (event.kind !== "answered" || open === undefined) continue;
    const { response, error } = event;
    open.answered = { at, ...(error === undefined ? { response } : { error }) };
  }
  return [...calls.values()];
}

/** How an execution stood when the trace was so long: its newest commit that the store had not lost by then. */
export function momentAt(moments: readonly Moment[], at: number): Moment | undefined {
  return moments.findLast((moment) => moment.at < at && moment.lostAt > at);
}
