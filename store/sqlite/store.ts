import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import { nextTurn } from "../../base/turn.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { createHints } from "../memory/hints.ts";
import { saveCluster, storeOf } from "../memory/model.ts";
import { restore } from "../memory/restore.ts";
import { endSession } from "../memory/sessions.ts";
import { emptyState, type State } from "../memory/state.ts";
import type { Store } from "../store.ts";
import { ColdTables } from "./cold.ts";
import { Database, IN_MEMORY, translated } from "./database.ts";
import { Hot } from "./hot.ts";
import { JOURNAL_FILE } from "./journal-file.ts";
import { WriteAhead } from "./journal.ts";

export type SqliteOptions = {
  /** A folder for this store alone, made if need be; ":memory:" for tests. */
  directory: string;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Bound of the file, in pages of 4 KiB. */
  maxPages?: number;
  /** Bound of the journal; a smaller one costs throughput. */
  journalBytes?: number;
};

/**
 * The model of `memory/`, with every change of a row written through. All calls of one turn of the event loop are
 * committed together (one fdatasync for all), and none is answered before. When a commit fails, all its calls are
 * refused with UNAVAILABLE and the model is loaded again from disk, so that memory never runs ahead of it.
 * Errors: DATA_IN_USE, DATA_CORRUPT, INVALID_ARGUMENT (may not be written), UNAVAILABLE (no room).
 */
export function openSqliteStore(options: SqliteOptions): Store {
  const group = new CommitGroup(options);
  return storeOf({
    state: () => group.state,
    run: (call) => group.run(call),
    early: (call, again) => group.early(call, again),
    durability: options.directory === IN_MEMORY ? "memory" : "disk",
    close: () => group.close(),
  });
}

type Waiting = { resolve: () => void; reject: (error: HodeiError) => void };

type Group = { waiting: Waiting[]; deliver: () => void; early: ((state: State) => void)[]; ended?: () => void };

const FEW = 2;

type Loaded = { state: State; ahead: WriteAhead };

class CommitGroup {
  readonly #options: SqliteOptions;
  readonly #database: Database;
  readonly #hints = createHints();
  /** Undefined after a failure, until the next call. */
  #loaded: Loaded | undefined;
  /** What was answered and is not on disk yet: to be done again if that fails. */
  #early: ((state: State) => void)[] = [];
  /** The calls whose answers wait for the next commit. */
  #waiting: Waiting[] = [];
  #planned = false;
  /** On its way to the disk. */
  #writing: Group | undefined;
  #syncFailed = false;
  /** Whether what failed may be on disk all the same. */
  #distrusted = false;
  #closed = false;

  constructor(options: SqliteOptions) {
    this.#options = options;
    this.#database = new Database(options.directory, options.maxPages);
    try {
      const { state } = (this.#loaded = this.#load());
      // The file was held by another process, if by any: whatever engines it had are gone.
      const nowMs = options.clock.now();
      for (const session of state.sessions.values()) endSession(state, session, nowMs);
      this.#loaded.ahead.commit();
    } catch (error) {
      this.#loaded?.ahead.close();
      this.#database.close();
      throw translated(error, options.directory);
    }
  }

  get state(): State {
    return (this.#loaded ??= this.#reload()).state;
  }

  async run<T>(call: () => T): Promise<T> {
    if (this.#closed) throw new HodeiError("UNAVAILABLE", "the store is closed");
    const answer = this.#attempt(call);
    // Reads wait too when something is not on disk yet: they may have seen it.
    if (this.#dirty) await this.#committed();
    else this.#hints.deliver();
    return answer;
  }

  /** Answered at once, and committed with the group. */
  async early<T>(call: () => T, again: (state: State, answer: T) => void): Promise<T> {
    if (this.#closed) throw new HodeiError("UNAVAILABLE", "the store is closed");
    const answer = this.#attempt(call);
    if (!this.#dirty) return answer;
    this.#early.push((state) => again(state, answer));
    this.#committed().catch((error: unknown) =>
      this.#options.logger.debug({ error }, "what was answered is done again"),
    );
    return answer;
  }

  /** A refusal comes before the first write and concerns its call alone; anything else leaves the model half changed. */
  #attempt<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      if (error instanceof HodeiError) throw error;
      throw this.#fail(error);
    }
  }

  get #dirty(): boolean {
    return this.#writing !== undefined || this.#loaded?.ahead.changed === true || this.#database.inTransaction;
  }

  #committed(): Promise<void> {
    this.#plan();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    nextTurn(() => {
      this.#planned = false;
      // While one group is on its way to the disk the next one gathers.
      if (this.#writing === undefined && this.#waiting.length > 0) this.#flush("soon");
    });
  }

