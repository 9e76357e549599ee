import type { Timer } from "../../base/clock.ts";
import type { Service } from "../../base/service.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import type { Mismatch, Requirement } from "../../workflow/requirement.ts";
import type { WorkerRecord } from "../workers/record.ts";
import type { FleetWorker } from "./demand.ts";
import { templateMismatches, wanted } from "./demand.ts";
import type { FleetContext } from "./launch.ts";
import { Launch } from "./launch.ts";
import { PodLiveness } from "./liveness.ts";
import type { Member } from "./members.ts";
import { workerIdOf } from "./members.ts";
import { FLEET_DEFAULTS } from "./options.ts";
import { leftBehind, Orphans } from "./orphans.ts";

/** Waits for more of the same before the store is asked what is missing: a fan-out comes in several commits. */
const NUDGE_MS = 20;
const TICK_MS = 1_000;
const SWEEP_MS = 15_000;

export type FleetWorkers = {
  get(worker: string): WorkerRecord | undefined;
  drain(worker: string): void;
  ended(worker: string, reason: string): void;
};

/** The workers that this engine makes for its own share of the work: a floor of warm ones, others by demand. */
export class Fleet implements Service {
  readonly #context: FleetContext;
  readonly #workers: FleetWorkers;
  readonly #launch: Launch;
  readonly #liveness: PodLiveness;
  readonly #orphans: Orphans;
  #unwatch: (() => void) | undefined;
  #tick: Timer | undefined;
  #nudge: Timer | undefined;
  #sweptAtMs = 0;
  #busy: Promise<void> | undefined;
  #again = false;
  #running = false;

