import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { EngineInfo, Fence, LoadedExecution, Renewal, Store } from "../store/store.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import type { Emit } from "./events.ts";
import type { Metrics } from "./metrics.ts";
import { untilAnswered } from "./retry.ts";
import type { StoreTime } from "./store-time.ts";

/**
 * Which shards this engine may write, and for how long. One session is the lease; each shard held under it carries a
 * fence (epoch and nonce). Three numbers, in this order: renew 3 s < demote ourselves 7 s after the last successful
 * renewal was *sent* < the store gives the shards away 10 s after it took it. The gap of 3 s covers a slow answer, so
 * that we have stopped before anyone else may begin even when clocks tick apart by a few percent.
 */
const LEASE = { ttlMs: 10_000, renewMs: 3_000, demoteMs: 7_000 } as const;
/** A desired shard that another engine still holds is asked for again after this. */
const REACQUIRE_MS = 250;
const LOAD_PAGE = 500;
const LOADS_AT_ONCE = 16;

export type OwnershipHooks = {
  /** A shard is ours and about to be served: everything its new owner must know, page by page. */
  loaded(shard: number, executions: LoadedExecution[]): void;
  /** After its pages, in the very moment from which messages may come. */
  ready(shard: number): void;
  /** Not ours any more, whatever was in flight: forget it. */
  dropped(shard: number): void;
  /** Resolves when no turn of these shards is in flight; nothing new is begun meanwhile. */
  quiesce(shards: number[]): Promise<void>;
  /** A new session: what workers run must be adopted to it. */
  session(session: string): Promise<void>;
  renewed(renewal: Renewal): void;
  /** Of all workers connected now. */
  signatures(): string[];
};

export type OwnershipOptions = {
  store: Store;
  engine: () => EngineInfo;
  shards: number;
  clock: Clock;
  random: Random;
  logger: Logger;
  emit: Emit;
  metrics: Metrics;
  time: StoreTime;
};

type Held = { fence: Fence; state: "loading" | "ready" | "leaving" };

export class Ownership {
  readonly #options: OwnershipOptions;
  readonly #held = new Map<number, Held>();
  #hooks: OwnershipHooks | undefined;
  #desired = new Set<number>();
  #generation = -1;
  #session: string | undefined;
  #replicationId: string | undefined;
  #stopping: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #reconciling: Promise<void> = Promise.resolve();
  #demotion: { cancel(): void } | undefined;
  #reacquire: { cancel(): void } | undefined;
  #renewNow: (() => void) | undefined;
  #owners = new Map<number, string>();
  #ownersReadAtMs = -Infinity;

  constructor(options: OwnershipOptions) {
    this.#options = options;
  }

  get session(): string | undefined {
    return this.#session;
  }