  #flush(when: "now" | "soon"): void {
    const group = { waiting: this.#waiting, deliver: this.#hints.take(), early: this.#early };
    this.#waiting = [];
    this.#early = [];
    const ahead = this.#loaded?.ahead;
    try {
      if (this.#database.inTransaction) this.#database.commit();
      // For one or two calls the way to another thread and back costs more than waiting; tables are written only
      // when nothing is under way.
      const later = when === "soon" && group.waiting.length > FEW && ahead?.behind === false;
      if (later && ahead.commitLater((error) => this.#written(group, error))) {
        this.#writing = group;
        return;
      }
      ahead?.commit();
    } catch (error) {
      this.#syncFailed ||= ahead?.syncFailed === true;
      this.#fail(error, group);
      return;
    }
    answer(group);
    this.#settle();
  }

  #written(group: Group, error: Error | null): void {
    this.#writing = undefined;
    if (error === null) answer(group);
    else {
      this.#syncFailed = true;
      this.#fail(error, group);
    }
    group.ended?.();
    if (this.#waiting.length > 0) this.#plan();
  }

  /** Everything is durable here. What cannot be written now waits in the journal, until there is no room in it either. */
  #settle(): void {
    try {
      this.#loaded?.ahead.settle();
    } catch (error) {
      this.#options.logger.warn(
        { error },
        "the tables could not be brought up to date; the journal keeps what they miss",
      );
    }
  }

  /** For what does not wait in the journal. */
  readonly #write: Database["run"] = (sql, ...values) => {
    if (!this.#database.inTransaction) this.#database.begin();
    this.#database.run(sql, ...values);
  };

  /** Nothing of this group has happened, nor of the one behind it. Answers the error that their calls are refused with. */
  #fail(cause: unknown, group?: Group): HodeiError {
    const message = cause instanceof Error ? cause.message : String(cause);
    const refused = new HodeiError("UNAVAILABLE", `the store could not write: ${message}`, { cause });
    const waiting = [...(group?.waiting ?? []), ...this.#waiting];
    this.#waiting = [];
    this.#early = [...(group?.early ?? []), ...this.#early];
    this.#options.logger.error({ error: cause, calls: waiting.length }, "a commit failed");
    this.#distrusted ||= this.#loaded?.ahead.distrusted === true;
    this.#loaded?.ahead.close();
    this.#loaded = undefined;
    this.#hints.forget();
    for (const { reject } of waiting) reject(refused);
    return refused;
  }

  /**
   * After a failure, at the next call. A new replication id tells every engine to drop what it remembers; it is not
   * stored, so that reads go on while the disk is full.
   */
  #reload(): Loaded {
    let loaded: Loaded | undefined;
    try {
      this.#database.rollback();
      loaded = this.#load();
      const { state, ahead } = loaded;
      if (this.#distrusted) ahead.distrust();
      // Else what a reader is shown now could be gone after a power failure.
      if (this.#syncFailed) ahead.commitAll();
      this.#syncFailed = false;
      this.#distrusted = false;
      const { replicationId } = state.cluster;
      state.cluster = { ...state.cluster, replicationId: `${replicationId}-${this.#options.random.hex(4)}` };
      for (const again of this.#early) again(state);
      this.#options.logger.info({ sessions: state.sessions.size, jobs: state.jobs.size }, "the store is loaded again");
      return loaded;
    } catch (error) {
      loaded?.ahead.close();
      throw new HodeiError("UNAVAILABLE", "the store cannot be read", { cause: error });
    }
  }

  #load(): Loaded {
    const { clock, random, directory, journalBytes: bytes } = this.#options;
    const database = this.#database;
    const path = directory === IN_MEMORY ? undefined : join(directory, JOURNAL_FILE);
    const ahead = new WriteAhead(database, { path, random, bytes });
    try {
      const cold = new ColdTables(database, ahead, this.#write);
      const hot = new Hot(database, ahead);
      ahead.replay((change, text) => {
        if (!cold.replay(change, text)) hot.replay(change, text);
      });
      const state = emptyState({ clock, random, cold: cold.cold(), journal: hot, hints: this.#hints });
      restore(state, hot.stored(), cold.lastSerial);
      if (state.cluster.replicationId === "") saveCluster(state, { replicationId: random.hex(8) });
      return { state, ahead };
    } catch (error) {
      ahead.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const writing = this.#writing;
    if (writing !== undefined) await new Promise<void>((resolve) => (writing.ended = resolve));
    this.#flush("now");
    try {
      this.#loaded?.ahead.end();
    } catch (error) {
      this.#options.logger.warn({ error }, "the journal stays; the next start reads it");
    }
    this.#loaded?.ahead.close();
    this.#database.close();
  }
}

function answer({ waiting, deliver }: Group): void {
  for (const { resolve } of waiting) resolve();
  deliver();
}
