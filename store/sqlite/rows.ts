import { HodeiError } from "../../workflow/errors.ts";
import type { Change, Pending, WriteAhead } from "./journal.ts";
import type { Database } from "./database.ts";

/** How a table takes a row. */
export type RowWriter<Row> = { put(key: string, row: Row): void; remove(key: string): void };

/** For rows of which most changes touch little: what a record says instead of the whole row. No object. */
export type ShortForm<Row> = {
  of(before: Row, after: Row): string | number | undefined;
  whole(before: Row, short: string | number): Row;
  /** The row that the table has, when nothing pending says what was before. */
  stored(key: string): Row | undefined;
};

/**
 * The rows of one table that the journal tells and the table does not know yet. A row that changes often is written
 * once, as it is at the end; one that is gone before its turn comes is not written at all.
 */
export class PendingRows<Row> {
  readonly #ahead: WriteAhead;
  readonly #name: string;
  readonly #writer: RowWriter<Row>;
  readonly #pending = new Map<string, PendingRow<Row>>();
  /** Keys that the table has. Undefined: not known here, so that every removal is written. */
  readonly #stored: Set<string> | undefined;
  readonly #short: ShortForm<Row> | undefined;

  constructor(
    ahead: WriteAhead,
    name: string,
    writer: RowWriter<Row>,
    more: { stored?: Set<string>; short?: ShortForm<Row> | undefined } = {},
  ) {
    this.#ahead = ahead;
    this.#name = name;
    this.#writer = writer;
    this.#stored = more.stored;
    this.#short = more.short;
  }

  has(key: string): boolean {
    return this.#pending.has(key);
  }

  get(key: string): Row | undefined {
    return this.#pending.get(key)?.row;
  }

  *rows(): Generator<[string, Row]> {
    for (const [key, { row }] of this.#pending) if (row !== undefined) yield [key, row];
  }

  put(key: string, row: Row): void {
    this.#change(this.#pending.get(key) ?? this.#track(key), row);
  }

  /** `hurry`: as `WriteAhead.hurry` has it. */
  remove(key: string, hurry = false): void {
    const pending = this.#pending.get(key) ?? (this.#mayBeStored(key) ? this.#track(key) : undefined);
    if (pending === undefined) return;
    this.#change(pending, undefined);
    if (!pending.stored) this.#drop(pending);
    else if (hurry) this.#ahead.hurry(pending);
  }

  write({ key, row }: PendingRow<Row>): void {
    if (row === undefined) this.#writer.remove(key);
    else this.#writer.put(key, row);
  }

  written({ key, row }: PendingRow<Row>): void {
    if (row === undefined) this.#stored?.delete(key);
    else this.#stored?.add(key);
    this.#pending.delete(key);
  }

  #mayBeStored(key: string): boolean {
    return this.#ahead.replaying || this.#stored === undefined || this.#stored.has(key);
  }

  #track(key: string): PendingRow<Row> {
    const pending = new PendingRow<Row>(this, key, this.#mayBeStored(key));
    this.#pending.set(key, pending);
    this.#ahead.track(pending);
    return pending;
  }

  /** As a record has it: nothing for a row that is gone, else the row or its short form. */
  replay(key: string, told: unknown): void {
    if (told === undefined) this.remove(key);
    else if (typeof told === "object") this.put(key, told as Row);
    else {
      const before = this.get(key) ?? this.#short?.stored(key);
      // Without a row before it, it was removed by a later record, which its table knows already.
      if (before !== undefined) this.put(key, this.#short?.whole(before, told as string | number) ?? before);
    }
  }

  /** Once per record, however often the row changes in its group. */
  #change(pending: PendingRow<Row>, row: Row | undefined): void {
    const before = pending.row;
    pending.row = row;
    const first = pending.changedIn !== this.#ahead.number;
    if (first) {
      pending.changedIn = this.#ahead.number;
      pending.change = [this.#name, pending.key];
      this.#ahead.note(pending.change);
    }
    if (row === undefined) {
      pending.change.length = 2;
      return;
    }
    const mayBeShort = before !== undefined && (first || typeof pending.change[2] !== "object");
    pending.change[2] = (mayBeShort ? this.#short?.of(before, row) : undefined) ?? row;
  }

  #drop(pending: PendingRow<Row>): void {
    pending.live = false;
    // It stays in line until its turn comes; what it held need not.
    pending.row = undefined;
    pending.change = [];
    this.#pending.delete(pending.key);
  }
}

/** A class, because a busy store makes 40,000 of them a second. */
class PendingRow<Row> implements Pending {
  readonly key: string;
  /** Whether the table has, or may have, a row under the key. */
  readonly stored: boolean;
  readonly #of: PendingRows<Row>;
  row: Row | undefined;
  since = 0;
  live = true;
  change: Change = [];
  changedIn = 0;

  constructor(of: PendingRows<Row>, key: string, stored: boolean) {
    this.#of = of;
    this.key = key;
    this.stored = stored;
  }

  get removes(): boolean {
    return this.row === undefined;
  }

  write(): void {
    this.#of.write(this);
  }

  written(): void {
    this.#of.written(this);
  }
}

/** A table of keys and rows as JSON. */
export function jsonWriter<Row>(database: Database, table: string): RowWriter<Row> {
  const put = `INSERT INTO ${table} (key, row) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row`;
  const remove = `DELETE FROM ${table} WHERE key = ?`;
  return {
    put: (key, row) => database.run(put, key, JSON.stringify(row)),
    remove: (key) => database.run(remove, key),
  };
}

/** A row is what this version wrote (the schema version says so), so its shape is not checked again. */
export function parsed<T>(text: unknown, where: string): T {
  try {
    return JSON.parse(String(text)) as T;
  } catch (error) {
    throw new HodeiError("DATA_CORRUPT", `the stored row ${where} is not JSON`, { cause: error });
  }
}
