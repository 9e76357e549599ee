import type { Cold } from "../memory/cold.ts";
import type { Database } from "./database.ts";
import type { Pending, WriteAhead } from "./journal.ts";

export type Commit = ReturnType<Cold["commits"]>[number];

/** No JSON text holds these raw: between the events of a commit, behind its revision, and between commits. */
const BETWEEN_EVENTS = "\u001e";
const BEHIND_REVISION = "\u001f";
const BETWEEN_COMMITS = "\u001d";

/** A row of the table holds the commits that gathered until it was written, up to about this many characters. */
const ROW_LENGTH = 64 * 1024;

type Part = Pending & { serial: number; commits: Commit[]; length: number };

/** The commits of all executions, by serial. */
export class Commits {
  readonly #database: Database;
  readonly #ahead: WriteAhead;
  /** Of each execution in order; all but the last are full. */
  readonly #parts = new Map<number, Part[]>();

  constructor(database: Database, ahead: WriteAhead) {
    this.#database = database;
    this.#ahead = ahead;
  }

  append(serial: number, revision: number, events: readonly string[]): void {
    this.#ahead.note(["commits", serial, revision, ...events.map(({ length }) => length)], events);
    const parts = this.#parts.get(serial);
    let part = parts?.at(-1);
    if (part === undefined || part.length > ROW_LENGTH) part = this.#begin(serial);
    part.commits.push({ revision, events: [...events] });
    for (const { length } of events) part.length += length;
  }

  /** What the table knows already is not taken again. */
  replay(serial: number, revision: number, events: readonly string[]): void {
    const known = this.#database.get("SELECT max(revision) AS revision FROM commits WHERE serial = ?", serial);
    if (revision > Number(known?.["revision"] ?? 0)) this.append(serial, revision, events);
  }

  /** Oldest first, at most `limit`. */
  after(serial: number, revision: number, limit: number): Commit[] {
    const pending = this.#parts.get(serial) ?? [];
    const first = pending[0]?.commits[0]?.revision ?? Infinity;
    const found = first <= revision + 1 ? [] : this.#stored(serial, revision, limit);
    for (const { commits } of pending) {
      for (const commit of commits) {
        if (found.length >= limit) return found;
        if (commit.revision > revision) found.push(commit);
      }
    }
    return found;
  }

  forget(serial: number): void {
    for (const part of this.#parts.get(serial) ?? []) part.live = false;
    this.#parts.delete(serial);
  }

  #stored(serial: number, revision: number, limit: number): Commit[] {
    const found: Commit[] = [];
    const sql = "SELECT commits FROM commits WHERE serial = ? AND revision > ? ORDER BY revision";
    for (const row of this.#database.iterate(sql, serial, revision)) {
      for (const commit of commitsIn(String(row["commits"]))) {
        if (found.length >= limit) return found;
        if (commit.revision > revision) found.push(commit);
      }
    }
    return found;
  }

  #begin(serial: number): Part {
    const part: Part = {
      since: 0,
      live: true,
      removes: false,
      serial,
      commits: [],
      length: 0,
      write: () => this.#write(part),
      written: () => this.#written(part),
    };
    const parts = this.#parts.get(serial);
    if (parts === undefined) this.#parts.set(serial, [part]);
    else parts.push(part);
    this.#ahead.track(part);
    return part;
  }

  #write({ serial, commits }: Part): void {
    this.#database.run(
      "INSERT INTO commits (serial, revision, commits) VALUES (?, ?, ?)",
      serial,
      commits.at(-1)?.revision ?? 0,
      textOf(commits),
    );
  }

  /** Always the oldest of its execution. */
  #written({ serial }: Part): void {
    const parts = this.#parts.get(serial);
    parts?.shift();
    if (parts?.length === 0) this.#parts.delete(serial);
  }
}

/** What a row of the table holds. */
export function textOf(commits: readonly Commit[]): string {
  return commits
    .map(({ revision, events }) => `${revision}${BEHIND_REVISION}${events.join(BETWEEN_EVENTS)}`)
    .join(BETWEEN_COMMITS);
}

function commitsIn(text: string): Commit[] {
  return text.split(BETWEEN_COMMITS).map((commit) => {
    const end = commit.indexOf(BEHIND_REVISION);
    return { revision: Number(commit.slice(0, end)), events: commit.slice(end + 1).split(BETWEEN_EVENTS) };
  });
}

type Snapshot = { revision: number; text: string };
type PendingSnapshot = Pending & { snapshot: Snapshot };

/** The newest snapshot of each execution, by serial. */
export class Snapshots {
  readonly #database: Database;
  readonly #ahead: WriteAhead;
  readonly #pending = new Map<number, PendingSnapshot>();

  constructor(database: Database, ahead: WriteAhead) {
    this.#database = database;
    this.#ahead = ahead;
  }

  put(serial: number, snapshot: Snapshot): void {
    this.#ahead.note(["snapshots", serial, snapshot.revision, snapshot.text.length], [snapshot.text]);
    const known = this.#pending.get(serial);
    if (known !== undefined) {
      known.snapshot = snapshot;
      return;
    }
    const pending: PendingSnapshot = {
      since: 0,
      live: true,
      removes: false,
      snapshot,
      write: () => this.#write(serial, pending.snapshot),
      written: () => void this.#pending.delete(serial),
    };
    this.#pending.set(serial, pending);
    this.#ahead.track(pending);
  }

  of(serial: number): Snapshot | undefined {
    const pending = this.#pending.get(serial);
    if (pending !== undefined) return pending.snapshot;
    const found = this.#database.get("SELECT revision, text FROM snapshots WHERE serial = ?", serial);
    return found === undefined ? undefined : { revision: Number(found["revision"]), text: String(found["text"]) };
  }

  forget(serial: number): void {
    const pending = this.#pending.get(serial);
    if (pending !== undefined) pending.live = false;
    this.#pending.delete(serial);
  }

  #write(serial: number, { revision, text }: Snapshot): void {
    this.#database.run(
      "INSERT OR REPLACE INTO snapshots (serial, revision, text) VALUES (?, ?, ?)",
      serial,
      revision,
      text,
    );
  }
}
