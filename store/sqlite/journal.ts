import { HodeiError } from "../../workflow/errors.ts";
import type { Random } from "../../base/random.ts";
import type { Database } from "./database.ts";
import { JournalFile, type Placed } from "./journal-file.ts";

/**
 * One line of a record: the name of a table, a key, and what the table holds under it from now on (nothing: the row is
 * gone). JSON, but for long texts, which follow it as they are: here only their lengths.
 */
export type Change = unknown[];

/** Something that the journal tells and its table does not know yet. */
export type Pending = {
  /** The oldest record that tells of it: that one must stay until the table knows. Set by `track`. */
  since: number;
  /** False once nothing is left to write: the row is gone again and never reached the table, or the table knows. */
  live: boolean;
  /** Whether writing it deletes. */
  readonly removes: boolean;
  /** Into the table, in a transaction that may yet fail. */
  write(): void;
  /** The transaction is committed. */
  written(): void;
};

/** Beyond half of it the tables are brought up to date, piece by piece. A full one is read in 0.2 s at a start. */
const JOURNAL_BYTES = 16 * 1024 * 1024;
/** When tables cannot be written (a full disk) they are tried again after so much more of the journal: 512 KB of 16 MB. */
const RETRY_SHARE = 1 / 32;
/**
 * One piece: so many rows, or what so much of the journal tells. Some 4 ms, for which no call is answered; with rows of
 * 50 KB it is 16 ms, and was 36 when rows alone were counted.
 */
const SLICE_ROWS = 128;
const SLICE_BYTES = 1024 * 1024;

/**
 * The journal, one record per commit, and all that the tables are behind it. It makes a commit cheap: one write at one
 * place, instead of pages all over a database. What was made and unmade while the journal held it (jobs, claims, timers)
 * never reaches a table, and what changed often reaches it once.
 *
 * Invariant: the tables, and over them the records from `start` on in their order, are the state. A change names the
 * whole row, so it may be taken again over a table that knows it already: tables are brought up to date in small pieces,
 * oldest change first, and each piece moves `start` behind the records that nothing pending needs, in one transaction.
 */
export class WriteAhead {
  readonly #database: Database;
  /** None: every commit goes to the tables. */
  readonly #file: JournalFile | undefined;
  #salt = 0;
  /** The number of the record that is being drafted, or read. */
  #number = 1;
  #replaying = false;
  #changes: Change[] = [];
  #texts: string[] = [];
  readonly #pending = new Line<Pending>();
  /** Of `#pending`, what is to reach its table right after the commit. */
  #urgent: Pending[] = [];
  /** The records that are needed. */
  readonly #records = new Line<Placed>();
  #bytes = 0;
  readonly #capacityBytes: number;
  /** Half of it; raised while the tables cannot be written. */
  #settleBytes: number;
  #distrusted = false;
  #syncFailed = false;

  constructor(
    database: Database,
    { path, random, bytes = JOURNAL_BYTES }: { path: string | undefined; random: Random; bytes?: number | undefined },
  ) {
    this.#database = database;
    this.#capacityBytes = bytes;
    this.#settleBytes = bytes / 2;
    if (path === undefined) return;
    const start = this.#start;
    if (start !== undefined && !JournalFile.exists(path)) {
      throw new HodeiError("DATA_CORRUPT", `the journal ${path} is missing; it holds what was written last`);
    }
    this.#salt = start?.salt ?? Number.parseInt(random.hex(4), 16);
    this.#file = new JournalFile(path, { capacityBytes: bytes, salt: this.#salt, fresh: start === undefined });
    if (start === undefined) this.#transaction(() => this.#putStart(0));
    else this.#number = start.number;
  }

