import { hostIdentity, startTimeOf } from "../base/process.ts";
import type { Service } from "../base/service.ts";
import type { Hint, LoadedExecution } from "../store/store.ts";
import type { ClusterEvent, EngineView } from "../transport/api/cluster.ts";
import type { Services } from "../transport/transport.ts";
import type { EventBus } from "./events.ts";
import { createEventBus } from "./events.ts";
import type { ExecutorHooks } from "./executor.ts";
import { Executor } from "./executor.ts";
import { Fleet } from "./fleet/fleet.ts";
import { templateViews } from "./fleet/view.ts";
import { Inbox } from "./inbox.ts";
import { noMetrics } from "./metrics.ts";
import type { EngineOptions } from "./options.ts";
import { RETENTION_MS } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { Ownership } from "./ownership.ts";
import { Retention } from "./retention.ts";
import { engineHandlers } from "./services.ts";
import { createStoreTime } from "./store-time.ts";
import type { DueTimer } from "./timers.ts";
import { Timers } from "./timers.ts";
import { CONTINUE_TIMER } from "./turn.ts";
import type { WorkersContext } from "./workers/context.ts";
import { untilIdle } from "./workers/drain.ts";
import type { HostEvidence } from "./workers/liveness.ts";
import { Workers } from "./workers/workers.ts";

export type Engine = Service & {
  readonly name: string;
  /** As others reach it. */
  readonly address: string;
  /** What `cmd` offers on the engine's server: `engine` for the orchestrator, `worker` for workers. */
  readonly services: Required<Pick<Services, "engine" | "worker">>;
  view(): EngineView;
  onEvent(listener: (event: ClusterEvent) => void): () => void;
  /** Gives its work away: no new claims, workers sent elsewhere, shards released. Serves NOT_OWNER until `stop`. */
  drain(): Promise<void>;
  /**
   * Gives no more jobs and ends the workers made here, once what they run is over (at most the fleet's grace), while the
   * engine serves on. Engines that stop together do this all before any of them stops: a worker may be connected to
   * another engine than the one that made it, and needs that one to hand in its last result.
   */
  endWorkers(): Promise<void>;
};

/** Workers get so long to leave at a drain before their streams are cut. */
const REDIRECT_MS = 5_000;
/** What is in flight at a stop gets so long; the store may be away, and then nothing would ever end. */
const STOP_MS = 5_000;
/** What waits in the inbox at a stop; it is there for the next owner too. */
const INBOX_MS = 1_000;

/** Nothing runs before `start`; `services` may be served before it and answer NOT_OWNER until shards are assigned. */
export function createEngine(options: EngineOptions): Engine {
  return new EngineProcess(options);
}

