import type { OperationRow } from "../memory/rows.ts";
import { REMEMBERED } from "../memory/state.ts";
import type { Database } from "./database.ts";
import type { Pending, WriteAhead } from "./journal.ts";
import { parsed } from "./rows.ts";

/** One row of the table holds this many: a row for each was a tenth of what a commit wrote. */
export const OPERATIONS_TOGETHER = 256;

type Chunk = Pending & { first: number; rows: OperationRow[] };

/** The newest operations by number. Those that came together are written together. */
export class Operations {
  readonly #database: Database;
  readonly #ahead: WriteAhead;
  readonly #pending = new Set<Chunk>();
  #newest: Chunk | undefined;

  constructor(database: Database, ahead: WriteAhead) {
    this.#database = database;
    this.#ahead = ahead;
  }

  put(key: string, row: OperationRow): void {
    this.#ahead.note(["operations", key, row]);
    let chunk = this.#newest;
    if (chunk === undefined || !chunk.live || chunk.rows.length >= OPERATIONS_TOGETHER)
      chunk = this.#begin(Number(key));
    chunk.rows.push(row);
  }

  /** All that are remembered, from the table and from the journal, which may tell the same once more. */
  rows(): Iterable<[string, OperationRow]> {
    const all = new Map<string, OperationRow>();
    const take = (first: number, rows: readonly OperationRow[]): void =>
      rows.forEach((row, at) => all.set(String(first + at), row));
    for (const { first, rows } of this.#database.iterate("SELECT first, rows FROM operations ORDER BY first")) {
      take(Number(first), parsed(rows, `operations ${String(first)}`));
    }
    for (const { first, rows } of this.#pending) take(first, rows);
    return all;
  }

  #begin(first: number): Chunk {
    const chunk: Chunk = {
      since: 0,
      live: true,
      removes: false,
      first,
      rows: [],
      write: () => this.#write(chunk),
      written: () => void this.#pending.delete(chunk),
    };
    this.#newest = chunk;
    this.#pending.add(chunk);
    this.#ahead.track(chunk);
    return chunk;
  }

  #write({ first, rows }: Chunk): void {
    this.#database.run("INSERT OR REPLACE INTO operations (first, rows) VALUES (?, ?)", first, JSON.stringify(rows));
    this.#database.run("DELETE FROM operations WHERE first < ?", first - REMEMBERED.operations - OPERATIONS_TOGETHER);
  }
}
