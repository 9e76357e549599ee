import { HodeiError } from "../../workflow/errors.ts";
import type { Job } from "../../workflow/job.ts";
import { keepExecution } from "./executions.ts";
import { restoreOperations } from "./operations.ts";
import { keepOutcome } from "./outcomes.ts";
import { wait } from "./queue.ts";
import type { ClaimRow, StoredRows } from "./rows.ts";
import { executionOf, type OpenExecution, type OpenJob, type State } from "./state.ts";
import { addTo, count } from "./sets.ts";
import { keep } from "./workspaces.ts";

/**
 * Fills an empty state from stored rows, writing nothing. `lastSerial`: of all that are not in `rows`. Sessions
 * that had not ended are alive for one more ttl: their renewals are not stored. Errors: DATA_CORRUPT when a row points at
 * one that is not there.
 */
export function restore(state: State, rows: StoredRows, lastSerial: number): void {
  for (const [, cluster] of rows.clusters) state.cluster = cluster;
  restoreOwnership(state, rows);
  let serial = lastSerial;
  for (const [, row] of rows.executions) {
    keepExecution(state, row);
    serial = Math.max(serial, row.serial);
  }
  for (const [, { execution, timer }] of rows.timers) open(state, execution).timers.set(timer.id, timer.atMs);
  let order = 0;
  for (const [, row] of rows.outbox) {
    open(state, row.execution).outbox.set(row.entry.id, row);
    order = Math.max(order, row.order);
  }
  order = Math.max(order, restoreJobs(state, rows));
  order = Math.max(order, restoreOperations(state, rows.operations));

  for (const [key, row] of rows.registries) state.registries.set(key, row);
  for (const [key, row] of rows.definitions) state.definitions.set(key, row);
  for (const [key, row] of [...rows.workerRequests].sort(([, a], [, b]) => a.order - b.order)) {
    state.workerRequests.set(key, row);
    order = Math.max(order, row.order);
  }
  state.order = order + 1;
  state.serial = serial + 1;
}

function restoreOwnership(state: State, rows: StoredRows): void {
  const nowMs = state.clock.now();
  for (const [key, row] of rows.sessions) {
    const renewed = row.endedAtMs === undefined ? { ...row, expiresAtMs: nowMs + row.ttlMs } : row;
    state.sessions.set(key, { row: renewed, signatures: new Set(), parked: new Map(), revoked: new Map() });
  }
  for (const [, row] of rows.shards) {
    state.shards.set(row.shard, row);
    if (row.session !== undefined) addTo(state.shardsOf, row.session, row.shard);
  }
  // The first call judges all of them.
  state.nextJudgementMs = 0;
}

/** Answers the highest order among them. */
function restoreJobs(state: State, rows: StoredRows): number {
  let order = 0;
  const entries = [...rows.jobs].map(([, row]): OpenJob => ({ ...row }));
  // In the order of their enqueueing, which is the order that `jobs` lists.
  for (const entry of entries.sort((a, b) => a.order - b.order)) {
    state.jobs.set(entry.job.id, entry);
    open(state, executionOf(entry.job)).jobs.add(entry.job.id);
    order = Math.max(order, entry.order);
  }
  for (const [, row] of rows.workspaces) keep(state, row);
  for (const [, claim] of rows.claims) keepClaim(state, claim);
  for (const [, row] of [...rows.inbox].sort(([, a], [, b]) => a.order - b.order)) {
    keepOutcome(state, job(state, row.outcome.jobId), row);
    order = Math.max(order, row.order);
  }
  for (const entry of entries) if (entry.claim === undefined && entry.outcome === undefined) wait(state, entry);
  return order;
}

function keepClaim(state: State, claim: ClaimRow): void {
  const entry = job(state, claim.jobId);
  entry.claim = claim;
  addTo(state.claimsOf, claim.session, claim.jobId);
  count(state.running, entry.job.namespace, 1);
}

function open(state: State, key: string): OpenExecution {
  return state.executions.get(key) ?? corrupt(`execution ${key}`);
}

function job(state: State, id: Job["id"]): OpenJob {
  return state.jobs.get(id) ?? corrupt(`job ${id}`);
}

function corrupt(what: string): never {
  throw new HodeiError("DATA_CORRUPT", `the store points at ${what}, which it does not hold`);
}
