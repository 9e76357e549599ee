import type { ExecutionRow, LogKey } from "./rows.ts";
import { endOf, newestFirst, passes, type Cold, type PlacedChunk, type StoredChunk } from "./cold.ts";

type Held = {
  commits: { revision: number; events: string[] }[];
  snapshot?: { revision: number; text: string };
  definitions: Record<string, string>;
};

/** The cold half of the store that is memory alone. It grows with history until `expire` takes it. */
export function createMemoryCold(): Cold {
  const held = new Map<number, Held>();
  const finished = new Map<string, ExecutionRow>();
  const bodies = new Map<string, string>();
  const counters = new Map<string, number>();
  const { forget, ...logs } = createLogs();

  const of = (serial: number): Held => {
    let record = held.get(serial);
    if (record === undefined) held.set(serial, (record = { commits: [], definitions: {} }));
    return record;
  };

  return {
    ...logs,
    appendCommit: (serial, revision, events) => void of(serial).commits.push({ revision, events: [...events] }),
    commits: (serial, afterRevision, limit) =>
      (held.get(serial)?.commits ?? []).filter((commit) => commit.revision > afterRevision).slice(0, limit),
    putSnapshot: (serial, snapshot) => void (of(serial).snapshot = snapshot),
    snapshot: (serial) => held.get(serial)?.snapshot,
    putDefinitions: (serial, texts) => void Object.assign(of(serial).definitions, texts),
    definitions: (serial) => ({ ...held.get(serial)?.definitions }),

    finish: (key, row) => void finished.set(key, row),
    finished: (key) => finished.get(key),
    reopen: (key) => void finished.delete(key),
    list(filter, page, open) {
      return [...open, ...finished.values()]
        .map(({ head }) => ({ head, startedAtMs: head.startedAtMs, key: `${head.namespace}/${head.id}` }))
        .filter((row) => passes(filter, row.head) && (page === undefined || newestFirst(row, page) > 0))
        .sort(newestFirst)
        .slice(0, filter.limit)
        .map(({ head }) => head);
    },
    ended(shard, beforeMs, limit) {
      return [...finished]
        .filter(([, row]) => row.head.shard === shard && endOf(row.head) < beforeMs)
        .sort(([, a], [, b]) => endOf(a.head) - endOf(b.head) || a.serial - b.serial)
        .slice(0, limit)
        .map(([key, row]) => ({ key, row }));
    },
    erase(key, serial) {
      finished.delete(key);
      held.delete(serial);
      forget(serial);
    },

    putBody: (key, body) => void bodies.set(key, body),
    body: (key) => bodies.get(key),
    removeBody: (key) => void bodies.delete(key),

    counter: (key) => counters.get(key) ?? 0,
    setCounter: (key, value) => void counters.set(key, value),
    dropCounter: (key) => void counters.delete(key),
  };
}

type Logs = Pick<Cold, "appendLog" | "growDropMark" | "logTail" | "logs"> & { forget: (serial: number) => void };
type Kept = StoredChunk & Pick<LogKey, "step" | "iteration" | "attempt"> & { position: number };

function createLogs(): Logs {
  const logs = new Map<number, Kept[]>();
  let position = 0;
  const ofAttempt = (log: LogKey): Kept[] =>
    (logs.get(log.serial) ?? []).filter(
      (row) => row.step === log.step && row.iteration === log.iteration && row.attempt === log.attempt,
    );

  return {
    appendLog(log, chunk) {
      const { serial, step, iteration, attempt } = log;
      const rows = logs.get(serial) ?? [];
      logs.set(serial, rows);
      rows.push({ ...chunk, step, iteration, attempt, position: ++position });
    },
    growDropMark(log, bytes, offset) {
      const mark = ofAttempt(log).at(-1);
      if (mark === undefined) return;
      mark.offset = offset;
      mark.dropped += bytes;
    },
    logTail(log) {
      const rows = ofAttempt(log);
      const last = rows.at(-1);
      if (last === undefined) return undefined;
      return {
        heldTo: last.offset + last.data.length,
        storedBytes: rows.reduce((sum, row) => sum + row.data.length, 0),
        endsInMark: last.data.length === 0,
      };
    },
    logs(serial, step, after, limitBytes) {
      const chunks: PlacedChunk[] = [];
      let bytes = 0;
      for (const { position: at, ...chunk } of logs.get(serial) ?? []) {
        if (at <= after || (step !== undefined && chunk.step !== step)) continue;
        if (chunks.length > 0 && bytes + chunk.data.length > limitBytes) break;
        chunks.push({ position: at, chunk });
        bytes += chunk.data.length;
      }
      return chunks;
    },
    forget: (serial) => void logs.delete(serial),
  };
}
