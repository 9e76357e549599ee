import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { afterPromises } from "../base/turn.ts";
import type { Assignment, InboxEntry, OutboxEntry, Store, WorkerSlot } from "../store/store.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { Job, JobFacts, Outcome } from "../workflow/job.ts";
import type { Mismatch, Requirement } from "../workflow/requirement.ts";
import { shardOf } from "../workflow/shard.ts";
import type { Actor } from "./actor.ts";
import { dropState } from "./actor.ts";
import { Committer } from "./commit.ts";
import { Definitions } from "./definitions.ts";
import { InboxEntries } from "./entries.ts";
import type { Emit } from "./events.ts";
import { Folder } from "./folding.ts";
import { executionKey } from "./keys.ts";
import type { Committed, Envelope, Result } from "./mailbox.ts";
import { Mailbox, MAILBOX_BOUND } from "./mailbox.ts";
import type { Metrics } from "./metrics.ts";
import type { Ownership } from "./ownership.ts";
import { Quarantine } from "./quarantine.ts";
import type { StoreTime } from "./store-time.ts";

/** What a commit brought about, for those who act on it: timers, outbox, workers. */
export type ExecutorHooks = {
  timers(of: Actor, set: ReadonlyMap<string, number>, gone: Iterable<string>): void;
  outbox(of: Actor, entries: readonly OutboxEntry[]): void;
  /** The workers that ask for work in this very commit; `freed` hold the jobs that it settles. */
  offer(settled: readonly { jobId: string }[]): WorkerSlot[];
  /** The answer to an offer, also when there is none. Called once per `offer`. */
  assigned(slots: readonly WorkerSlot[], assignments: readonly Assignment[]): void;
  cancelled(jobIds: Iterable<string>): void;
  /** Jobs were queued that none of the workers asked took. */
  unmatched(): void;
  /** What keeps the fleet from making a worker for this; empty: nothing; undefined: there is no fleet. */
  templateMismatches(requirement: Requirement): Mismatch[] | undefined;
  /** Counts of open executions: +1 created, -1 ended. */
  opened(shard: number, by: 1 | -1): void;
};

export type ExecutorOptions = {
  store: Store;
  ownership: Ownership;
  clock: Clock;
  random: Random;
  logger: Logger;
  emit: Emit;
  metrics: Metrics;
  time: StoreTime;
  shards: number;
  hooks: ExecutorHooks;
  /** Executions kept in memory between their turns; default 2,000. */
  cached?: number;
};

/** Messages that ride in one commit. */
const TURN_MESSAGES = 64;
/** Turns of different executions in flight at once; the rest wait in order. */
const TURNS_AT_ONCE = 256;
const CACHED = 2_000;

/**
 * Runs executions: a mailbox each, one turn at a time each, up to 64 waiting messages in one turn. Whoever calls is
 * answered after the commit. `folding.ts` makes the turn in memory, `commit.ts` takes it through the store.
 */
