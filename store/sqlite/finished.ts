import { endOf, newestFirst, passes, type Cold, type ListPage } from "../memory/cold.ts";
import type { ExecutionRow } from "../memory/rows.ts";
import type { ExecutionFilter } from "../store.ts";
import type { Database, Row } from "./database.ts";
import type { WriteAhead } from "./journal.ts";
import { parsed, PendingRows } from "./rows.ts";

/** Executions that have ended: the newest ones wait in the journal, all others are in the table alone. */
export class Finished {
  readonly #database: Database;
  readonly #pending: PendingRows<ExecutionRow>;

  constructor(database: Database, ahead: WriteAhead) {
    this.#database = database;
    this.#pending = new PendingRows(ahead, "finished", {
      put: (key, row) => insert(database, key, row),
      remove: (key) => database.run("DELETE FROM finished WHERE key = ?", key),
    });
  }

  put(key: string, row: ExecutionRow): void {
    this.#pending.put(key, row);
  }

  get(key: string): ExecutionRow | undefined {
    if (this.#pending.has(key)) return this.#pending.get(key);
    const found = this.#database.get("SELECT key, row FROM finished WHERE key = ?", key);
    return found === undefined ? undefined : rowOf(found);
  }

  remove(key: string, hurry = false): void {
    this.#pending.remove(key, hurry);
  }

  /** Those of the table come only until the page is full; then the ones in memory, open ones among them, are merged in. */
  list(filter: ExecutionFilter, page: ListPage | undefined, open: Iterable<ExecutionRow>): ReturnType<Cold["list"]> {
    let found: Placed[] = [];
    let oldestMs = -Infinity;
    const add = (row: ExecutionRow): void => {
      // Thousands may wait in the journal, and a page needs few of them: what cannot be on it is not even looked at.
      if (row.head.startedAtMs < oldestMs || !passes(filter, row.head)) return;
      const one = placed(row);
      if (page !== undefined && newestFirst(one, page) <= 0) return;
      if (found.push(one) < 2 * filter.limit) return;
      found = found.sort(newestFirst).slice(0, filter.limit);
      oldestMs = found.at(-1)?.startedAtMs ?? oldestMs;
    };
    for (const row of open) add(row);
    for (const [, row] of [...this.#pending.rows()].reverse()) add(row);
    for (const rows of this.#stored(filter, page)) {
      let left = filter.limit;
      for (const stored of rows) {
        const row = rowOf(stored);
        if (this.#pending.has(String(stored["key"])) || !passes(filter, row.head)) continue;
        found.push(placed(row));
        if (--left <= 0) break;
      }
    }
    return found
      .sort(newestFirst)
      .slice(0, filter.limit)
      .map(({ head }) => head);
  }

  ended(shard: number, beforeMs: number, limit: number): { key: string; row: ExecutionRow }[] {
    const found = [...this.#pending.rows()]
      .map(([key, row]) => ({ key, row }))
      .filter(({ row }) => row.head.shard === shard && endOf(row.head) < beforeMs);
    let left = limit;
    const sql = "SELECT key, row FROM finished WHERE shard = ? AND ended_at < ? ORDER BY ended_at, serial";
    for (const stored of this.#database.iterate(sql, shard, beforeMs)) {
      const key = String(stored["key"]);
      if (this.#pending.has(key)) continue;
      found.push({ key, row: rowOf(stored) });
      if (--left <= 0) break;
    }
    return found.sort((a, b) => endOf(a.row.head) - endOf(b.row.head) || a.row.serial - b.row.serial).slice(0, limit);
  }

  /**
   * What may be in the list, newest first, in one sequence or more. Those that did not succeed are few among many, so
   * they are looked up state by state; where succeeded ones are wanted too, nearly every row is one of them.
   */
  *#stored(filter: ExecutionFilter, page: ListPage | undefined): Generator<Iterable<Row>> {
    if (filter.limit <= 0) return;
    const states = FINISHED_STATES.filter((state) => filter.states?.includes(state) ?? true);
    if (states.includes("succeeded")) yield this.#sequence(filter, page, `state IN ('${states.join("', '")}')`);
    else for (const state of states) yield this.#sequence(filter, page, `state <> 'succeeded' AND state = '${state}'`);
  }

  #sequence(filter: ExecutionFilter, page: ListPage | undefined, ofState: string): Iterable<Row> {
    const clauses = ["namespace = ?", ofState];
    const values: (string | number)[] = [filter.namespace];
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
    return this.#database.iterate(sql, ...values);
  }
}

const FINISHED_STATES = ["succeeded", "failed", "cancelled"] as const;

type Placed = ListPage & Pick<ExecutionRow, "head">;

function placed({ head }: ExecutionRow): Placed {
  return { head, startedAtMs: head.startedAtMs, key: `${head.namespace}/${head.id}` };
}

function insert(database: Database, key: string, row: ExecutionRow): void {
  const { head, serial } = row;
  database.run(
    `INSERT OR REPLACE INTO finished (key, serial, namespace, shard, state, workflow, parent, started_at, ended_at, row)
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
}

function rowOf(found: Row): ExecutionRow {
  return parsed(found["row"], `finished ${String(found["key"])}`);
}
