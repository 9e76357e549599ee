import { HodeiError } from "../../workflow/errors.ts";
import type { Job } from "../../workflow/job.ts";
import type { Mismatch } from "../../workflow/requirement.ts";
import type {
  ClassDemand,
  ExecutionFilter,
  ExecutionHead,
  ExecutionRecord,
  Fence,
  Fenced,
  HistoryPage,
  InboxEntry,
  JobRecord,
  ShardPage,
  Store,
} from "../store.ts";
import { findExecution } from "./executions.ts";
import type { RequirementClass } from "./line.ts";
import { factsOf } from "./outcomes.ts";
import { refusals } from "./queue.ts";
import { FENCED, holds, judge } from "./sessions.ts";
import { executionKey, REMEMBERED, type OpenExecution, type OpenJob, type State } from "./state.ts";

type Request<Name extends keyof Store> = Store[Name] extends (request: infer R) => unknown ? R : never;

export function loadShard(state: State, { fence, cursor, limit }: Request<"loadShard">): ShardPage | Fenced {
  const nowMs = judge(state);
  if (!holds(state, fence)) return FENCED;
  const keys = [...(state.executionsOf.get(fence.shard) ?? [])].filter((key) => key > (cursor ?? "")).sort();
  const page = keys.slice(0, limit);
  const executions = page.flatMap((key) => {
    const execution = state.executions.get(key);
    return execution === undefined ? [] : [{ head: execution.row.head, ...pending(execution) }];
  });
  const last = page.at(-1);
  return { status: "OK", executions, ...(keys.length > limit && last !== undefined ? { cursor: last } : {}), nowMs };
}

/** Timers in the order they come due, messages in the order they were written. */
function pending(execution: OpenExecution | undefined): Pick<ExecutionRecord, "timers" | "outbox"> {
  const timers = [...(execution?.timers ?? [])].map(([id, atMs]) => ({ id, atMs }));
  const outbox = [...(execution?.outbox.values() ?? [])].sort((a, b) => a.order - b.order);
  return {
    timers: timers.sort((a, b) => a.atMs - b.atMs || (a.id < b.id ? -1 : 1)),
    outbox: outbox.map(({ entry }) => entry),
  };
}

export function readInbox(
  state: State,
  { fences, limit }: Request<"readInbox">,
): { entries: InboxEntry[]; fenced: Fence[] } {
  judge(state);
  const fenced = fences.filter((fence) => !holds(state, fence));
  const entries: InboxEntry[] = [];
  for (const fence of fences) {
    if (fenced.includes(fence)) continue;
    for (const id of state.inboxOf.get(fence.shard) ?? []) {
      if (entries.length >= limit) return { entries, fenced };
      const outcome = state.inbox.get(id)?.outcome;
      if (outcome !== undefined) entries.push(outcome);
    }
  }
  return { entries, fenced };
}

export function readExecution(state: State, request: Request<"readExecution">): ExecutionRecord | undefined | Fenced {
  judge(state);
  if (request.fence !== undefined && !holds(state, request.fence)) return FENCED;
  const key = executionKey(request);
  const row = findExecution(state, key);
  if (row === undefined) return undefined;
  const { serial, head } = row;
  const snapshot = state.cold.snapshot(serial);
  const commits = state.cold.commits(serial, snapshot?.revision ?? 0, Number.MAX_SAFE_INTEGER);
  return {
    status: "OK",
    head,
    ...(snapshot === undefined ? {} : { snapshot }),
    events: commits.flatMap(({ events }) => events),
    definitions: state.cold.definitions(serial),
    ...pending(state.executions.get(key)),
  };
}

export function readHistory(state: State, request: Request<"readHistory">): HistoryPage | undefined {
  judge(state);
  const row = findExecution(state, executionKey(request));
  if (row === undefined) return undefined;
  const commits = state.cold.commits(row.serial, request.afterRevision, request.limit + 1);
  return { head: row.head, commits: commits.slice(0, request.limit), more: commits.length > request.limit };
}

export function expire(state: State, { fence, endedBeforeMs, limit }: Request<"expire">): { expired: number } | Fenced {
  judge(state);
  if (!holds(state, fence)) return FENCED;
  const ended = state.cold.ended(fence.shard, endedBeforeMs, limit);
  for (const { key, row } of ended) {
    state.cold.erase(key, row.serial);
    state.cold.dropCounter(`${row.head.namespace}/tree/${row.head.uid}`);
  }
  return { expired: ended.length };
}

