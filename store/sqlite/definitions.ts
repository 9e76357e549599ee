import { count } from "../memory/sets.ts";
import type { Database } from "./database.ts";
import type { Pending, WriteAhead } from "./journal.ts";

/** Texts of definitions kept in memory, in characters: every start and every read of an execution asks for some. */
const KEPT_LENGTH = 4 * 1024 * 1024;

type Locked = Pending & { digests: string[] };

/**
 * The definitions that executions lock. Bodies are shared by digest (3,000 starts a second must not write them 3,000
 * times) and written at once, being few; who locks which waits in the journal.
 */
export class Definitions {
  readonly #database: Database;
  readonly #ahead: WriteAhead;
  readonly #write: Database["run"];
  readonly #locked = new Map<number, Locked>();
  /** How often a digest stands in `#locked`: such a body must stay though the table does not say so yet. */
  readonly #waiting = new Map<string, number>();
  readonly #bodies = new Map<string, string>();
  #keptLength = 0;

  constructor(database: Database, ahead: WriteAhead, write: Database["run"]) {
    this.#database = database;
    this.#ahead = ahead;
    this.#write = write;
  }

  put(serial: number, bodies: Readonly<Record<string, string>>): void {
    for (const [digest, body] of Object.entries(bodies)) {
      if (this.#body(digest) !== undefined) continue;
      this.#write("INSERT INTO locked_bodies (digest, body) VALUES (?, ?)", digest, body);
      this.#keep(digest, body);
    }
    this.lock(serial, Object.keys(bodies));
  }

  lock(serial: number, digests: string[]): void {
    this.#ahead.note(["locked", serial, ...digests]);
    const locked: Locked = {
      since: 0,
      live: true,
      removes: false,
      digests,
      write: () => {
        for (const digest of digests) {
          this.#database.run("INSERT OR IGNORE INTO locked (serial, digest) VALUES (?, ?)", serial, digest);
        }
      },
      written: () => this.#forget(serial, locked),
    };
    this.#locked.set(serial, locked);
    for (const digest of digests) count(this.#waiting, digest, 1);
    this.#ahead.track(locked);
  }

  of(serial: number): Record<string, string> {
    const stored = this.#database.all("SELECT digest FROM locked WHERE serial = ?", serial);
    const digests = this.#locked.get(serial)?.digests ?? stored.map(({ digest }) => String(digest));
    return Object.fromEntries(digests.map((digest) => [digest, this.#body(digest) ?? ""]));
  }

  /** From what waits. Answers the digests that it locked there. */
  forget(serial: number): string[] {
    const locked = this.#locked.get(serial);
    if (locked !== undefined) this.#forget(serial, locked);
    return locked?.digests ?? [];
  }

  /** From the tables, with the bodies that nobody else locks. `forgotten`: what `forget` has answered. */
  erase(serial: number, forgotten: readonly string[]): void {
    const stored = this.#database.all("SELECT digest FROM locked WHERE serial = ?", serial);
    this.#database.run("DELETE FROM locked WHERE serial = ?", serial);
    for (const digest of new Set([...stored.map((row) => String(row["digest"])), ...forgotten])) {
      if (this.#waiting.has(digest)) continue;
      this.#database.run(
        "DELETE FROM locked_bodies WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM locked WHERE digest = ?1)",
        digest,
      );
      this.#bodies.delete(digest);
    }
  }

  #forget(serial: number, locked: Locked): void {
    locked.live = false;
    this.#locked.delete(serial);
    for (const digest of locked.digests) count(this.#waiting, digest, -1);
  }

  #body(digest: string): string | undefined {
    const kept = this.#bodies.get(digest);
    if (kept !== undefined) return kept;
    const found = this.#database.get("SELECT body FROM locked_bodies WHERE digest = ?", digest);
    if (found === undefined) return undefined;
    const body = String(found["body"]);
    this.#keep(digest, body);
    return body;
  }

  #keep(digest: string, body: string): void {
    this.#keptLength += body.length;
    if (this.#keptLength > KEPT_LENGTH) {
      this.#bodies.clear();
      this.#keptLength = body.length;
    }
    this.#bodies.set(digest, body);
  }
}
