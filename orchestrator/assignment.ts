import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Service } from "../base/service.ts";
import type { SessionRecord, ShardRecord, Store } from "../store/store.ts";
import type { EventHub } from "./events.ts";
import type { EngineLink, EngineLinks } from "./links.ts";
import { Pulse } from "./pulse.ts";
import { assignShards, type LoadBalancer } from "./ring.ts";

/** The lease of the leader: renewed every third of it, so two renewals may fail before another takes over. */
export const LEADER_LEASE_MS = 6_000;
const LEASE_NAME = "orchestrator-leader";
/** How often a settled assignment is compared with the store, in case an engine or a hint was missed. */
const SWEEP_MS = 5_000;
const ASSIGN_DEADLINE_MS = 3_000;
/** An engine that just appeared gets this long to answer before shards are spread without it. */
const SETTLE_MS = 1_000;
/** An engine that answers and has no lease for so long cannot get one: it does not reach the store. */
const LEASELESS_MS = 10_000;
/** An unknown process at a refused address counts as dead after this: its session may be opened before it listens. */
const REFUSED_MS = 1_000;
const RETRY = { initialMs: 25, maxMs: 500 };

/**
 * The desired half of ownership: the leader orchestrator computes shard → engine and tells each engine its part. What
 * is effective stands in the store, set by the engines themselves, so a wrong or late wish can never lose a shard.
 *
 * The generation is the store's clock at the leader's lease: it rises across leaders whatever their own clocks say, and
 * what a deposed leader still sends is older than anything the new one sends.
 */
export class Assignment implements Service {
  readonly #options: AssignmentOptions;
  readonly #pulse: Pulse;
  readonly #stop = new AbortController();
  readonly #settled = new Set<() => void>();
  #done: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;
  #leader = false;
  #generation = 0;
  /** Sessions at refused addresses, whose process was never seen: since when (monotonic ms). */
  #suspects = new Map<string, number>();
  /** What each engine confirmed last, as `wishOf`; forgotten with the leadership. */
  readonly #confirmed = new Map<string, string>();
  #ring: { key: string; wish: string[] } = { key: "", wish: [] };
  #lonely: "leaving" | "none" | undefined;
  /** Whether something woke the loop since the last round. */
  #changed = true;

  constructor(options: AssignmentOptions) {
    this.#options = options;
    this.#pulse = new Pulse(options.clock);
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#options.links.onChange(() => this.#pulse.wake());
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#stop.abort(new Error("the orchestrator stops"));
    await this.#done;
  }

  get leads(): boolean {
    return this.#leader;
  }

  /** Look again now: something changed that the links do not tell. */
  wake(): void {
    this.#pulse.wake();
  }