/** A page is named by its last row: `startedAtMs namespace/id`. */
export function listExecutions(
  state: State,
  filter: ExecutionFilter,
): { executions: ExecutionHead[]; nextPage?: string } {
  judge(state);
  const page = filter.page === undefined ? undefined : pageOf(filter.page);
  const open = [...state.executions.values()].map(({ row }) => row);
  const found = state.cold.list({ ...filter, limit: filter.limit + 1 }, page, open);
  const executions = found.slice(0, filter.limit);
  const last = executions.at(-1);
  if (found.length <= filter.limit || last === undefined) return { executions };
  return { executions, nextPage: `${last.startedAtMs} ${executionKey(last)}` };
}

function pageOf(text: string): { startedAtMs: number; key: string } {
  const [, startedAt, key] = /^(\d{1,16}) (.+)$/s.exec(text) ?? [];
  if (startedAt !== undefined && key !== undefined) return { startedAtMs: Number(startedAt), key };
  // Rather than an empty page, which would read as the end.
  throw new HodeiError("INVALID_ARGUMENT", `${JSON.stringify(text.slice(0, 100))} is not a page`, {
    field: "page",
    hint: "Give what the page before named as the next one.",
  });
}

export function jobs(state: State, { namespace, executionId, jobId, limit }: Request<"jobs">): JobRecord[] {
  judge(state);
  const records: JobRecord[] = [];
  for (const entry of candidates(state, { namespace, executionId, jobId })) {
    if (records.length >= limit) break;
    if (jobId !== undefined && entry.job.id !== jobId) continue;
    if (namespace !== undefined && entry.job.namespace !== namespace) continue;
    if (executionId !== undefined && entry.job.executionId !== executionId) continue;
    records.push(jobRecord(state, entry));
  }
  return records;
}

/** The narrowest index that holds all that a filter asks for, in the order the jobs were enqueued. */
function candidates(state: State, filter: Omit<Request<"jobs">, "limit">): Iterable<OpenJob> {
  const some = (ids: Iterable<string>): OpenJob[] =>
    [...ids].map((id) => state.jobs.get(id)).filter((entry) => entry !== undefined);
  if (filter.jobId !== undefined) return some([filter.jobId]);
  if (filter.namespace === undefined || filter.executionId === undefined) return state.jobs.values();
  return some(state.executions.get(`${filter.namespace}/${filter.executionId}`)?.jobs ?? []);
}

function jobRecord(state: State, entry: OpenJob): JobRecord {
  const { job, classKey, claim, outcome } = entry;
  const held = { job, classKey, facts: outcome?.facts ?? factsOf(state, entry) };
  if (claim !== undefined) {
    const { token, worker, session } = claim;
    return { ...held, state: "claimed", token, worker, session };
  }
  if (outcome !== undefined) {
    const { worker } = outcome.facts;
    return { ...held, state: "claimed", token: outcome.token, ...(worker === undefined ? {} : { worker }) };
  }
  // A job held back by a gate may have no class: its own words say the same.
  const { servable, mismatches } = service(state, state.classes.get(classKey) ?? job);
  return { ...held, state: "queued", ...(servable ? {} : { mismatches }) };
}

export function demand(state: State, { session }: Request<"demand">): ClassDemand[] {
  judge(state);
  const shards = session === undefined ? undefined : (state.shardsOf.get(session) ?? new Set());
  const demands: ClassDemand[] = [];
  for (const of of state.classes.values()) {
    if (of.waiting === 0) continue;
    let waiting = shards === undefined ? of.waiting : 0;
    for (const [shard, here] of of.waitingOf) if (shards?.has(shard) === true) waiting += here;
    if (waiting === 0) continue;
    const heads = Object.values(of.lines).map((line) => line.head()?.enqueuedAtMs ?? Infinity);
    const { key: classKey, namespace, requirement } = of;
    demands.push({ classKey, namespace, requirement, waiting, oldestAtMs: Math.min(...heads), ...service(state, of) });
  }
  return demands;
}

/** Whether a worker of any living session could ever run the class; if none, what keeps the nearest one from it. */
function service(state: State, of: RequirementClass | Job): { servable: boolean; mismatches: Mismatch[] } {
  let nearest: Mismatch[] | undefined;
  for (const digest of livingSignatures(state)) {
    const signature = state.signatures.get(digest);
    if (signature === undefined) continue;
    const known = "lines" in of && signature.eligible.has(of);
    const against = known ? [] : refusals(of, signature.offer);
    if (against.length === 0) return { servable: true, mismatches: [] };
    if (nearest === undefined || against.length < nearest.length) nearest = against;
  }
  return { servable: false, mismatches: nearest ?? [] };
}

function livingSignatures(state: State): Set<string> {
  const living = new Set<string>();
  for (const { row, signatures } of state.sessions.values()) {
    if (row.endedAtMs === undefined) for (const digest of signatures) living.add(digest);
    if (living.size >= REMEMBERED.signatures) break;
  }
  return living;
}