  owned(): number[] {
    return [...this.#held].filter(([, held]) => held.state === "ready").map(([shard]) => shard);
  }

  /** The fence to write with; undefined when the shard is not ours or not loaded yet. */
  fence(shard: number): Fence | undefined {
    const held = this.#held.get(shard);
    return held?.state === "ready" ? held.fence : undefined;
  }

  /** Whether this very grant still holds (a shard may have gone and come back in between). */
  holds(fence: Fence): boolean {
    return this.#held.get(fence.shard)?.fence.nonce === fence.nonce;
  }

  async start(hooks: OwnershipHooks): Promise<void> {
    this.#hooks = hooks;
    this.#stopping = new AbortController();
    const cluster = await this.#options.store.open({ shards: this.#options.shards });
    this.#replicationId = cluster.replicationId;
    this.#options.time.observe(cluster.nowMs);
    await this.#openSession();
    this.#loop = this.#work(this.#stopping.signal);
  }

  /**
   * Gives everything back: no new turn, what is in flight ends, shards are released, the session ends. Safe to call twice.
   */
  async stop(): Promise<void> {
    if (!this.#stopping || this.#stopping.signal.aborted) return;
    this.#desired = new Set();
    const session = this.#session;
    try {
      await this.#reconcile();
    } finally {
      this.#stopping.abort(new HodeiError("UNAVAILABLE", "the engine stops"));
      this.#demotion?.cancel();
      this.#reacquire?.cancel();
      await this.#loop;
      this.#dropAll();
      this.#session = undefined;
      if (session) await this.#options.store.endSession({ session }).catch((error: unknown) => this.#late(error));
    }
  }

  /** The store does not answer a stop: what is in flight is given up, and the lease runs out by itself. */
  abandon(): void {
    this.#session = undefined;
    this.#dropAll();
  }

  #late(error: unknown): void {
    // The lease runs out by itself: a store that is away at the end only delays the next owner.
    this.#options.logger.warn({ error }, "the session could not be ended and will expire");
  }

  /** What this engine should own from now on. An older generation than the last one changes nothing. */
  async assign(generation: number, shards: readonly number[]): Promise<number[]> {
    const wrong = shards.find((shard) => !Number.isInteger(shard) || shard < 0 || shard >= this.#options.shards);
    if (wrong !== undefined) throw new HodeiError("INVALID_ARGUMENT", `no shard ${wrong}`, { field: "shards" });
    if (generation >= this.#generation && !this.#stopping?.signal.aborted) {
      this.#generation = generation;
      this.#desired = new Set(shards);
      await this.#reconcile();
    }
    return this.owned();
  }

  /** FENCED was answered under this grant: it is over at once, and the session may be too. */
  fenced(fence: Fence): void {
    if (!this.holds(fence)) return;
    this.#options.emit("ShardFenced", `shard ${fence.shard} was taken by another owner`, {
      facts: { shard: String(fence.shard), epoch: String(fence.epoch) },
    });
    this.#drop(fence.shard);
    this.#renewNow?.();
  }

  /** The session was answered FENCED elsewhere (a claim, a report): find out now rather than at the next renewal. */
  suspect(): void {
    this.#renewNow?.();
  }

  /** NOT_OWNER with the owner's address as hint, from a reading at most a second old. */
  async notOwner(shard: number): Promise<HodeiError> {
    const { store, clock } = this.#options;
    if (clock.monotonic() - this.#ownersReadAtMs > 1_000) {
      this.#ownersReadAtMs = clock.monotonic();
      try {
        const [shards, sessions] = await Promise.all([store.shards(), store.sessions()]);
        const addresses = new Map(sessions.map((record) => [record.session, record.engine.address]));
        this.#owners = new Map(shards.map((record) => [record.shard, addresses.get(record.session ?? "") ?? ""]));
      } catch (error) {
        if (!isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) throw error;
        this.#options.logger.debug({ error }, "no owner hint: the store did not answer");
      }
    }
    const owner = this.#owners.get(shard);
    const own = this.#options.engine().address;
    const facts: Record<string, string> = owner && owner !== own ? { owner } : {};
    return new HodeiError("NOT_OWNER", `shard ${shard} is not owned by engine ${this.#options.engine().name}`, {
      facts,
    });
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#pause(LEASE.renewMs, signal);
      if (signal.aborted) return;
      try {
        await this.#renew();
        if (this.#missing().length > 0) this.#reconcileSoon();
      } catch (error) {
        // The lease decides what a store that is away means; the loop only has to go on.
        this.#options.logger.warn({ error }, "the session was not renewed");
        this.#options.metrics.count("hodei_engine_renewals_total", { status: "failed" });
      }
    }
  }

