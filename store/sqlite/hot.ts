import type { ExecutionRow, Journal, Rows, StoredRows, TableName } from "../memory/rows.ts";
import type { ExecutionHead } from "../store.ts";
import type { Database } from "./database.ts";
import type { Change, WriteAhead } from "./journal.ts";
import { Operations } from "./operations.ts";
import { jsonWriter, parsed, PendingRows, type ShortForm } from "./rows.ts";
import { HOT_TABLES, type HotTable } from "./schema.ts";

type HotRows = { [Name in HotTable]: PendingRows<Rows[Name]> };

/** The rows that are in memory too: noted change by change, and read as a whole at the start. */
export class Hot implements Journal {
  readonly #database: Database;
  readonly #stored = new Map<HotTable, Set<string>>();
  readonly #rows: HotRows;
  readonly #operations: Operations;

  constructor(database: Database, ahead: WriteAhead) {
    this.#database = database;
    this.#operations = new Operations(database, ahead);
    const of = <Name extends HotTable>(name: Name, short?: ShortForm<Rows[Name]>): PendingRows<Rows[Name]> => {
      const stored = new Set<string>();
      this.#stored.set(name, stored);
      return new PendingRows(ahead, name, jsonWriter(database, HOT_TABLES[name]), { stored, short });
    };
    this.#rows = {
      clusters: of("clusters"),
      sessions: of("sessions"),
      shards: of("shards"),
      executions: of("executions", nextRevision(database)),
      timers: of("timers"),
      outbox: of("outbox"),
      jobs: of("jobs"),
      claims: of("claims"),
      inbox: of("inbox"),
      workspaces: of("workspaces"),
      registries: of("registries"),
      definitions: of("definitions"),
      workerRequests: of("workerRequests"),
    };
  }

  put<Name extends TableName>(table: Name, key: string, row: Rows[Name]): void {
    if (table === "operations") this.#operations.put(key, row as Rows["operations"]);
    else (this.#rows[table as HotTable] as PendingRows<unknown>).put(key, row);
  }

  /** Operations are not removed: the oldest are forgotten as new ones come. */
  remove(table: TableName, key: string): void {
    if (table !== "operations") this.#rows[table].remove(key);
  }

  replay([table, key, ...told]: Change, text: (length: number) => string): void {
    if (table === "operations") this.#operations.replay(String(key), text(Number(told[0])));
    else this.#rows[table as HotTable].replay(String(key), told[0]);
  }

  /** Every hot row, read as it is asked for; all must be. Errors: DATA_CORRUPT naming table and key. */
  stored(): StoredRows {
    const of = <Name extends HotTable>(name: Name): Iterable<[string, Rows[Name]]> => this.#read(name);
    return {
      clusters: of("clusters"),
      sessions: of("sessions"),
      shards: of("shards"),
      executions: of("executions"),
      timers: of("timers"),
      outbox: of("outbox"),
      jobs: of("jobs"),
      claims: of("claims"),
      inbox: of("inbox"),
      workspaces: of("workspaces"),
      operations: this.#operations.rows(),
      registries: of("registries"),
      definitions: of("definitions"),
      workerRequests: of("workerRequests"),
    };
  }

  *#read<Name extends HotTable>(name: Name): Generator<[string, Rows[Name]]> {
    const pending: PendingRows<Rows[Name]> = this.#rows[name];
    const table = HOT_TABLES[name];
    for (const { key, row } of this.#database.iterate(`SELECT key, row FROM ${table}`)) {
      this.#stored.get(name)?.add(String(key));
      if (!pending.has(String(key))) yield [String(key), parsed(row, `${table} ${String(key)}`)];
    }
    yield* pending.rows();
  }
}

/** Most turns change nothing of the head but its revision: 60 characters in the record instead of 400. */
function nextRevision(database: Database): ShortForm<ExecutionRow> {
  return {
    of: ({ head: before }, { head: after }) => {
      for (const name of Object.keys(after) as (keyof ExecutionHead)[]) {
        if (name !== "revision" && !same(before[name], after[name])) return undefined;
      }
      return Object.keys(before).length === Object.keys(after).length ? after.revision : undefined;
    },
    whole: (before, revision) => ({ ...before, head: { ...before.head, revision: Number(revision) } }),
    stored: (key) => {
      const table = HOT_TABLES.executions;
      const found = database.get(`SELECT row FROM ${table} WHERE key = ?`, key);
      return found === undefined ? undefined : parsed(found["row"], `${table} ${key}`);
    },
  };
}

/** The same, or of the same parts. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const parts: [string, unknown][] = Object.entries(a);
  return (
    parts.length === Object.keys(b).length &&
    parts.every(([name, part]) => (b as Record<string, unknown>)[name] === part)
  );
}
