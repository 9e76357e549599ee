import { displayState } from "../../workflow/execution.ts";
import type { ExecutionFilter, ExecutionHead, LogChunk } from "../store.ts";
import type { ExecutionRow, LogKey } from "./rows.ts";

/**
 * What need not be in memory: history, snapshots, definitions' bodies, logs, and finished executions. Executions are
 * named by their serial here. Writes belong to the call that makes them: a durable adapter commits them with its rows.
 */
export type Cold = {
  appendCommit(serial: number, revision: number, events: readonly string[]): void;
  /** Oldest first, at most `limit` commits. */
  commits(serial: number, afterRevision: number, limit: number): { revision: number; events: string[] }[];
  putSnapshot(serial: number, snapshot: { revision: number; text: string }): void;
  snapshot(serial: number): { revision: number; text: string } | undefined;
  putDefinitions(serial: number, bodies: Readonly<Record<string, string>>): void;
  definitions(serial: number): Record<string, string>;

  /** An execution has left memory. */
  finish(key: string, row: ExecutionRow): void;
  finished(key: string): ExecutionRow | undefined;
  /** A finished execution becomes open again. */
  reopen(key: string): void;
  /** Open and finished ones, newest start first, then by key, after `page`. */
  list(filter: ExecutionFilter, page: ListPage | undefined, open: Iterable<ExecutionRow>): ExecutionHead[];
  /** Finished executions of a shard whose end is older, oldest end first. */
  ended(shard: number, beforeMs: number, limit: number): { key: string; row: ExecutionRow }[];
  /** Forgets a finished execution with all that hangs on it. */
  erase(key: string, serial: number): void;

  /** Behind all chunks of the execution: arrival order. */
  appendLog(log: LogKey, chunk: StoredChunk): void;
  /** The drop mark at the end of an attempt's log takes more bytes and ends at `offset`. */
  growDropMark(log: LogKey, bytes: number, offset: number): void;
  logTail(log: LogKey): LogTail | undefined;
  /** After position `after`, in arrival order, until `limitBytes` of data are reached (at least one chunk). */
  logs(serial: number, step: string | undefined, after: number, limitBytes: number): PlacedChunk[];

  putBody(key: string, body: string): void;
  body(key: string): string | undefined;
  removeBody(key: string): void;

  /** 0 when it was never set. */
  counter(key: string): number;
  setCounter(key: string, value: number): void;
  dropCounter(key: string): void;
};

/** The last row of the page before. */
export type ListPage = { startedAtMs: number; key: string };
export type StoredChunk = Pick<LogChunk, "offset" | "data" | "dropped" | "atMs">;
export type PlacedChunk = { position: number; chunk: LogChunk };
/** How far an attempt's log goes, what of it is stored, and whether its last row is a drop mark without data. */
export type LogTail = { heldTo: number; storedBytes: number; endsInMark: boolean };

/** Whether a head is in the list that the filter asks for; paging apart. */
export function passes(filter: ExecutionFilter, head: ExecutionHead): boolean {
  if (head.namespace !== filter.namespace) return false;
  if (filter.states !== undefined && !filter.states.includes(displayState(head))) return false;
  if (filter.workflow !== undefined && head.workflow !== filter.workflow) return false;
  if (filter.startedAfterMs !== undefined && head.startedAtMs <= filter.startedAfterMs) return false;
  if (filter.startedBeforeMs !== undefined && head.startedAtMs >= filter.startedBeforeMs) return false;
  if (filter.uses !== undefined && !head.uses.includes(filter.uses)) return false;
  if (filter.parent !== undefined && head.parent?.executionId !== filter.parent) return false;
  return Object.entries(filter.labels ?? {}).every(
    ([name, value]) => Object.hasOwn(head.labels, name) && head.labels[name] === value,
  );
}

/** Newest start first; ties by key, descending, so that paging is stable. */
export function newestFirst(a: ListPage, b: ListPage): number {
  return b.startedAtMs - a.startedAtMs || (a.key < b.key ? 1 : a.key > b.key ? -1 : 0);
}

/** One that ended without saying when counts from its start. */
export function endOf(head: ExecutionHead): number {
  return head.endedAtMs ?? head.startedAtMs;
}