  /** Resolves when a round of this leader found every engine owning what it should. Rejects when the signal aborts. */
  settled(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#settled.delete(settle);
        signal.removeEventListener("abort", abort);
        resolve();
      };
      const abort = (): void => {
        this.#settled.delete(settle);
        reject(signal.reason as Error);
      };
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      this.#settled.add(settle);
      this.#pulse.wake();
    });
  }

  async #run(): Promise<void> {
    const { clock, random, logger } = this.#options;
    let unsettled = 0;
    let sweptMs = -Infinity;
    while (!this.#stop.signal.aborted) {
      let pauseMs = LEADER_LEASE_MS / 3;
      try {
        const nowMs = await this.#lead();
        const due = unsettled > 0 || clock.monotonic() - sweptMs >= SWEEP_MS;
        if (this.#leader && (due || this.#changed)) {
          this.#changed = false;
          sweptMs = clock.monotonic();
          unsettled = (await this.#round(nowMs)) ? 0 : unsettled + 1;
        }
        if (unsettled > 0) pauseMs = fullJitterMs(unsettled - 1, random.float(), RETRY);
      } catch (error) {
        logger.warn({ error }, "the assignment of shards could not be looked after; it is tried again");
        pauseMs = fullJitterMs(unsettled++, random.float(), RETRY);
      }
      if (await this.#pulse.wait(pauseMs, this.#stop.signal)) this.#changed = true;
    }
    await this.#abdicate();
  }

  /** Takes or renews the lease; answers the store's time. */
  async #lead(): Promise<number> {
    const { store, holder, hub, logger } = this.#options;
    const answer = await store.lease({ name: LEASE_NAME, holder, ttlMs: LEADER_LEASE_MS });
    const leads = answer.holder === holder;
    if (leads && !this.#leader) {
      hub.emit("LeaderElected", `${holder} assigns the shards now`, { facts: { orchestrator: holder } });
      logger.info({ leaseMs: LEADER_LEASE_MS }, "this orchestrator leads now");
      this.#changed = true;
    }
    if (!leads && this.#leader) logger.warn({ leader: answer.holder }, "another orchestrator leads now");
    if (!leads) this.#confirmed.clear();
    this.#leader = leads;
    return answer.nowMs;
  }

  async #abdicate(): Promise<void> {
    const { store, holder, logger } = this.#options;
    if (!this.#leader) return;
    this.#leader = false;
    try {
      await store.lease({ name: LEASE_NAME, holder, ttlMs: LEADER_LEASE_MS, release: true });
    } catch (error) {
      logger.warn({ error }, "the leader's lease could not be given back; it expires by itself");
    }
  }

  /** Compares what is with what should be and tells the engines. True when nothing is left to do. */
  async #round(nowMs: number): Promise<boolean> {
    const { links, store } = this.#options;
    if (this.#starting()) return false;
    await Promise.all(
      links
        .all()
        .filter((link) => link.state !== "refused")
        .map((link) => links.probe(link)),
    );
    const sessions = await store.sessions();
    const suspects = await this.#bury(sessions);
    const eligible = this.#eligible(sessions, nowMs);
    if (eligible.length === 0) return this.#alone() && !suspects;
    const records = await store.shards();
    this.#lonely = undefined;
    const wish = this.#wishFor(eligible.map((link) => link.name));
    const settled = await this.#publish(wish, records, eligible, nowMs);
    if (settled) for (const settle of this.#settled) settle();
    return settled && !suspects;
  }

  /**
   * Ready engines, and silent ones whose lease still lives: taking shards from an engine that may be behind a short
   * network break would only move them twice, and nobody could take them before the lease ends anyway. One that answers
   * and has lost its lease is parted from the store: nobody would own what it is given.
   */
  #eligible(sessions: readonly SessionRecord[], nowMs: number): EngineLink[] {
    const { links, clock } = this.#options;
    const leased = new Set(sessions.flatMap(({ engine, expiresAtMs }) => (expiresAtMs > nowMs ? engine.name : [])));
    const sinceMs = clock.monotonic() - LEASELESS_MS;
    const members = links.all().filter((link) => link.member);
    const able = members.filter(
      ({ name, state, stateSinceMs }) =>
        (leased.has(name) && (state === "ready" || state === "unreachable")) ||
        (state === "ready" && stateSinceMs > sinceMs),
    );
    // All leases gone at once is the store's doing, not the engines': they are about to open new ones.
    return able.length > 0 ? able : members.filter(({ state }) => state === "ready");
  }

  /** While an engine that has just appeared has not answered yet, spreading would move its shards twice. */
  #starting(): boolean {
    const nowMs = this.#options.clock.monotonic();
    return this.#options.links
      .all()
      .some((link) => link.state === "connecting" && nowMs - link.stateSinceMs < SETTLE_MS);
  }

  /** Nothing to assign to: said once, loudly, and looked at again with the next change. */
  #alone(): boolean {
    const { shards, links, hub, logger } = this.#options;
    const all = links.all();
    // All on their way out is what an operator asked for, or the stop of the whole cluster: no alarm.
    const why = all.length > 0 && all.every((link) => link.state === "draining") ? "leaving" : "none";
    if (why === "leaving" && this.#lonely !== why) {
      logger.info({ shards }, "every engine drains: nobody is left to own shards");
    } else if (why === "none" && this.#lonely !== why) {
      hub.emit("NoEngines", `no engine is ready: ${shards} shards wait for an owner`);
      logger.error({ shards }, "no engine is ready to own shards");
    }
    this.#lonely = why;
    return true;
  }

  /**
   * Ends the sessions of the dead, so that their shards are free at once instead of when the lease runs out. Safe even
   * when wrong: the fence stops a process that is alive after all. Answers whether some are to be looked at again: the
   * session of a process that was never seen may be that of an engine which is about to listen.
   */
  async #bury(sessions: readonly SessionRecord[]): Promise<boolean> {
    const { links, store, clock, logger } = this.#options;
    const suspects = new Map<string, number>();
    for (const link of links.all()) {
      const dead = sessions.find(({ engine }) => engine.name === link.name && engine.address === link.address);
      if (link.state !== "refused" || !dead) continue;
      const known = link.view?.startedAtMs === dead.engine.startedAtMs && link.view.pid === dead.engine.pid;
      const sinceMs = this.#suspects.get(dead.session) ?? clock.monotonic();
      if (known || clock.monotonic() - sinceMs >= REFUSED_MS) {
        logger.warn({ engine: link.name, session: dead.session }, "an engine is dead: its session is ended");
        await store.endSession({ session: dead.session });
      } else {
        suspects.set(dead.session, sinceMs);
      }
    }
    this.#suspects = suspects;
    return suspects.size > 0;
  }

  #wishFor(names: readonly string[]): string[] {
    const { shards, loadBalancer, hub, logger } = this.#options;
    const key = names.toSorted().join("\n");
    if (key !== this.#ring.key) {
      this.#ring = { key, wish: assignShards(names, shards, loadBalancer) };
      const facts = { engines: names.toSorted().join(" ") };
      logger.info({ engines: names.toSorted(), shards }, "the shards are spread anew");
      hub.emit("ShardsAssigned", `${shards} shards are spread over ${names.length} engines`, { facts });
    }
    return this.#ring.wish;
  }

  /** Those who give come before those who take, so that a moved shard is free when its new owner asks for it. */
  async #publish(
    wish: readonly string[],
    records: readonly ShardRecord[],
    eligible: readonly EngineLink[],
    nowMs: number,
  ): Promise<boolean> {
    const owners = new Map(records.map(({ shard, owner }) => [shard, owner]));
    const wished = (name: string): number[] => wish.flatMap((owner, shard) => (owner === name ? [shard] : []));
    const leaving = this.#options.links.all().filter((link) => !link.member && !eligible.includes(link));
    const calls = [...eligible, ...leaving].map((link) => {
      const want = eligible.includes(link) ? wished(link.name) : [];
      const gives = wish.some((wished, shard) => wished !== link.name && owners.get(shard) === link.name);
      const takes = want.some((shard) => owners.get(shard) !== link.name);
      return { link, want, gives, takes, told: this.#confirmed.get(link.name) === want.join() };
    });
    const open = calls.filter((call) => call.gives || call.takes || !call.told);
    if (open.length > 0) this.#generation = Math.max(this.#generation + 1, Math.floor(nowMs));
    const tell = async (some: typeof open): Promise<boolean> =>
      (await Promise.all(some.map((call) => this.#tell(call.link, call.want)))).every(Boolean);
    const given = await tell(open.filter((call) => call.gives));
    const taken = await tell(open.filter((call) => !call.gives));
    for (const call of calls) if (!call.link.member && !call.gives) await this.#options.links.forget(call.link);
    return given && taken;
  }

  async #tell(link: EngineLink, shards: number[]): Promise<boolean> {
    // One that does not answer would only hold up the round; it is told when it is back.
    if (link.state !== "ready") return !link.member;
    const request = { generation: this.#generation, shards };
    try {
      const { owned } = await link.channel.call("engine", "assign", request, {
        deadlineMs: ASSIGN_DEADLINE_MS,
        signal: this.#stop.signal,
      });
      const has = new Set(owned);
      if (has.size !== shards.length || !shards.every((shard) => has.has(shard))) return false;
      this.#confirmed.set(link.name, shards.join());
      return true;
    } catch (error) {
      this.#options.logger.debug(
        { engine: link.name, error },
        "an engine did not confirm its shards; it is asked again",
      );
      return false;
    }
  }
}

export type AssignmentOptions = {
  store: Store;
  links: EngineLinks;
  hub: EventHub;
  clock: Clock;
  random: Random;
  logger: Logger;
  shards: number;
  loadBalancer: LoadBalancer;
  /** This orchestrator's name. */
  holder: string;
};
