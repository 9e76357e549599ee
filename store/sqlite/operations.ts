import type { LogKey, OperationRow, SettledToken, StoredAnswer } from "../memory/rows.ts";
import { REMEMBERED } from "../memory/state.ts";
import type { Database } from "./database.ts";
import type { Pending, WriteAhead } from "./journal.ts";
import { parsed } from "./rows.ts";

/** One row of the table holds this many: a row for each was a tenth of what a commit wrote. */
export const OPERATIONS_TOGETHER = 256;

/** Without the names of its fields, which were half of it: order, id, answer, and eight values for each settled token. */
type Flat = unknown[];

/** Rows as JSON: written twice, to the journal and with the others of their row, but made once. */
type Chunk = Pending & { first: number; rows: string[] };

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
    this.replay(key, textOf(row));
  }

  /** As a record has it. */
  replay(key: string, text: string): void {
    this.#ahead.note(["operations", key, text.length], [text]);
    let chunk = this.#newest;
    if (chunk === undefined || !chunk.live || chunk.rows.length >= OPERATIONS_TOGETHER) {
      chunk = this.#begin(Number(key));
    }
    chunk.rows.push(text);
  }

  /** All that are remembered, from the table and from the journal, which may tell the same once more. */
  rows(): Iterable<[string, OperationRow]> {
    const all = new Map<string, OperationRow>();
    const take = (first: number, rows: readonly Flat[]): void =>
      rows.forEach((row, at) => all.set(String(first + at), whole(row)));
    for (const { first, rows } of this.#database.iterate("SELECT first, rows FROM operations ORDER BY first")) {
      take(Number(first), parsed(rows, `operations ${String(first)}`));
    }
    for (const { first, rows } of this.#pending) take(first, parsed(`[${rows.join(",")}]`, `operations ${first}`));
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
    this.#database.run("INSERT OR REPLACE INTO operations (first, rows) VALUES (?, ?)", first, `[${rows.join(",")}]`);
    this.#database.run("DELETE FROM operations WHERE first < ?", first - REMEMBERED.operations - OPERATIONS_TOGETHER);
  }
}

export function textOf({ order, opId, answer, settled }: OperationRow): string {
  const row: Flat = [order, opId, answer];
  for (const { token, lost, log } of settled) {
    row.push(token, lost, log.serial, log.namespace, log.executionId, log.step, log.iteration, log.attempt);
  }
  return JSON.stringify(row);
}

function whole([order, opId, answer, ...rest]: Flat): OperationRow {
  const settled: SettledToken[] = [];
  for (let at = 0; at < rest.length; at += 8) {
    const [token, lost, serial, namespace, executionId, step, iteration, attempt] = rest.slice(at, at + 8);
    const log = { serial, namespace, executionId, step, iteration, attempt } as LogKey;
    settled.push({ token: String(token), lost: lost === true, log });
  }
  return { order: Number(order), opId: String(opId), answer: answer as StoredAnswer, settled };
}