  /** Absent after a proper end: then the tables know everything and there is no journal. */
  get #start(): { offset: number; number: number; next: number; salt: number } | undefined {
    const row = this.#database.get("SELECT start, number, next, salt FROM journal");
    if (row === undefined) return undefined;
    const { start, number, next, salt } = row;
    return { offset: Number(start), number: Number(number), next: Number(next), salt: Number(salt) };
  }

  get number(): number {
    return this.#number;
  }
  /** Whether what is noted comes from the journal itself: then nothing is known of what the tables hold. */
  get replaying(): boolean {
    return this.#replaying;
  }
  get changed(): boolean {
    return this.#changes.length > 0;
  }

  /** The caller may still replace the row in `change` while `number` stands. */
  note(change: Change, texts: readonly string[] = []): void {
    if (this.#replaying) return;
    this.#changes.push(change);
    for (const text of texts) this.#texts.push(text);
  }

  track(pending: Pending): void {
    pending.since = this.#number;
    this.#pending.add(pending);
  }

  /** To be written right after the commit: deletions, which every reader of the table would have to pass over. */
  hurry(pending: Pending): void {
    this.#urgent.push(pending);
  }

  /** At the start: gives every change to `take`, which puts it where calls would. Errors: DATA_CORRUPT. */
  replay(take: (change: Change, text: (length: number) => string) => void): void {
    const start = this.#start;
    if (this.#file === undefined || start === undefined) return;
    this.#replaying = true;
    for (const { text: record, ...placed } of this.#file.read(start)) {
      this.#number = placed.number;
      const end = record.indexOf("\n");
      let at = end + 1;
      const text = (length: number): string => record.slice(at, (at += length));
      try {
        for (const change of JSON.parse(record.slice(0, end)) as Change[]) take(change, text);
      } catch (error) {
        throw new HodeiError("DATA_CORRUPT", `record ${this.#number} of the journal cannot be read`, { cause: error });
      }
      this.#kept(placed);
      this.#number += 1;
    }
    this.#replaying = false;
    if (this.#number < start.next) {
      const message = `the journal ends before record ${this.#number}, and ${start.next - 1} was written: is it an older copy?`;
      throw new HodeiError("DATA_CORRUPT", message);
    }
    // The last record may be one that a killed process has written and not synced: it is about to be shown to readers.
    this.#file.sync();
  }

  /** Makes what was noted durable. When it throws nothing of it is, or all. */
  commit(): void {
    if (!this.changed) return;
    if (!this.#append()) return this.commitAll();
    try {
      this.#file?.sync();
    } catch (error) {
      this.#syncFailed = true;
      this.#distrusted = true;
      throw error;
    }
  }

  /** The same in the background. False: nothing was begun, and `commit` must do it. */
  commitLater(done: (error: Error | null) => void): boolean {
    if (this.#file === undefined || !this.changed || !this.#append()) return false;
    this.#file.syncLater((error) => {
      this.#syncFailed = error !== null;
      done(error);
    });
    return true;
  }

  /** Whether the last record is in the file but perhaps not on disk, which a later sync would not mend. */
  get syncFailed(): boolean {
    return this.#syncFailed;
  }

  /** Whether `settle` has something to do. */
  get behind(): boolean {
    return this.#urgent.length > 0 || this.#bytes > this.#settleBytes;
  }

  /** Brings the tables up to date, with what was noted, and empties the journal. */
  commitAll(): void {
    const pending = this.#pending.all();
    // No record of this group will be read: the next one has a number of its own.
    this.#number += 1;
    this.#transaction(() => {
      // What deletes makes room for what follows.
      for (const removes of [true, false]) {
        for (const each of pending) if (each.live && each.removes === removes) each.write();
      }
      this.#putStart(pending.length);
      // If its end fails. A piece may come twice, this must not be found behind a record that came later.
      this.#distrusted = true;
    });
    this.#changes = [];
    this.#texts = [];
    this.#distrusted = false;
    this.#settled(pending.length);
  }

  /** Some of what the tables are behind. Never while something is noted that is not durable yet. */
  settle(): void {
    const urgent = this.#urgent.filter(({ live }) => live);
    // When they cannot be written they still stand in line.
    this.#urgent = [];
    if (urgent.length > 0) {
      this.#transaction(() => urgent.forEach((each) => each.write()));
      for (const each of urgent) done(each);
    }
    if (this.#bytes > this.#settleBytes) this.#slice();
  }

  /** When nothing is to follow: the tables know everything, and there is no journal any more. */
  end(): void {
    this.commitAll();
    this.#transaction(() => this.#database.run("DELETE FROM journal"));
    this.#file?.remove();
  }

  /**
   * After a commit that failed and may be on disk all the same: a record that was written but not synced, or a
   * transaction whose sync failed, which SQLite has undone in memory alone and would find in its log after a kill, with a
   * `start` behind every record that is appended now. So the next commit goes to the tables, and the journal begins anew.
   */
  distrust(): void {
    this.#distrusted = true;
  }

  /** Not after a write for which there was no room: SQLite has surely undone that. */
  get distrusted(): boolean {
    return this.#distrusted;
  }

  close(): void {
    this.#file?.close();
  }

  /** A write that fails (a full disk) is one for which there is no room. */
  #append(): boolean {
    if (this.#file === undefined || this.#distrusted) return false;
    const record = [JSON.stringify(this.#changes), "\n", ...this.#texts];
    let placed: Placed | undefined;
    try {
      placed = this.#file.append(this.#number, record);
    } catch {
      return false;
    }
    if (placed === undefined) return false;
    this.#kept(placed);
    this.#number += 1;
    this.#changes = [];
    this.#texts = [];
    return true;
  }

  #kept(placed: Placed): void {
    this.#records.add(placed);
    this.#bytes += placed.bytes;
  }

  #slice(): void {
    // Larger ones, before there is no room and all must be written at once.
    const scale = this.#bytes > this.#capacityBytes * 0.75 ? 8 : 1;
    const most = SLICE_ROWS * scale;
    const behind = this.#numberAfter(SLICE_BYTES * scale);
    let looked = 0;
    // Unless this succeeds.
    this.#settleBytes = this.#bytes + this.#capacityBytes * RETRY_SHARE;
    this.#transaction(() => {
      for (let rows = 0; rows < most && looked < this.#pending.size; looked += 1) {
        const pending = this.#pending.at(looked);
        if (pending?.live !== true) continue;
        if (rows > 0 && pending.since >= behind) break;
        pending.write();
        rows += 1;
      }
      this.#putStart(looked);
    });
    this.#settled(looked);
  }

  /** Of the record behind the first `bytes` of those that are needed. */
  #numberAfter(bytes: number): number {
    let left = bytes;
    for (let at = 0; at < this.#records.size; at += 1) {
      const record = this.#records.at(at);
      left -= record?.bytes ?? 0;
      if (record !== undefined && left <= 0) return record.number;
    }
    return this.#number;
  }

  /** The first `count` of what was pending is in the tables. */
  #settled(count: number): void {
    this.#settleBytes = this.#capacityBytes / 2;
    for (let taken = 0; taken < count; taken += 1) {
      const pending = this.#pending.take();
      if (pending?.live === true) done(pending);
    }
    const { offset, number } = this.#startBehind(0);
    while ((this.#records.first?.number ?? number) < number) this.#bytes -= this.#records.take()?.bytes ?? 0;
    this.#file?.free(offset);
  }

  /** Where reading must begin when the first `count` of what is pending is in the tables. */
  #startBehind(count: number): { offset: number; number: number } {
    let needed = this.#number;
    for (let at = count; at < this.#pending.size; at += 1) {
      const pending = this.#pending.at(at);
      if (pending?.live !== true) continue;
      needed = pending.since;
      break;
    }
    for (let at = 0; at < this.#records.size; at += 1) {
      const record = this.#records.at(at);
      if (record !== undefined && record.number >= needed) return record;
    }
    return { offset: this.#file?.head ?? 0, number: this.#number };
  }

  #putStart(behind: number): void {
    if (this.#file === undefined) return;
    const { offset, number } = this.#startBehind(behind);
    this.#database.run(
      "INSERT OR REPLACE INTO journal (only, start, number, next, salt) VALUES (1, ?, ?, ?, ?)",
      offset,
      number,
      this.#number,
      this.#salt,
    );
  }

  #transaction(write: () => void): void {
    try {
      this.#database.begin();
      write();
      this.#database.commit();
    } catch (error) {
      this.#database.rollback();
      throw error;
    }
  }
}

function done(pending: Pending): void {
  pending.live = false;
  pending.written();
}

/** First in, first out; an array whose front moves, because `shift` copies what is left. */
class Line<T> {
  #items: T[] = [];
  #front = 0;

  get size(): number {
    return this.#items.length - this.#front;
  }

  get first(): T | undefined {
    return this.#items[this.#front];
  }

  at(index: number): T | undefined {
    return this.#items[this.#front + index];
  }

  add(item: T): void {
    this.#items.push(item);
  }

  take(): T | undefined {
    const item = this.#items[this.#front];
    if (item === undefined) return undefined;
    this.#front += 1;
    if (this.#front > 1024 && this.#front * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#front);
      this.#front = 0;
    }
    return item;
  }

  all(): T[] {
    return this.#items.slice(this.#front);
  }
}
