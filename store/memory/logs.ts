import { HodeiError } from "../../workflow/errors.ts";
import { LOG_BOUNDS, type LogChunk, type LogStore } from "../store.ts";
import type { LogTail } from "./cold.ts";
import { findExecution } from "./executions.ts";
import { logKeyOf } from "./outcomes.ts";
import type { LogKey } from "./rows.ts";
import { judge } from "./sessions.ts";
import { REMEMBERED, type State } from "./state.ts";
import { dropOldest } from "./sets.ts";

type Append = Parameters<LogStore["append"]>[0];
type Read = Parameters<LogStore["read"]>[0];

const NOTHING: LogTail = { heldTo: 0, storedBytes: 0, endsInMark: false };

/**
 * Appends under an attempt's token: of a claim, of an outcome that waits, or of one folded not long ago, because the
 * last of a log may come after the result. The token alone is asked for: a log does no harm to a fence.
 */
export function appendLog(state: State, request: Append): { status: "OK" | "STALE"; heldTo: number } {
  const nowMs = judge(state);
  const { token, data } = request;
  if (data.length > LOG_BOUNDS.chunkBytes) {
    const message = `a log chunk of ${data.length} bytes; at most ${LOG_BOUNDS.chunkBytes}`;
    throw new HodeiError("TOO_LARGE", message, { field: "data" });
  }
  const log = attemptOf(state, request);
  if (log === undefined) return { status: "STALE", heldTo: 0 };
  const tail = state.logTails.get(token) ?? state.cold.logTail(log) ?? NOTHING;
  const after = extend(state, log, tail, request, nowMs);
  state.logTails.delete(token);
  state.logTails.set(token, after);
  dropOldest(state.logTails, REMEMBERED.logTails);
  if (after !== tail) {
    const { namespace, executionId } = log;
    state.hints.give({ kind: "logs", namespace, executionId }, { kind: "changed" });
  }
  return { status: "OK", heldTo: after.heldTo };
}

function attemptOf(state: State, { jobId, token }: Append): LogKey | undefined {
  const entry = state.jobs.get(jobId);
  if (entry !== undefined && (entry.claim?.token === token || entry.outcome?.token === token)) {
    return logKeyOf(state, entry);
  }
  return state.settled.get(token)?.log;
}

/**
 * What is new of `data` goes behind `tail`. A hole before it is marked with the bytes that are missing; where the bound
 * of the attempt is reached the rest is counted in one drop mark, a chunk without data.
 */
function extend(state: State, log: LogKey, tail: LogTail, { offset, data, dropped }: Append, atMs: number): LogTail {
  const fresh = data.subarray(Math.min(Math.max(tail.heldTo - offset, 0), data.length));
  const start = Math.max(offset, tail.heldTo);
  // A repeat brings nothing new, and its drop was marked the first time.
  if (fresh.length === 0 && start === tail.heldTo && (dropped === 0 || data.length > 0)) return tail;
  const missing = Math.max(start - tail.heldTo, offset >= tail.heldTo ? dropped : 0);
  const kept = fresh.subarray(0, Math.max(LOG_BOUNDS.attemptBytes - tail.storedBytes, 0));
  let after = tail;
  if (kept.length > 0) {
    state.cold.appendLog(log, { offset: start, data: kept, dropped: missing, atMs });
    const heldTo = start + kept.length;
    after = { heldTo, storedBytes: tail.storedBytes + kept.length, endsInMark: false };
  }
  const lost = fresh.length - kept.length + (kept.length > 0 ? 0 : missing);
  if (lost === 0) return after;
  const heldTo = start + fresh.length;
  if (after.endsInMark) state.cold.growDropMark(log, lost, heldTo);
  else state.cold.appendLog(log, { offset: heldTo, data: new Uint8Array(0), dropped: lost, atMs });
  return { heldTo, storedBytes: after.storedBytes, endsInMark: true };
}

/** The cursor is the position of the last chunk read. */
export function readLogs(state: State, request: Read): { chunks: LogChunk[]; next: string; more: boolean } {
  judge(state);
  const { namespace, executionId, step, after, limitBytes } = request;
  const from = Number(after ?? 0);
  if (!Number.isSafeInteger(from) || from < 0) {
    throw new HodeiError("INVALID_ARGUMENT", `${after} is not a position in a log`, { field: "after" });
  }
  const row = findExecution(state, `${namespace}/${executionId}`);
  if (row === undefined) return { chunks: [], next: String(from), more: false };
  const placed = state.cold.logs(row.serial, step, from, limitBytes);
  const next = placed.at(-1)?.position ?? from;
  const more = placed.length > 0 && state.cold.logs(row.serial, step, next, 0).length > 0;
  return { chunks: placed.map(({ chunk }) => chunk), next: String(next), more };
}
