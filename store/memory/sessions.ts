import { ADOPTION_MS, type EngineInfo, type Fence, type Fenced, type Renewal, type SessionRecord } from "../store.ts";
import { claimsOf, dropIfEmpty } from "./outcomes.ts";
import { dropReservation, jobsThatWait } from "./queue.ts";
import { recall, remember, rememberHere } from "./operations.ts";
import { unpark } from "./parking.ts";
import { REMEMBERED, SECRET_BYTES, type OpenJob, type Session, type State } from "./state.ts";
import { addTo, dropOldest, removeFrom } from "./sets.ts";
import { loseWorkspacesOf } from "./workspaces.ts";

export const FENCED: Fenced = { status: "FENCED" };
const ABANDONED_AT_ONCE = 256;

/** The store's time at the beginning of a call, with every lease that is over by then judged so. */
export function judge(state: State): number {
  const nowMs = state.clock.now();
  if (nowMs < state.nextJudgementMs) return nowMs;
  for (const session of state.sessions.values()) {
    if (session.row.endedAtMs === undefined && session.row.expiresAtMs <= nowMs) {
      endSession(state, session, session.row.expiresAtMs);
    }
    if (overdue(session, nowMs)) loseWorkspacesOf(state, (row) => row.session === session.row.session);
    dropIfEmpty(state, session);
  }
  planJudgement(state);
  return nowMs;
}

function planJudgement(state: State): void {
  const nowMs = state.clock.now();
  state.nextJudgementMs = Infinity;
  for (const { row } of state.sessions.values()) {
    const atMs = row.endedAtMs === undefined ? row.expiresAtMs : row.endedAtMs + ADOPTION_MS;
    if (row.endedAtMs === undefined || atMs > nowMs) state.nextJudgementMs = Math.min(state.nextJudgementMs, atMs);
  }
}

/** Ended for longer than its jobs may be adopted. */
function overdue({ row }: Session, nowMs: number): boolean {
  return row.endedAtMs !== undefined && row.endedAtMs + ADOPTION_MS <= nowMs;
}

export function liveSession(state: State, session: string): Session | undefined {
  const found = state.sessions.get(session);
  return found?.row.endedAtMs === undefined ? found : undefined;
}

/** Whether the fence is current: session alive, and the shard's record names this session, epoch and nonce. */
export function holds(state: State, fence: Fence): boolean {
  const shard = state.shards.get(fence.shard);
  return (
    shard !== undefined &&
    shard.session === fence.session &&
    shard.epoch === fence.epoch &&
    shard.nonce === fence.nonce &&
    liveSession(state, fence.session) !== undefined
  );
}

export function openSession(
  state: State,
  { opId, engine, ttlMs }: { opId: string; engine: EngineInfo; ttlMs: number },
): { session: string; nowMs: number } {
  const nowMs = judge(state);
  const first = recall(state, opId, "session");
  if (first !== undefined) return { session: first.session, nowMs };
  for (const other of state.sessions.values()) {
    if (other.row.engine.name === engine.name && other.row.endedAtMs === undefined) endSession(state, other, nowMs);
  }
  const row = { session: state.random.id(), engine, ttlMs, expiresAtMs: nowMs + ttlMs };
  state.sessions.set(row.session, { row, signatures: new Set(), parked: new Map(), revoked: new Map() });
  state.journal.put("sessions", row.session, row);
  planJudgement(state);
  remember(state, opId, { kind: "session", session: row.session });
  return { session: row.session, nowMs };
}

/** Its shards are free from now on; its claims wait for adoption. */
export function endSession(state: State, session: Session, endedAtMs: number): void {
  if (session.row.endedAtMs !== undefined) return;
  session.row = { ...session.row, endedAtMs };
  state.journal.put("sessions", session.row.session, session.row);
  for (const shard of state.shardsOf.get(session.row.session) ?? []) freeShard(state, shard);
  unpark(state, session);
  session.revoked.clear();
  for (const of of state.reservations.values()) {
    if (of.reservation?.session === session.row.session) dropReservation(state, of);
  }
  dropIfEmpty(state, session);
  planJudgement(state);
}

export function endNow(state: State, { session }: { session: string }): void {
  const nowMs = judge(state);
  const found = liveSession(state, session);
  if (found !== undefined) endSession(state, found, nowMs);
}

export function renewSession(
  state: State,
  { session, signatures }: { session: string; signatures?: string[] },
): Renewal | Fenced {
  const nowMs = judge(state);
  const found = liveSession(state, session);
  if (found === undefined) return FENCED;
  // Not journalled: a renewal costs the disk nothing, and a lease never outlives the process that judges it.
  found.row = { ...found.row, expiresAtMs: nowMs + found.row.ttlMs };
  if (signatures !== undefined) found.signatures = new Set(signatures);
  const { replicationId } = state.cluster;
  return {
    status: "OK",
    nowMs,
    replicationId,
    inbox: [...state.inboxOf.keys()].filter((shard) => state.shards.get(shard)?.session === session),
    revoked: revokedOf(state, found),
    abandoned: abandonedIn(state, session, nowMs),
    work: jobsThatWait(state, found),
  };
}