class EngineProcess implements Engine {
  readonly name: string;
  readonly services: Required<Pick<Services, "engine" | "worker">>;
  readonly #options: EngineOptions;
  readonly #events: EventBus;
  readonly #ownership: Ownership;
  readonly #executor: Executor;
  readonly #inbox: Inbox;
  readonly #timers: Timers;
  readonly #outbox: Outbox;
  readonly #workers: Workers;
  readonly #fleet: Fleet | undefined;
  readonly #retention: Retention;
  readonly #time;
  readonly #openBy = new Map<number, number>();
  /** What was read of shards that are not ready yet. */
  readonly #loading = new Map<number, LoadedExecution[]>();
  readonly #startedAtMs: number;
  #unwatch: (() => void) | undefined;
  #state: "new" | "ready" | "draining" | "stopped" = "new";
  /** The workers made here are being ended. */
  #ending = false;
  #drained: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    const { clock, random, store, shards, name } = options;
    this.name = name;
    this.#options = options;
    this.#startedAtMs = clock.now();
    this.#time = createStoreTime(clock);
    this.#events = createEventBus({ engine: name, clock });
    const metrics = options.metrics ?? noMetrics;
    const shared = { store, shards, clock, random, logger: options.logger, emit: this.#events.emit, metrics };
    this.#ownership = new Ownership({ ...shared, engine: () => this.#info(), time: this.#time });
    const base = { ...shared, ownership: this.#ownership, time: this.#time };
    const cached = options.cachedExecutions;
    this.#executor = new Executor({ ...base, hooks: this.#hooks(), ...(cached === undefined ? {} : { cached }) });
    this.#inbox = new Inbox({ ...base, executor: this.#executor });
    this.#timers = new Timers({ clock, time: this.#time, fire: (due) => this.#fire(due) });
    this.#outbox = new Outbox({ ...shared, gateway: options.gateway, post: (of, it) => this.#executor.post(of, it) });
    const context: WorkersContext = {
      ...base,
      engine: name,
      executor: () => this.#executor,
      strategy: options.strategy ?? "bin-pack",
      workers: new Map(),
      holders: new Map(),
      closing: () => this.#state === "draining" || this.#state === "stopped",
      stopping: () => this.#state === "stopped" || this.#ending,
    };
    const hooks = {
      registered: (request: string, worker: string) => this.#fleet?.registered(request, worker),
      gone: (...about: Parameters<Fleet["workerGone"]>) => this.#fleet?.workerGone(...about),
    };
    this.#workers = new Workers(context, hooks, options.hostEvidence ?? thisHost());
    this.#fleet = this.#makeFleet(shared);
    this.#retention = new Retention({ ...base, retentionMs: options.retentionMs ?? RETENTION_MS });
    const parts = {
      executor: this.#executor,
      ownership: this.#ownership,
      workers: this.#workers,
      events: this.#events,
    };
    const templates = () => templateViews(name, options.platform && options.fleet);
    const engine = engineHandlers({ ...parts, view: () => this.view(), drain: () => this.drain(), templates });
    this.services = { engine, worker: this.#workers.handlers };
  }

  get address(): string {
    const { advertise, address } = this.#options;
    return advertise ?? (typeof address === "string" ? address : address());
  }

  async start(): Promise<void> {
    if (this.#state !== "new") return;
    this.#state = "ready";
    await this.#ownership.start({
      loaded: (shard, executions) =>
        void this.#loading.set(shard, [...(this.#loading.get(shard) ?? []), ...executions]),
      ready: (shard) => this.#ready(shard),
      dropped: (shard) => this.#dropped(shard),
      quiesce: (shards) => this.#executor.quiesce(shards),
      session: (session) => this.#session(session),
      renewed: (renewal) => {
        this.#timers.replan();
        this.#inbox.mark(renewal.inbox);
        this.#workers.renewed(renewal);
        this.#fleet?.nudge();
        void this.#measure();
      },
      signatures: () => this.#workers.signatures(),
    });
    this.#workers.start();
    this.#retention.start();
    await this.#fleet?.start();
    this.#events.emit("EngineStarted", `engine ${this.name} started at ${this.address}`);
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  async endWorkers(): Promise<void> {
    if (this.#state !== "ready" && this.#state !== "draining") return;
    this.#state = "draining";
    this.#ending = true;
    await this.#fleet?.stop();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  view(): EngineView {
    const totals = this.#workers.totals();
    return {
      name: this.name,
      address: this.address,
      pid: this.#options.pid,
      version: this.#options.version,
      state: this.#state === "draining" || this.#state === "stopped" ? "draining" : "ready",
      shards: this.#ownership.owned().length,
      capacity: totals.slots,
      activeExecutions: [...this.#openBy.values()].reduce((sum, open) => sum + open, 0),
      activeJobs: totals.jobs,
      workers: totals.workers,
      startedAtMs: this.#startedAtMs,
    };
  }

  onEvent(listener: (event: ClusterEvent) => void): () => void {
    return this.#events.listen(listener);
  }

  /** The order of design §6: no claims → workers leave → turns end, shards go (the session ends with `stop`). */
  async #drain(): Promise<void> {
    if (this.#state !== "ready") return;
    this.#state = "draining";
    this.#events.emit("EngineDraining", `engine ${this.name} drains`);
    await this.#workers.redirect(this.#options.redirect?.() ?? [], REDIRECT_MS);
    await this.#ownership.assign(Number.MAX_SAFE_INTEGER, []);
  }

  async #stop(): Promise<void> {
    if (this.#state === "new" || this.#state === "stopped") {
      this.#state = "stopped";
      return;
    }
    this.#state = "stopped";
    // Before the workers' streams are cut: their goodbyes still count.
    await this.#fleet?.stop();
    this.#workers.stop();
    this.#timers.stop();
    // Outcomes that other engines' workers have just handed in: durable as they are, but a clean stop leaves no work behind.
    await untilIdle(this.#options.clock, INBOX_MS, () => this.#inbox.idle);
    this.#inbox.stop();
    this.#outbox.stop();
    await this.#retention.stop();
    const late = this.#options.clock.after(STOP_MS, () => this.#ownership.abandon());
    // What the stop itself has ended is said under this session, or the next owner waits 45 s for each of them.
    await this.#workers.reported();
    await this.#ownership.stop().finally(() => late.cancel());
    this.#unwatch?.();
    this.#events.emit("EngineStopped", `engine ${this.name} stopped`);
  }

  #info(): { name: string; address: string; pid: number; version: string; startedAtMs: number } {
    const { pid, version } = this.#options;
    return { name: this.name, address: this.address, pid, version, startedAtMs: this.#startedAtMs };
  }

  async #session(session: string): Promise<void> {
    this.#unwatch?.();
    this.#unwatch = this.#options.store.watch({ kind: "session", session }, (hint) => this.#hint(hint));
    await this.#workers.readopt(session);
  }

  #hint(hint: Hint): void {
    if (hint.kind === "inbox") this.#inbox.mark([hint.shard]);
    else if (hint.kind !== "changed") this.#workers.hint(hint);
  }

  /** Not before the shard may be written: what a timer or an acknowledgement leads to is a turn. */
  #ready(shard: number): void {
    for (const { head, timers, outbox } of this.#loading.get(shard) ?? []) {
      const of = { namespace: head.namespace, id: head.id, shard };
      if (head.state === "running") this.#count(shard, 1);
      for (const timer of timers) this.#timers.set({ ...of, timer: timer.id }, timer.atMs);
      this.#outbox.push(of, outbox);
    }
    this.#loading.delete(shard);
    this.#inbox.mark([shard]);
    this.#fleet?.nudge();
  }

  /** The gauges that no single event gives. */
  async #measure(): Promise<void> {
    const { store, logger } = this.#options;
    const metrics = this.#options.metrics ?? noMetrics;
    metrics.gauge("hodei_engine_executions", this.view().activeExecutions);
    const session = this.#ownership.session;
    if (!session) return;
    try {
      const demand = await store.demand({ session });
      metrics.gauge(
        "hodei_scheduler_queue_size",
        demand.reduce((sum, of) => sum + of.waiting, 0),
      );
    } catch (error) {
      logger.debug({ error }, "the queue was not measured");
    }
  }