export class Executor {
  readonly definitions = new Definitions();
  readonly #options: ExecutorOptions;
  /** In the order of being loaded, or passed over when another one was evicted. */
  readonly #actors = new Map<string, Actor>();
  readonly #waiting: Actor[] = [];
  readonly #quarantine: Quarantine;
  readonly #folder: Folder;
  readonly #committer: Committer;
  readonly #entries = new InboxEntries();
  readonly #idleWaiters = new Set<() => void>();
  #running = 0;
  #planned = false;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#quarantine = new Quarantine(options);
    this.#folder = new Folder(options, this.#quarantine, this.definitions);
    const put = (actor: Actor, envelope: Envelope): void => this.#put(actor, envelope);
    this.#committer = new Committer(options, { quarantine: this.#quarantine, entries: this.#entries, put });
  }

  /** Sends one message and waits for the commit that folds it. Throws NOT_OWNER, RESOURCE_EXHAUSTED or the refusal. */
  async ask(of: { namespace: string; id: string }, what: Pick<Envelope, "message" | "opening">): Promise<Committed> {
    const shard = shardOf(of.namespace, of.id, this.#options.shards);
    if (!this.#options.ownership.fence(shard)) throw await this.#options.ownership.notOwner(shard);
    const actor = this.#actor(of.namespace, of.id, shard);
    if (actor.mailbox.size >= MAILBOX_BOUND) {
      throw new HodeiError("RESOURCE_EXHAUSTED", `${MAILBOX_BOUND} messages wait for execution ${of.id}`);
    }
    const result = await new Promise<Result>((done) => this.#put(actor, { ...what, done }));
    if (result.status === "committed") return result;
    if (result.status !== "failed") throw new HodeiError("INTERNAL", `a caller was answered "${result.status}"`);
    // Found out while the message waited: the caller gets the hint that only the store has.
    throw result.error.code === "NOT_OWNER" ? await this.#options.ownership.notOwner(shard) : result.error;
  }

  /** An outcome that a worker of this engine brought, folded and settled in one commit. */
  settle(job: Pick<Job, "namespace" | "executionId" | "shard">, outcome: SettledOutcome): Promise<Result> {
    const { jobId, token, uid, ...rest } = outcome;
    return new Promise((done) => {
      if (!this.#options.ownership.fence(job.shard)) return done({ status: "report" });
      const actor = this.#actor(job.namespace, job.executionId, job.shard);
      this.#put(actor, { message: { kind: "outcome", ...rest }, uid, settle: { jobId, token }, done });
    });
  }

  /** An entry of the inbox; false when it is on its way already. */
  outcome(entry: InboxEntry, done: Envelope["done"]): boolean {
    const envelope = this.#entries.admit(entry, done);
    if (envelope) this.#put(this.#actor(entry.job.namespace, entry.job.executionId, entry.shard), envelope);
    return envelope !== undefined;
  }

  /** Inbox entries that wait in mailboxes. */
  get entriesWaiting(): number {
    return this.#entries.waiting;
  }

  /** Bookkeeping and timers; also refusals of children, which come with their outbox entry. */
  post(of: { namespace: string; id: string; shard: number }, envelope: Envelope): void {
    this.#put(this.#actor(of.namespace, of.id, of.shard), envelope);
  }

  /** Forgets what was loaded of the shard and answers everyone who waits: another engine is the owner now. */
  dropShard(shard: number): void {
    for (const actor of this.#actors.values()) {
      if (actor.shard !== shard) continue;
      // A turn in flight ends by itself: its answer says whether it still counted.
      if (!actor.busy) dropState(actor);
      this.#turnAway(actor);
      if (!actor.busy) this.#actors.delete(actor.key);
    }
    this.#quarantine.dropShard(shard);
    this.#entries.forgetTaken();
  }

  /** Resolves when no turn of these shards is in flight. The shards must not be writable any more (`fence` undefined). */
  async quiesce(shards: readonly number[]): Promise<void> {
    const leaving = new Set(shards);
    const busy = (): boolean => [...this.#actors.values()].some((actor) => actor.busy && leaving.has(actor.shard));
    while (busy()) await new Promise<void>((resolve) => this.#idleWaiters.add(resolve));
  }

  #actor(namespace: string, id: string, shard: number): Actor {
    const key = executionKey(namespace, id);
    const found = this.#actors.get(key);
    if (found) return found;
    const blank = {
      state: undefined,
      busy: false,
      conflicts: 0,
      exists: false,
      carried: undefined,
      alone: 0,
      used: false,
    };
    const made = { key, namespace, id, shard, mailbox: new Mailbox(), ...blank };
    this.#actors.set(key, made);
    return made;
  }

  #put(actor: Actor, envelope: Envelope): void {
    // It may have been evicted, and made anew, while the sender held on to it: there is one actor per execution.
    const current = this.#actors.get(actor.key) ?? actor;
    this.#actors.set(current.key, current);
    current.mailbox.push(envelope);
    this.#schedule(current);
  }

  /** Not at once: what came in one batch for one execution, say 64 outcomes of a `forEach`, rides in one turn. */
  #schedule(actor: Actor): void {
    if (actor.busy) return;
    actor.busy = true;
    this.#waiting.push(actor);
    if (this.#planned) return;
    this.#planned = true;
    afterPromises(() => {
      this.#planned = false;
      this.#begin();
    });
  }

  #begin(): void {
    while (this.#running < TURNS_AT_ONCE) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#running += 1;
      void this.#run(next);
    }
  }

  async #run(actor: Actor): Promise<void> {
    try {
      while (actor.mailbox.size > 0 || actor.carried) await this.#turn(actor);
    } catch (error) {
      // Whatever was thrown here is about this execution alone; the engine goes on.
      dropState(actor);
      const refused = this.#quarantine.add(actor, error);
      for (const envelope of actor.mailbox.take(Infinity)) envelope.done({ status: "failed", error: refused });
    } finally {
      actor.busy = false;
      this.#running -= 1;
      this.#rest(actor);
      for (const wake of this.#idleWaiters) wake();
      this.#idleWaiters.clear();
      if (!this.#planned) this.#begin();
    }
  }

  async #turn(actor: Actor): Promise<void> {
    const fence = this.#options.ownership.fence(actor.shard);
    if (!fence) {
      dropState(actor);
      return this.#turnAway(actor);
    }
    const quarantined = this.#quarantine.get(actor.key);
    if (quarantined) {
      dropState(actor);
      const envelopes = actor.mailbox.take(Infinity);
      for (const envelope of envelopes) envelope.done({ status: "failed", error: quarantined });
      return;
    }
    const batch = actor.mailbox.take(actor.alone > 0 ? 1 : TURN_MESSAGES);
    actor.alone = Math.max(actor.alone - 1, 0);
    const riding = actor.carried ? [actor.carried.envelope, ...batch] : batch;
    try {
      const turn = await this.#folder.fold(actor, fence, batch);
      if (turn) await this.#committer.commit(actor, fence, turn);
    } catch (error) {
      // Nobody may be left waiting: `run` answers what is in the mailbox.
      actor.mailbox.putBack(riding);
      throw error;
    }
  }

  #turnAway(actor: Actor): void {
    const error = new HodeiError("NOT_OWNER", `shard ${actor.shard} is not owned here`);
    for (const envelope of actor.mailbox.take(Infinity)) {
      envelope.done(envelope.settle ? { status: "report" } : { status: "failed", error });
    }
  }

  /** After its last turn: an ended execution is forgotten, the others are kept, up to a bound. */
  #rest(actor: Actor): void {
    if (this.#actors.get(actor.key) !== actor || actor.mailbox.size > 0) return;
    if (actor.state?.execution.state !== "running") {
      this.#actors.delete(actor.key);
      return;
    }
    actor.used = true;
    if (this.#actors.size > (this.#options.cached ?? CACHED)) this.#evict();
  }

  /** The first idle one that had no turn since it was last passed over: moving each to the end at each turn cost more. */
  #evict(): void {
    for (const [key, candidate] of this.#actors) {
      if (candidate.busy || candidate.mailbox.size > 0) continue;
      this.#actors.delete(key);
      if (!candidate.used) return;
      candidate.used = false;
      this.#actors.set(key, candidate);
    }
  }
}

export type SettledOutcome = {
  jobId: string;
  token: string;
  uid: string;
  step: string;
  iteration: string;
  attempt: number;
  outcome: Outcome;
  facts: JobFacts;
};
