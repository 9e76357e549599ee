import { endOf, newestFirst, passes, type Cold, type ListPage } from "../memory/cold.ts";
import type { ExecutionRow } from "../memory/rows.ts";
import type { ExecutionFilter } from "../store.ts";
import type { Database, Row } from "./database.ts";
import { sqliteLogs } from "./logs.ts";
import { parsed } from "./rows.ts";

/** Between the events of one commit: no JSON text holds it raw. */
const BETWEEN_EVENTS = "\u001e";

/** Cold tables. Writes go to the transaction of the running group at once, so reads that follow see them. */
export function createSqliteCold(database: Database, beforeWrite: () => void): Cold {
  const write: Database["run"] = (sql, ...values) => {
    beforeWrite();
    database.run(sql, ...values);
  };
  return {
    ...history(database, write),
    ...definitions(database, write),
    ...sqliteLogs(database, write),
    ...counters(database, write),

    finish(key, row) {
      const { head, serial } = row;
      write(
        `INSERT INTO finished (key, serial, namespace, shard, state, workflow, parent, started_at, ended_at, row)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        key,
        serial,
        head.namespace,
        head.shard,
        head.state,
        head.workflow,
        head.parent?.executionId ?? null,
        head.startedAtMs,
        endOf(head),
        JSON.stringify(row),
      );
    },
    finished(key) {
      const found = database.get("SELECT key, row FROM finished WHERE key = ?", key);
      return found === undefined ? undefined : rowOf(found);
    },
    reopen: (key) => write("DELETE FROM finished WHERE key = ?", key),
    list: (filter, page, open) => list(database, filter, page, open),
    ended: (shard, beforeMs, limit) =>
      database
        .all(
          `SELECT key, row FROM finished WHERE shard = ? AND ended_at < ? ORDER BY ended_at, serial LIMIT ?`,
          shard,
          beforeMs,
          limit,
        )
        .map((found) => ({ key: String(found["key"]), row: rowOf(found) })),
    erase(key, serial) {
      write("DELETE FROM finished WHERE key = ?", key);
      for (const table of ["commits", "snapshots", "logs"]) write(`DELETE FROM ${table} WHERE serial = ?`, serial);
      const digests = database.all("SELECT digest FROM locked WHERE serial = ?", serial);
      write("DELETE FROM locked WHERE serial = ?", serial);
      for (const { digest } of digests) {
        write(
          "DELETE FROM locked_bodies WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM locked WHERE digest = ?1)",
          String(digest),
        );
      }
    },
  };
}

function rowOf(found: Row): ExecutionRow {
  return parsed(found["row"], `finished ${String(found["key"])}`);
}

type Write = Database["run"];

function history(
  database: Database,
  write: Write,
): Pick<Cold, "appendCommit" | "commits" | "putSnapshot" | "snapshot"> {
  return {
    appendCommit: (serial, revision, events) =>
      write(
        "INSERT INTO commits (serial, revision, events) VALUES (?, ?, ?)",
        serial,
        revision,
        events.join(BETWEEN_EVENTS),
      ),
    commits: (serial, afterRevision, limit) =>
      database
        .all(
          "SELECT revision, events FROM commits WHERE serial = ? AND revision > ? ORDER BY revision LIMIT ?",
          serial,
          afterRevision,
          limit,
        )
        .map(({ revision, events }) => ({ revision: Number(revision), events: String(events).split(BETWEEN_EVENTS) })),
    putSnapshot: (serial, { revision, text }) =>
      write("INSERT OR REPLACE INTO snapshots (serial, revision, text) VALUES (?, ?, ?)", serial, revision, text),
    snapshot(serial) {
      const found = database.get("SELECT revision, text FROM snapshots WHERE serial = ?", serial);
      return found === undefined ? undefined : { revision: Number(found["revision"]), text: String(found["text"]) };
    },
  };
}

/** Bodies that executions lock are shared by digest: 3,000 starts a second must not write them 3,000 times. */
function definitions(
  database: Database,
  write: Write,
): Pick<Cold, "putDefinitions" | "definitions" | "putBody" | "body" | "removeBody"> {
  return {
    putDefinitions(serial, bodies) {
      for (const [digest, body] of Object.entries(bodies)) {
        write("INSERT OR IGNORE INTO locked (serial, digest) VALUES (?, ?)", serial, digest);
        const known = database.get("SELECT 1 FROM locked_bodies WHERE digest = ?", digest);
        if (known === undefined) write("INSERT INTO locked_bodies (digest, body) VALUES (?, ?)", digest, body);
      }
    },
    definitions(serial) {
      const rows = database.all(
        "SELECT digest, body FROM locked JOIN locked_bodies USING (digest) WHERE serial = ?",
        serial,
      );
      return Object.fromEntries(rows.map(({ digest, body }) => [String(digest), String(body)]));
    },
    putBody: (key, body) => write("INSERT OR REPLACE INTO registry_bodies (key, body) VALUES (?, ?)", key, body),
    body(key) {
      const found = database.get("SELECT body FROM registry_bodies WHERE key = ?", key);
      return found === undefined ? undefined : String(found["body"]);
    },
    removeBody: (key) => write("DELETE FROM registry_bodies WHERE key = ?", key),
  };
}

function counters(database: Database, write: Write): Pick<Cold, "counter" | "setCounter" | "dropCounter"> {
  return {
    counter: (key) => Number(database.get("SELECT value FROM counters WHERE key = ?", key)?.["value"] ?? 0),
    setCounter: (key, value) => write("INSERT OR REPLACE INTO counters (key, value) VALUES (?, ?)", key, value),
    dropCounter: (key) => write("DELETE FROM counters WHERE key = ?", key),
  };
}

const FINISHED_STATES = ["succeeded", "failed", "cancelled"];

/** Finished ones come from disk only until the page is full, then the open ones are merged in. */
function list(
  database: Database,
  filter: ExecutionFilter,
  page: ListPage | undefined,
  open: Iterable<ExecutionRow>,
): ReturnType<Cold["list"]> {
  const placed = (row: ExecutionRow) => {
    const { namespace, id, startedAtMs } = row.head;
    return { head: row.head, startedAtMs, key: `${namespace}/${id}` };
  };
  const found = [...open]
    .filter((row) => passes(filter, row.head))
    .map(placed)
    .filter((row) => page === undefined || newestFirst(row, page) > 0);
  let left = filter.limit;
  for (const stored of finishedRows(database, filter, page)) {
    const row = rowOf(stored);
    if (!passes(filter, row.head)) continue;
    found.push(placed(row));
    if (--left <= 0) break;
  }
  return found
    .sort(newestFirst)
    .slice(0, filter.limit)
    .map(({ head }) => head);
}

function finishedRows(database: Database, filter: ExecutionFilter, page: ListPage | undefined): Iterable<Row> {
  const states = filter.states?.filter((state) => FINISHED_STATES.includes(state)) ?? FINISHED_STATES;
  if (states.length === 0 || filter.limit <= 0) return [];
  const clauses = ["namespace = ?", "state IN (SELECT value FROM json_each(?))"];
  const values: (string | number)[] = [filter.namespace, JSON.stringify(states)];
  const also = (clause: string, ...more: (string | number)[]): void => {
    clauses.push(clause);
    values.push(...more);
  };
  if (page !== undefined) also("(started_at, key) < (?, ?)", page.startedAtMs, page.key);
  if (filter.workflow !== undefined) also("workflow = ?", filter.workflow);
  if (filter.parent !== undefined) also("parent = ?", filter.parent);
  if (filter.startedAfterMs !== undefined) also("started_at > ?", filter.startedAfterMs);
  if (filter.startedBeforeMs !== undefined) also("started_at < ?", filter.startedBeforeMs);
  const sql = `SELECT key, row FROM finished WHERE ${clauses.join(" AND ")} ORDER BY started_at DESC, key DESC`;
  return database.iterate(sql, ...values);
}
