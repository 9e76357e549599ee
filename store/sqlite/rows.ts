import { HodeiError } from "../../workflow/errors.ts";
import type { Journal, Rows, StoredRows, TableName } from "../memory/rows.ts";
import type { Database } from "./database.ts";
import { HOT_TABLES } from "./schema.ts";

/** The changes of hot rows since the last commit. A row that changes many times is written once, as it is at the end. */
export class RowChanges implements Journal {
  readonly #changes = new Map<TableName, Map<string, object | undefined>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  put<Name extends TableName>(table: Name, key: string, row: Rows[Name]): void {
    this.#note(table, key, row);
  }

  remove(table: TableName, key: string): void {
    this.#note(table, key, undefined);
  }

  #note(table: TableName, key: string, row: object | undefined): void {
    let changes = this.#changes.get(table);
    if (changes === undefined) this.#changes.set(table, (changes = new Map()));
    changes.set(key, row);
    this.#size += 1;
  }

  writeTo(database: Database): void {
    for (const [name, changes] of this.#changes) {
      const table = HOT_TABLES[name];
      const put = `INSERT INTO ${table} (key, row) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row`;
      const remove = `DELETE FROM ${table} WHERE key = ?`;
      for (const [key, row] of changes) {
        if (row === undefined) database.run(remove, key);
        else database.run(put, key, JSON.stringify(row));
      }
    }
    this.clear();
  }

  clear(): void {
    this.#changes.clear();
    this.#size = 0;
  }
}

/** Every hot row, read as it is asked for. Errors: DATA_CORRUPT naming table and key. */
export function storedRows(database: Database): StoredRows {
  const of = <Name extends TableName>(name: Name): Iterable<[string, Rows[Name]]> => read(database, name);
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
    operations: of("operations"),
    registries: of("registries"),
    definitions: of("definitions"),
    workerRequests: of("workerRequests"),
  };
}

function* read<Name extends TableName>(database: Database, name: Name): Iterable<[string, Rows[Name]]> {
  for (const { key, row } of database.iterate(`SELECT key, row FROM ${HOT_TABLES[name]}`)) {
    yield [String(key), parsed(row, `${HOT_TABLES[name]} ${String(key)}`)];
  }
}

/** A row is what this version wrote (the schema version says so), so its shape is not checked again. */
export function parsed<T>(text: unknown, where: string): T {
  try {
    return JSON.parse(String(text)) as T;
  } catch (error) {
    throw new HodeiError("DATA_CORRUPT", `the stored row ${where} is not JSON`, { cause: error });
  }
}
