import type { JobFacts, Outcome } from "../../workflow/job.ts";
import type { InboxOutcome } from "../store.ts";
import { leave } from "./queue.ts";
import type { ClaimRow, LogKey, SettledToken } from "./rows.ts";
import { executionOf, type OpenJob, type Session, type State } from "./state.ts";
import { addTo, count, removeFrom } from "./sets.ts";

/** An ended session is kept only while something of it can be adopted or reported lost. */
export function dropIfEmpty(state: State, { row }: Session): void {
  if (row.endedAtMs === undefined || state.claimsOf.has(row.session)) return;
  for (const workspace of state.workspaces.values()) {
    if (workspace.session === row.session && workspace.lost === undefined) return;
  }
  state.sessions.delete(row.session);
  state.journal.remove("sessions", row.session);
}

export function setClaim(state: State, entry: OpenJob, claim: ClaimRow): void {
  dropClaim(state, entry);
  entry.claim = claim;
  addTo(state.claimsOf, claim.session, claim.jobId);
  count(state.running, entry.job.namespace, 1);
  state.journal.put("claims", claim.jobId, claim);
}

export function dropClaim(state: State, entry: OpenJob): void {
  const { claim } = entry;
  if (claim === undefined) return;
  entry.claim = undefined;
  removeFrom(state.claimsOf, claim.session, claim.jobId);
  count(state.running, entry.job.namespace, -1);
  state.journal.remove("claims", claim.jobId);
  const session = state.sessions.get(claim.session);
  if (session !== undefined) dropIfEmpty(state, session);
}

/** In the order of their jobs: that of an index depends on its past, and is another one after a restart. */
export function claimsOf(state: State, session: string): { jobId: string; token: string; entry: OpenJob }[] {
  const claims = [...(state.claimsOf.get(session) ?? [])].flatMap((jobId) => {
    const entry = state.jobs.get(jobId);
    return entry?.claim === undefined ? [] : [{ jobId, token: entry.claim.token, entry }];
  });
  return claims.sort((a, b) => a.entry.order - b.entry.order);
}

/** What the store knows of an attempt; `reported` adds what only the worker can know. */
export function factsOf(state: State, entry: OpenJob, reported?: JobFacts): JobFacts {
  const { claim, enqueuedAtMs } = entry;
  const facts: JobFacts = { ...reported, enqueuedAtMs };
  if (claim === undefined) return facts;
  facts.worker = claim.worker;
  facts.claimedAtMs = claim.claimedAtMs;
  const engine = state.sessions.get(claim.session)?.row.engine.name ?? reported?.engine;
  if (engine !== undefined) facts.engine = engine;
  return facts;
}

/** The outcome of an attempt goes to its shard's inbox and the claim ends. The caller has checked that it is the first. */
export function putOutcome(
  state: State,
  entry: OpenJob,
  { token, outcome, facts }: { token: string; outcome: Outcome; facts: JobFacts },
): void {
  const { namespace, executionId, executionUid, step, iteration, attempt, shard, id: jobId } = entry.job;
  const job = { namespace, executionId, executionUid, step, iteration, attempt };
  const row: InboxOutcome = { entry: token, shard, jobId, token, outcome, facts, job };
  leave(state, entry);
  dropClaim(state, entry);
  keepOutcome(state, entry, { order: state.order++, outcome: row });
  state.journal.put("inbox", row.entry, { order: state.order - 1, outcome: row });
  const owner = state.shards.get(shard)?.session;
  if (owner !== undefined) state.hints.give({ kind: "session", session: owner }, { kind: "inbox", shard });
}

/** Into memory only: also how a stored outcome comes back. */
export function keepOutcome(state: State, entry: OpenJob, row: { order: number; outcome: InboxOutcome }): void {
  entry.outcome = row.outcome;
  state.inbox.set(row.outcome.entry, row);
  addTo(state.inboxOf, row.outcome.shard, row.outcome.entry);
}

/** A job is over for the store. Answers what must be remembered of its token, if it had one. */
export function closeJob(state: State, entry: OpenJob): SettledToken | undefined {
  const { job, outcome } = entry;
  const token = entry.claim?.token ?? outcome?.token;
  leave(state, entry);
  dropClaim(state, entry);
  if (outcome !== undefined) {
    state.inbox.delete(outcome.entry);
    removeFrom(state.inboxOf, outcome.shard, outcome.entry);
    state.journal.remove("inbox", outcome.entry);
  }
  state.jobs.delete(job.id);
  state.journal.remove("jobs", job.id);
  const execution = state.executions.get(executionOf(job));
  execution?.jobs.delete(job.id);
  const log = logKeyOf(state, entry);
  if (token === undefined || log === undefined) return undefined;
  return { token, lost: outcome?.outcome.kind === "lost", log };
}

/** Undefined when the execution is gone. */
export function logKeyOf(state: State, { job }: OpenJob): LogKey | undefined {
  const serial = state.executions.get(executionOf(job))?.row.serial;
  if (serial === undefined) return undefined;
  const { namespace, executionId, step, iteration, attempt } = job;
  return { serial, namespace, executionId, step, iteration, attempt };
}