  constructor(context: FleetContext, workers: FleetWorkers) {
    this.#context = context;
    this.#workers = workers;
    this.#launch = new Launch(context);
    this.#liveness = new PodLiveness(context, this.#launch, {
      ended: (worker, reason) => workers.ended(worker, reason),
      closed: () => this.nudge(),
    });
    this.#orphans = new Orphans(context);
  }

  /** What keeps a worker of the template from ever running this; empty: nothing. */
  templateMismatches(requirement: Requirement): Mismatch[] {
    return templateMismatches(this.#context.options.template, requirement);
  }

  /** Takes over what an earlier life of this engine (or an engine that it inherits from) made, then keeps the floor. */
  async start(): Promise<void> {
    const { platform, store, engine, members, clock, options } = this.#context;
    this.#running = true;
    this.#unwatch = platform.watch((pod) => this.#liveness.changed(pod));
    const [requests, pods] = await Promise.all([store.workerRequests.list({ open: true }), platform.list()]);
    const mine = requests.filter((request) => request.engine === engine || options.inherits?.(request.engine) === true);
    const { alive, dead } = leftBehind(mine, pods);
    for (const { request, pod } of alive) {
      const mode = pod.labels["mode"] === "ephemeral" ? "ephemeral" : "warm";
      const { id, classKey } = request;
      // Registered or not, it has to say hello to this life first.
      const member: Member = {
        id,
        worker: workerIdOf(id),
        mode,
        state: "launched",
        sinceMs: clock.monotonic(),
        pod: { name: pod.name, uid: pod.uid },
        ...(classKey === undefined ? {} : { classKey }),
      };
      members.set(id, member);
    }
    for (const { id } of dead) {
      const gone: Member = { id, worker: workerIdOf(id), mode: "warm", state: "gone", sinceMs: 0 };
      const reason = "its pod was not there when the engine started";
      this.#workers.ended(gone.worker, reason);
      await this.#launch.record(gone, { reason });
    }
    this.#schedule();
    // Now, not after a nudge's wait: the first job of a fresh cluster waits for exactly this.
    this.#look();
  }

  async stop(): Promise<void> {
    const { options, members } = this.#context;
    this.#running = false;
    this.#tick?.cancel();
    this.#nudge?.cancel();
    this.#unwatch?.();
    await this.#busy;
    if (options.deleteOnStop === false) return;
    const reason = "its engine stops";
    const destroy = async (member: Member): Promise<void> => {
      await this.#liveness.destroy(member, reason);
      // What it still ran is lost now, and not 45 s after the next start.
      this.#workers.ended(member.worker, reason);
    };
    await Promise.all([...members.values()].map(destroy));
  }

  /** Work may wait, or a worker may be missing. */
  nudge(): void {
    if (this.#nudge || !this.#running) return;
    this.#nudge = this.#context.clock.after(NUDGE_MS, () => {
      this.#nudge = undefined;
      this.#look();
    });
  }

  /** A worker said hello with this request; when another engine made it, that one reads it in the request. */
  registered(request: string, worker: string): void {
    const { members, logger } = this.#context;
    const member = members.get(request);
    if (member?.state === "registered") return;
    if (member) {
      member.state = "registered";
      this.#launch.succeeded();
    }
    logger.info({ request, worker, own: member !== undefined }, "worker registered");
    void this.#launch.record(member ?? { id: request, state: "registered" });
  }

  /** A worker dials any engine: that one of ours has registered elsewhere stands in its request alone. */
  async #registeredElsewhere(): Promise<void> {
    const { store, engine, members } = this.#context;
    if (![...members.values()].some((member) => member.state === "launched")) return;
    for (const request of await store.workerRequests.list({ engine, open: true })) {
      const member = members.get(request.id);
      if (member?.state !== "launched" || request.state !== "registered") continue;
      member.state = "registered";
      this.#launch.succeeded();
    }
  }

  /** The engine counts a worker as gone. */
  workerGone(record: WorkerRecord, reason: string): void {
    const member = this.#context.members.get(record.hello.requestId ?? "");
    if (!member) return;
    if (record.state === "failed") void this.#liveness.destroy(member, reason);
    else member.leaving ??= reason;
    this.nudge();
  }

  #schedule(): void {
    if (!this.#running) return;
    this.#tick = this.#context.clock.after(TICK_MS, () => {
      const nowMs = this.#context.clock.monotonic();
      this.#idleOnes(nowMs);
      // While something is short, look again by itself: the platform's pause or a worker's start has to pass.
      if (this.#short > 0 || this.#liveness.waits() || this.#warm().length < this.#context.options.warm) this.#look();
      this.#schedule();
    });
  }
  #short = 0;

  /** One look at a time. */
  #look(): void {
    this.#again = true;
    this.#busy ??= this.#lookAll().finally(() => (this.#busy = undefined));
  }

  async #lookAll(): Promise<void> {
    const { logger, clock } = this.#context;
    while (this.#again && this.#running) {
      this.#again = false;
      try {
        await this.#registeredElsewhere();
        this.#liveness.overdue(clock.monotonic());
        await this.#floor();
        await this.#demand();
        if (clock.monotonic() - this.#sweptAtMs >= SWEEP_MS) {
          this.#sweptAtMs = clock.monotonic();
          await this.#orphans.sweep();
        }
      } catch (error) {
        logger[isHodeiError(error) ? "warn" : "error"]({ error }, "the fleet was not looked after; it will be again");
      }
    }
  }

  async #floor(): Promise<void> {
    while (this.#running && this.#launch.pausedMs === 0 && this.#warm().length < this.#context.options.warm) {
      if (!(await this.#launch.launch({ mode: "warm", reason: "the warm floor" }))) return;
    }
  }

  async #demand(): Promise<void> {
    const { store, session, options, members, clock } = this.#context;
    const now = session();
    if (!now) return;
    const demand = await store.demand({ session: now });
    const room = options.warm + options.maxEphemeral - Math.max(members.size, options.warm);
    const extras = options.extras ?? "ephemeral";
    const { template } = options;
    const workers = [...members.values()].map((member) => this.#asWorker(member));
    const short = wanted({ demand, workers, template, extras, room, nowMs: clock.now() });
    this.#short = demand.length;
    for (const want of short) {
      if (!this.#running || this.#launch.pausedMs > 0 || !(await this.#launch.launch(want))) return;
    }
  }

  #asWorker(member: Member): FleetWorker {
    const record = this.#workers.get(member.worker);
    const starting = member.state === "requested" || member.state === "launched";
    const idle = record !== undefined && record.held.size === 0 && !record.spent;
    return {
      mode: member.mode,
      starting,
      idle,
      ...(member.classKey === undefined ? {} : { classKey: member.classKey }),
    };
  }

  #warm(): Member[] {
    return [...this.#context.members.values()].filter((member) => member.mode === "warm" && !member.leaving);
  }

  /** Warm ones beyond the floor, and ephemeral ones, that had nothing to do for long. */
  #idleOnes(nowMs: number): void {
    const { options, emit } = this.#context;
    let spare = this.#warm().length - options.warm;
    for (const member of this.#context.members.values()) {
      const record = this.#workers.get(member.worker);
      if (member.leaving || !record || record.held.size > 0 || record.workspaces.size > 0) continue;
      if (nowMs - record.idleSinceMs < (options.idleMs ?? FLEET_DEFAULTS.idleMs)) continue;
      // An ephemeral one whose job went elsewhere would hold its place until the engine stops.
      if (member.mode === "warm" && spare-- <= 0) continue;
      member.leaving = "idle for too long";
      emit("WorkerShutdownRequested", `worker ${record.hello.name} is asked to go: ${member.leaving}`, {
        worker: member.worker,
      });
      this.#workers.drain(member.worker);
    }
  }
}
