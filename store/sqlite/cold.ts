import type { Cold } from "../memory/cold.ts";
import type { ExecutionRow } from "../memory/rows.ts";
import type { Database } from "./database.ts";
import { Definitions } from "./definitions.ts";
import { Finished } from "./finished.ts";
import { Commits, Snapshots } from "./history.ts";
import type { Change, Pending, WriteAhead } from "./journal.ts";
import { sqliteLogs } from "./logs.ts";
import { PendingRows } from "./rows.ts";

/**
 * Cold tables. Writes wait in the journal, and reads see what waits. Only logs and the bodies of locked definitions go
 * to their tables at once, in a transaction that is committed before the record of their group: bytes that an
 * execution which never came to be has left there harm nobody.
 */
export class ColdTables {
  readonly #database: Database;
  readonly #ahead: WriteAhead;
  readonly #write: Database["run"];
  readonly #commits: Commits;
  readonly #snapshots: Snapshots;
  readonly #definitions: Definitions;
  readonly #finished: Finished;
  readonly #counters: PendingRows<number>;
  readonly #bodies: PendingRows<string>;
  #lastSerial = 0;

  constructor(database: Database, ahead: WriteAhead, write: Database["run"]) {
    this.#database = database;
    this.#ahead = ahead;
    this.#write = write;
    this.#commits = new Commits(database, ahead);
    this.#snapshots = new Snapshots(database, ahead);
    this.#definitions = new Definitions(database, ahead, write);
    this.#finished = new Finished(database, ahead);
    this.#counters = new PendingRows<number>(ahead, "counters", {
      put: (key, value) => database.run("INSERT OR REPLACE INTO counters (key, value) VALUES (?, ?)", key, value),
      remove: (key) => database.run("DELETE FROM counters WHERE key = ?", key),
    });
    this.#bodies = new PendingRows<string>(ahead, "bodies", {
      put: (key, body) => database.run("INSERT OR REPLACE INTO registry_bodies (key, body) VALUES (?, ?)", key, body),
      remove: (key) => database.run("DELETE FROM registry_bodies WHERE key = ?", key),
    });
  }

  /** The highest number of an execution that its tables or the journal have named. */
  get lastSerial(): number {
    const last = this.#database.get("SELECT max(serial) AS serial FROM finished");
    return Math.max(this.#lastSerial, Number(last?.["serial"] ?? 0));
  }

  cold(): Cold {
    return {
      ...sqliteLogs(this.#database, this.#write),

      appendCommit: (serial, revision, events) => this.#commits.append(serial, revision, events),
      commits: (serial, afterRevision, limit) => this.#commits.after(serial, afterRevision, limit),
      putSnapshot: (serial, snapshot) => this.#snapshots.put(serial, snapshot),
      snapshot: (serial) => this.#snapshots.of(serial),
      putDefinitions: (serial, bodies) => this.#definitions.put(serial, bodies),
      definitions: (serial) => this.#definitions.of(serial),

      finish: (key, row) => this.#finished.put(key, row),
      finished: (key) => this.#finished.get(key),
      reopen: (key) => this.#finished.remove(key),
      list: (filter, page, open) => this.#finished.list(filter, page, open),
      ended: (shard, beforeMs, limit) => this.#finished.ended(shard, beforeMs, limit),
      erase: (key, serial) => {
        this.#finished.remove(key, true);
        this.#erase(serial);
      },

      putBody: (key, body) => this.#bodies.put(key, body),
      body: (key) => this.#body(key),
      removeBody: (key) => this.#bodies.remove(key),

      counter: (key) => this.#counter(key),
      setCounter: (key, value) => this.#counters.put(key, value),
      dropCounter: (key) => this.#counters.remove(key),
    };
  }

  /** A change that the journal tells. False when it is of no table here. */
  replay([table, key, ...rest]: Change, text: (length: number) => string): boolean {
    switch (table) {
      case "commits": {
        const [revision = 0, ...lengths] = rest.map(Number);
        this.#commits.replay(this.#named(key), revision, lengths.map(text));
        return true;
      }
      case "snapshots": {
        const [revision = 0, length = 0] = rest.map(Number);
        this.#snapshots.put(this.#named(key), { revision, text: text(length) });
        return true;
      }
      case "locked":
        this.#definitions.lock(this.#named(key), rest.map(String));
        return true;
      case "erased":
        this.#erase(this.#named(key));
        return true;
      case "finished":
        if (rest.length === 0) this.#finished.remove(String(key));
        else this.#finished.put(String(key), rest[0] as ExecutionRow);
        return true;
      case "counters":
        if (rest.length === 0) this.#counters.remove(String(key));
        else this.#counters.put(String(key), Number(rest[0]));
        return true;
      case "bodies":
        if (rest.length === 0) this.#bodies.remove(String(key));
        else this.#bodies.put(String(key), String(rest[0]));
        return true;
      default:
        return false;
    }
  }

  /** No number is given twice, not even that of an execution which is erased by now. */
  #named(serial: unknown): number {
    this.#lastSerial = Math.max(this.#lastSerial, Number(serial));
    return Number(serial);
  }

  #erase(serial: number): void {
    this.#commits.forget(serial);
    this.#snapshots.forget(serial);
    const forgotten = this.#definitions.forget(serial);
    const pending: Pending = {
      since: 0,
      live: true,
      removes: true,
      write: () => {
        this.#definitions.erase(serial, forgotten);
        for (const table of ["commits", "snapshots", "logs"]) {
          this.#database.run(`DELETE FROM ${table} WHERE serial = ?`, serial);
        }
      },
      written: () => {},
    };
    this.#ahead.note(["erased", serial]);
    this.#ahead.track(pending);
    this.#ahead.hurry(pending);
  }

  #body(key: string): string | undefined {
    if (this.#bodies.has(key)) return this.#bodies.get(key);
    const found = this.#database.get("SELECT body FROM registry_bodies WHERE key = ?", key);
    return found === undefined ? undefined : String(found["body"]);
  }

  #counter(key: string): number {
    if (this.#counters.has(key)) return this.#counters.get(key) ?? 0;
    return Number(this.#database.get("SELECT value FROM counters WHERE key = ?", key)?.["value"] ?? 0);
  }
}