function revokedOf(state: State, session: Session): { jobId: string; token: string }[] {
  const cancelling = claimsOf(state, session.row.session)
    .filter(({ entry }) => entry.claim?.cancelling === true)
    .map(({ jobId, token }) => ({ jobId, token }));
  return [...cancelling, ...[...session.revoked].map(([token, jobId]) => ({ jobId, token }))];
}

function abandonedIn(state: State, session: string, nowMs: number): { jobId: string; token: string }[] {
  return [...state.sessions.values()]
    .filter((other) => overdue(other, nowMs))
    .flatMap((other) => claimsOf(state, other.row.session))
    .filter(({ entry }) => state.shards.get(entry.job.shard)?.session === session)
    .sort((a, b) => a.entry.order - b.entry.order)
    .slice(0, ABANDONED_AT_ONCE)
    .map(({ jobId, token }) => ({ jobId, token }));
}

/** Who may report `lost`: the session that holds the job, or the owner of its shard once the job is abandoned. */
export function mayReportLost(state: State, session: string, entry: OpenJob, nowMs: number): boolean {
  if (entry.claim === undefined) return false;
  if (entry.claim.session === session) return true;
  const holder = state.sessions.get(entry.claim.session);
  const abandoned = holder === undefined || overdue(holder, nowMs);
  return abandoned && state.shards.get(entry.job.shard)?.session === session;
}

/** Keeps a revoked claim in the holder's renewals until its worker reports; without a living holder nobody would ask. */
export function noteRevoked(state: State, session: string, jobId: string, token: string): void {
  const holder = liveSession(state, session);
  if (holder === undefined) return;
  holder.revoked.set(token, jobId);
  dropOldest(holder.revoked, REMEMBERED.revokedPerSession);
}

export function sessionRecords(state: State): SessionRecord[] {
  judge(state);
  return [...state.sessions.values()]
    .filter(({ row }) => row.endedAtMs === undefined)
    .map(({ row }) => ({
      session: row.session,
      engine: row.engine,
      expiresAtMs: row.expiresAtMs,
      shards: state.shardsOf.get(row.session)?.size ?? 0,
      claims: state.claimsOf.get(row.session)?.size ?? 0,
    }));
}

// Shards --------------------------------------------------------------------------------------------------------------

function freeShard(state: State, shard: number): void {
  const record = state.shards.get(shard);
  if (record?.session === undefined) return;
  removeFrom(state.shardsOf, record.session, shard);
  const free = { shard, epoch: record.epoch, nonce: record.nonce };
  state.shards.set(shard, free);
  state.journal.put("shards", String(shard), free);
}

/** The caller has checked that `shards` are numbers of this store. */
export function acquireShards(
  state: State,
  { opId, session, shards }: { opId: string; session: string; shards: number[] },
): { acquired: Fence[] } | Fenced {
  judge(state);
  if (liveSession(state, session) === undefined) return FENCED;
  const first = recall(state, opId, "shards");
  if (first !== undefined) return { acquired: first.acquired };
  const acquired: Fence[] = [];
  for (const shard of new Set(shards)) {
    const record = state.shards.get(shard);
    // Its own: a grant whose answer never came, of a request that took effect after the asker had given it up.
    if (record?.session !== undefined && record.session !== session) continue;
    const taken = { shard, session, epoch: (record?.epoch ?? 0) + 1, nonce: state.random.hex(SECRET_BYTES) };
    state.shards.set(shard, taken);
    addTo(state.shardsOf, session, shard);
    state.journal.put("shards", String(shard), taken);
    acquired.push({ session, shard, epoch: taken.epoch, nonce: taken.nonce });
  }
  const answer = { kind: "shards", acquired } as const;
  if (acquired.length > 0) remember(state, opId, answer);
  else rememberHere(state, opId, answer);
  return { acquired };
}

export function releaseShards(state: State, { fences }: { fences: Fence[] }): void {
  judge(state);
  for (const fence of fences) if (holds(state, fence)) freeShard(state, fence.shard);
}

export function lease(
  state: State,
  request: { name: string; holder: string; ttlMs: number; release?: boolean },
): { holder: string | undefined; nowMs: number } {
  const nowMs = judge(state);
  const current = state.leases.get(request.name);
  const free = current === undefined || current.expiresAtMs <= nowMs || current.holder === request.holder;
  if (!free) return { holder: current.holder, nowMs };
  if (request.release === true) {
    state.leases.delete(request.name);
    return { holder: undefined, nowMs };
  }
  state.leases.set(request.name, { holder: request.holder, expiresAtMs: nowMs + request.ttlMs });
  return { holder: request.holder, nowMs };
}
