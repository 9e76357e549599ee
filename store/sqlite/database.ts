import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { isSystemError } from "../../base/process.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { JOURNAL_FILE } from "./journal-file.ts";
import { MIGRATIONS } from "./migrate.ts";
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from "./schema.ts";

export const IN_MEMORY = ":memory:";
const FILE = "hodei.db";
/** Who holds the folder, for the words of the error. The lock itself is SQLite's on the file: it dies with its process. */
const HOLDER_FILE = "holder.pid";

/** A checkpoint stands in the way of every call: 1,000 pages take some 5 ms, and cost no more CPU than 4,000 at a time. */
const WAL_PAGES_BEFORE_CHECKPOINT = 1000;
const WAL_KEPT_BYTES = 64 * 1024 * 1024;

export type Row = Record<string, unknown>;

/** One connection that holds the file for itself alone, with its statements prepared once. */
export class Database {
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /**
   * `maxPages` bounds the file (4 KiB each). Errors: DATA_IN_USE when another process holds the folder, DATA_CORRUPT
   * when the file is not ours or of a newer version, or is missing beside its journal; INVALID_ARGUMENT when it may not
   * be written, UNAVAILABLE when there is no room.
   */
  constructor(directory: string, maxPages?: number) {
    this.#connection = opened(directory);
    try {
      this.#prepare(directory, maxPages);
      if (directory !== IN_MEMORY) writeFileSync(join(directory, HOLDER_FILE), `${process.pid}\n`);
    } catch (error) {
      this.#connection.close();
      throw translated(error, directory);
    }
  }

  #prepare(directory: string, maxPages: number | undefined): void {
    // EXCLUSIVE before WAL: then the lock is taken once and kept, and no shared-memory file is needed.
    this.#connection.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA foreign_keys = OFF;
      PRAGMA temp_store = MEMORY;
      PRAGMA wal_autocheckpoint = ${WAL_PAGES_BEFORE_CHECKPOINT};
      PRAGMA journal_size_limit = ${WAL_KEPT_BYTES};
    `);
    if (maxPages !== undefined) this.#connection.exec(`PRAGMA max_page_count = ${maxPages}`);
    this.#connection.exec("BEGIN EXCLUSIVE");
    const version = Number(this.#pragma("user_version"));
    if (version === 0 && this.get("SELECT 1 FROM sqlite_schema") === undefined) this.#begin(directory);
    else if (this.#pragma("application_id") !== APPLICATION_ID) {
      throw new HodeiError("DATA_CORRUPT", "the database was not made by Hodei");
    } else this.#migrate(version);
    this.#connection.exec("COMMIT");
  }

  /** A journal is made after its tables, so one without any has lost them, and a new one would be written over it. */
  #begin(directory: string): void {
    const journal = join(directory, JOURNAL_FILE);
    if (directory !== IN_MEMORY && existsSync(journal)) {
      throw new HodeiError("DATA_CORRUPT", `the journal ${journal} has no database: ${FILE} or its -wal is missing`, {
        hint: "Restore the whole folder from a copy. To begin anew, move the journal away.",
      });
    }
    this.#connection.exec(SCHEMA);
  }

  /** Within the transaction of the start, so that a start that is cut short leaves the version that was there. */
  #migrate(from: number): void {
    for (let version = from; version !== SCHEMA_VERSION; version += 1) {
      const migrate = MIGRATIONS[version];
      if (migrate === undefined) {
        throw new HodeiError("DATA_CORRUPT", `the database is of schema ${from}; this version reads ${SCHEMA_VERSION}`);
      }
      migrate(this);
    }
    this.#connection.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  }

  #pragma(name: string): unknown {
    return this.get(`PRAGMA ${name}`)?.[name];
  }

  get inTransaction(): boolean {
    return this.#connection.isTransaction;
  }

  begin(): void {
    this.#statement("BEGIN IMMEDIATE").run();
  }

  commit(): void {
    this.#statement("COMMIT").run();
  }

  rollback(): void {
    // Some failures (a full disk) have rolled back already.
    if (this.inTransaction) this.#statement("ROLLBACK").run();
  }

  run(sql: string, ...values: SQLInputValue[]): void {
    this.#statement(sql).run(...values);
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  /** Row by row; no other statement of the same text may run meanwhile. */
  iterate(sql: string, ...values: SQLInputValue[]): Iterable<Row> {
    return this.#statement(sql).iterate(...values);
  }

  close(): void {
    this.#statements.clear();
    this.#connection.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#connection.prepare(sql)));
    return statement;
  }
}

function opened(directory: string): DatabaseSync {
  try {
    if (directory !== IN_MEMORY) mkdirSync(directory, { recursive: true });
    return new DatabaseSync(directory === IN_MEMORY ? IN_MEMORY : join(directory, FILE), { timeout: 0 });
  } catch (error) {
    throw translated(error, directory);
  }
}

/** SQLite's result codes, the low byte of its extended ones. */
const PERMISSION = 3;
const BUSY = 5;
const READ_ONLY = 8;
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

/** What keeps a store from being opened, in words for who gave the folder. */
export function translated(error: unknown, directory: string): unknown {
  if (isSystemError(error, "ENOSPC", "EDQUOT")) return noRoom(directory, error as Error);
  if (isSystemError(error, "EACCES", "EPERM", "EROFS", "EISDIR", "ENOTDIR", "EIO")) {
    return unwritable(directory, error as Error);
  }
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return error;
  const code = error.errcode & 0xff;
  if (code === BUSY) {
    const pid = holderOf(directory);
    const by = pid === undefined ? "another process" : `process ${pid}`;
    return new HodeiError("DATA_IN_USE", `the data folder ${directory} is in use by ${by}`, {
      hint: "Stop that process, or give this one another folder.",
      facts: pid === undefined ? { directory } : { directory, pid },
      cause: error,
    });
  }
  if (code === FULL) return noRoom(directory, error);
  // A folder that is mounted read-only gives an IO_ERROR.
  if ([PERMISSION, READ_ONLY, IO_ERROR, CANNOT_OPEN].includes(code)) return unwritable(directory, error);
  if (code === CORRUPT || code === NOT_A_DATABASE) {
    return new HodeiError("DATA_CORRUPT", `${join(directory, FILE)} cannot be read: ${error.message}`, {
      cause: error,
    });
  }
  return error;
}

function noRoom(directory: string, cause: Error): HodeiError {
  return new HodeiError("UNAVAILABLE", `the data folder ${directory} has no room: ${cause.message}`, { cause });
}

function unwritable(directory: string, cause: Error): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", `the data folder ${directory} cannot be written: ${cause.message}`, {
    field: "data",
    hint: "Whoever starts Hodei must be able to read and write it, and every file in it.",
    cause,
  });
}

function holderOf(directory: string): string | undefined {
  try {
    return readFileSync(join(directory, HOLDER_FILE), "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