  /** Sleeps until the next renewal is due, someone asks for one now, or the engine stops. */
  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(delayMs, resolve);
      const wake = (): void => {
        timer.cancel();
        resolve();
      };
      this.#renewNow = wake;
      signal.addEventListener("abort", wake, { once: true });
    });
    this.#renewNow = undefined;
  }

  async #renew(): Promise<void> {
    const { store, clock, time, metrics } = this.#options;
    const session = this.#session;
    if (!session) return await this.#openSession();
    const sentAtMs = clock.monotonic();
    const renewal = await store.renewSession({ session, signatures: this.#hooks?.signatures() ?? [] });
    if (this.#session !== session) return;
    metrics.count("hodei_engine_renewals_total", { status: renewal.status });
    if (renewal.status === "FENCED") return await this.#replaceSession("its lease has ended");
    time.observe(renewal.nowMs);
    if (renewal.replicationId !== this.#replicationId) {
      this.#replicationId = renewal.replicationId;
      this.#options.emit("StoreReplaced", "the store may have lost its tail: all ownership is dropped and reloaded");
      return await this.#replaceSession("the store was replaced");
    }
    this.#demoteAt(sentAtMs + LEASE.demoteMs);
    this.#hooks?.renewed(renewal);
  }

  #demoteAt(atMs: number): void {
    this.#demotion?.cancel();
    this.#demotion = this.#options.clock.after(atMs - this.#options.clock.monotonic(), () => {
      this.#options.emit("SessionLost", "no renewal for 7 s: this engine stops to act as an owner");
      // A later renewal might still find the lease alive; a new session is taken all the same, since it alone proves
      // that nobody acted in between.
      this.#session = undefined;
      this.#dropAll();
    });
  }

  async #replaceSession(why: string): Promise<void> {
    this.#options.emit("SessionLost", `the session is over: ${why}`);
    this.#session = undefined;
    this.#demotion?.cancel();
    this.#dropAll();
    await this.#openSession();
  }

  async #openSession(): Promise<void> {
    const { store, clock, random, time, emit } = this.#options;
    const opId = random.id();
    const signal = this.#stopping?.signal;
    let sentAtMs = clock.monotonic();
    const scope = { clock, random, goOn: () => signal?.aborted !== true, ...(signal ? { signal } : {}) };
    const opened = await untilAnswered(scope, () => {
      sentAtMs = clock.monotonic();
      return store.openSession({ opId, engine: this.#options.engine(), ttlMs: LEASE.ttlMs });
    });
    time.observe(opened.nowMs);
    this.#session = opened.session;
    this.#demoteAt(sentAtMs + LEASE.demoteMs);
    emit("SessionOpened", "a session was opened", { facts: { session: opened.session } });
    await this.#hooks?.session(opened.session);
    this.#reconcileSoon();
  }

  #missing(): number[] {
    return [...this.#desired].filter((shard) => !this.#held.has(shard));
  }

  /** One reconciliation at a time; a call made during one runs after it, with the wishes of then. */
  #reconcile(): Promise<void> {
    const next = this.#reconciling.then(() => this.#reconcileOnce());
    this.#reconciling = next.catch((error: unknown) => this.#notReconciled(error));
    return next.catch((error: unknown) => {
      if (!isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) throw error;
    });
  }

  /** For those who do not wait for it; what goes wrong is logged with it. */
  #reconcileSoon(): void {
    this.#reconciling = this.#reconciling
      .then(() => this.#reconcileOnce())
      .catch((error: unknown) => this.#notReconciled(error));
  }

  #notReconciled(error: unknown): void {
    this.#options.logger.warn({ error }, "shards were not reconciled; the next renewal tries again");
  }

  async #reconcileOnce(): Promise<void> {
    if (!this.#stopping || this.#stopping.signal.aborted) return;
    await this.#release([...this.#held.keys()].filter((shard) => !this.#desired.has(shard)));
    const missing = this.#missing();
    if (missing.length === 0 || !this.#session) return;
    await this.#acquire(this.#session, missing);
    // Held by an engine that is about to release or to expire: ask again soon, without keeping the caller.
    this.#reacquire?.cancel();
    if (this.#missing().length > 0 && !this.#stopping.signal.aborted) {
      this.#reacquire = this.#options.clock.after(REACQUIRE_MS, () => this.#reconcileSoon());
    }
  }

  async #release(shards: number[]): Promise<void> {
    if (shards.length === 0) return;
    const leaving = shards.flatMap((shard) => this.#held.get(shard) ?? []);
    for (const held of leaving) held.state = "leaving";
    await this.#hooks?.quiesce(shards);
    const fences = leaving.map((held) => held.fence).filter((fence) => this.holds(fence));
    for (const fence of fences) this.#drop(fence.shard);
    await this.#giveBack(fences);
    this.#options.emit("ShardsReleased", `${fences.length} shards released`, { facts: { count: `${fences.length}` } });
  }

  /** Repeated until answered: a shard dropped here but held in the store would be nobody's until the session ends. */
  async #giveBack(fences: Fence[]): Promise<void> {
    const { store, clock, random } = this.#options;
    const session = this.#session;
    const scope = { clock, random, goOn: () => this.#session === session && session !== undefined };
    await untilAnswered(scope, () => store.releaseShards({ fences }));
  }

  async #acquire(session: string, shards: number[]): Promise<void> {
    const { store, clock, random, emit } = this.#options;
    const opId = random.id();
    const scope = { clock, random, goOn: () => this.#session === session };
    const answer = await untilAnswered(scope, () => store.acquireShards({ opId, session, shards }));
    if (!("acquired" in answer)) return this.suspect();
    // The session may have been replaced while we asked: these grants died with it.
    if (this.#session !== session) return;
    for (const fence of answer.acquired) this.#held.set(fence.shard, { fence, state: "loading" });
    const queue = [...answer.acquired];
    let ready = 0;
    const loader = async (): Promise<void> => {
      for (let fence = queue.pop(); fence; fence = queue.pop()) if (await this.#tryLoad(fence)) ready += 1;
    };
    await Promise.all(Array.from({ length: LOADS_AT_ONCE }, loader));
    if (ready === 0) return;
    this.#options.metrics.gauge("hodei_engine_shards", this.#held.size);
    emit("ShardsAcquired", `${ready} shards acquired`, { facts: { count: String(ready) } });
  }

  /** A shard that cannot be loaded is given back and must not keep the others from being served. */
  async #tryLoad(fence: Fence): Promise<boolean> {
    try {
      return await this.#load(fence);
    } catch (error) {
      this.#options.logger.error({ error, shard: fence.shard }, "the shard could not be loaded");
      if (!this.holds(fence)) return false;
      this.#drop(fence.shard);
      await this.#giveBack([fence]);
      return false;
    }
  }

  async #load(fence: Fence): Promise<boolean> {
    const { store, clock, random, time } = this.#options;
    const scope = { clock, random, goOn: () => this.holds(fence) };
    let cursor: string | undefined;
    do {
      const request = { fence, limit: LOAD_PAGE, ...(cursor === undefined ? {} : { cursor }) };
      const page = await untilAnswered(scope, () => store.loadShard(request));
      if (page.status === "FENCED") this.fenced(fence);
      const held = this.#held.get(fence.shard);
      if (page.status === "FENCED" || held?.fence !== fence) return false;
      time.observe(page.nowMs);
      this.#hooks?.loaded(fence.shard, page.executions);
      cursor = page.cursor;
      if (cursor === undefined) held.state = "ready";
    } while (cursor !== undefined);
    // At once, not when all shards are loaded: a turn made in between would have its timers and messages overtaken by
    // those that were read before it (a cancel would reach a child before its start).
    this.#hooks?.ready(fence.shard);
    return true;
  }

  #drop(shard: number): void {
    if (this.#held.delete(shard)) this.#hooks?.dropped(shard);
    this.#options.metrics.gauge("hodei_engine_shards", this.#held.size);
  }

  #dropAll(): void {
    for (const shard of this.#held.keys()) this.#drop(shard);
  }
}