  #dropped(shard: number): void {
    this.#executor.dropShard(shard);
    this.#timers.dropShard(shard);
    this.#outbox.dropShard(shard);
    this.#inbox.dropShard(shard);
    this.#loading.delete(shard);
    this.#openBy.delete(shard);
  }

  #count(shard: number, by: number): void {
    this.#openBy.set(shard, Math.max((this.#openBy.get(shard) ?? 0) + by, 0));
  }

  #fire(due: DueTimer): void {
    this.#executor.post(due, {
      message: due.timer === CONTINUE_TIMER ? { kind: "continue" } : { kind: "timer", timer: due.timer },
      fire: due.timer,
      done: (result) => {
        if (result.status === "early") this.#timers.set(due, this.#time.now() + result.byMs);
      },
    });
  }

  #hooks(): ExecutorHooks {
    return {
      timers: (of, set, gone) => {
        const { namespace, id, shard } = of;
        for (const timer of gone) this.#timers.clear({ namespace, id, shard, timer });
        for (const [timer, atMs] of set) {
          // The executor goes on by itself; the stored timer is for whoever takes over.
          if (timer !== CONTINUE_TIMER) this.#timers.set({ namespace, id, shard, timer }, atMs);
        }
      },
      outbox: (of, entries) => this.#outbox.push({ namespace: of.namespace, id: of.id, shard: of.shard }, entries),
      offer: (settled) => this.#workers.offer(settled),
      assigned: (slots, assignments) => this.#workers.answered(slots, assignments),
      cancelled: (jobIds) => this.#workers.cancelled(jobIds),
      unmatched: () => this.#fleet?.nudge(),
      templateMismatches: (requirement) => this.#fleet?.templateMismatches(requirement),
      opened: (shard, by) => this.#count(shard, by),
    };
  }

  #makeFleet(shared: Pick<EngineOptions, "store" | "clock" | "random" | "logger"> & FleetShared): Fleet | undefined {
    const { platform, fleet: options } = this.#options;
    if (!platform || !options) return undefined;
    const { store, clock, random, logger, emit, metrics } = shared;
    const session = (): string | undefined => this.#ownership.session;
    const address = (): string => this.address;
    const own = { engine: this.name, address, session, platform, options, members: new Map() };
    const context = { ...own, store, clock, random, logger, emit, metrics };
    return new Fleet(context, {
      get: (worker) => this.#workers.get(worker),
      drain: (worker) => this.#workers.drainWorker(worker),
      ended: (worker, reason) => this.#workers.ended(worker, reason),
    });
  }
}

type FleetShared = { emit: EventBus["emit"]; metrics: NonNullable<EngineOptions["metrics"]> };

/** Judged by the process table of this host. */
function thisHost(): HostEvidence {
  const { bootId, pidNamespace } = hostIdentity();
  return { bootId, pidNamespace, alive: (pid, startTime) => startTimeOf(pid) === startTime };
}
