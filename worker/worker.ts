import type { Timer } from "../base/clock.ts";
import type { WorkerState } from "../transport/api/cluster.ts";
import type { AssignedJob, Hello, ToWorker } from "../transport/api/worker.ts";
import type { Channel } from "../transport/transport.ts";
import { HodeiError, unreachable } from "../workflow/errors.ts";
import type { Offer } from "../workflow/requirement.ts";
import { offerOf } from "./capabilities.ts";
import { Connection } from "./connect.ts";
import type { Welcome } from "./connect.ts";
import { Heartbeat } from "./heartbeat.ts";
import { thisHost, type WorkerHost } from "./host.ts";
import { Jobs } from "./jobs.ts";
import type { Worker, WorkerEnd, WorkerOptions } from "./options.ts";
import { findTools, usualToolsFile } from "./tools.ts";

const LONE_MS = 60_000;
/** How long a worker that goes waits for its last results to be acknowledged; they stay on disk otherwise. */
const HAND_IN_MS = 10_000;
const GOODBYE_MS = 1_000;
/** `stop` gives steps so long between SIGTERM and SIGKILL. */
const STOP_GRACE_MS = 2_000;

const EXIT_CODES: Record<WorkerEnd["reason"], number> = { stopped: 0, drained: 0, ephemeral: 0, alone: 5, refused: 1 };

/** Throws INVALID_ARGUMENT for options that cannot work. Nothing runs before `start`. */
export function createWorker(options: WorkerOptions): Worker {
  if (options.addresses.length === 0) throw missing("addresses", "needs at least one host:port");
  if (options.id === "") throw missing("id", "must not be empty");
  if (options.slots !== undefined && !(options.slots >= 1)) throw missing("slots", "must be at least 1");
  return new WorkerProcess(options);
}

function missing(field: string, message: string): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", `worker option ${field} ${message}`, { field });
}

/** A worker's life: registering → available ⇄ running → draining → terminated. */
class WorkerProcess implements Worker {
  readonly id: string;
  readonly ready: Promise<void>;
  readonly done: Promise<WorkerEnd>;
  readonly #options: WorkerOptions;
  readonly #host: WorkerHost;
  readonly #ready = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<WorkerEnd>();
  readonly #jobs: Jobs;
  readonly #connection: Connection;
  readonly #probing = new AbortController();
  #heartbeat: Heartbeat | undefined;
  #offer: Offer | undefined;
  #lone: Timer | undefined;
  #state: "new" | "registering" | "serving" | "draining" | "terminated" = "new";
  #ending: Promise<void> | undefined;
  #drainReason = "drained";
  #starting: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    this.id = options.id;
    this.ready = this.#ready.promise;
    this.done = this.#done.promise;
    this.#options = options;
    this.#host = options.host ?? thisHost(options.directory, options.clock);
    this.#jobs = new Jobs({
      ...options,
      host: this.#host,
      slots: options.slots ?? 5,
      ephemeral: options.ephemeral ?? false,
      handlers: options.handlers ?? new Map(),
      send: (message) => this.#connection.send(message),
      onIdle: () => this.#whenIdle(),
    });
    this.#connection = new Connection({
      ...options,
      hello: () => this.#hello(),
      onUp: (welcome, channel) => this.#up(welcome, channel),
      onMessage: (message) => this.#take(message),
      onDown: () => this.#down(),
      onRefused: () => void this.#end("refused"),
    });
  }

  state(): WorkerState {
    switch (this.#state) {
      case "new":
        return "creating";
      case "registering":
      case "draining":
      case "terminated":
        return this.#state;
      case "serving":
        return this.#jobs.running.length > 0 ? "running" : "available";
      default:
        return unreachable(this.#state);
    }
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async stop(): Promise<void> {
    await this.#end("stopped");
  }

  async drain(reason = "drained"): Promise<void> {
    if (this.#state === "new") return await this.#end("drained");
    if (this.#state === "registering" || this.#state === "serving") {
      this.#state = "draining";
      this.#drainReason = reason;
      this.#jobs.refuse("this worker drains");
      // Else the engine goes on asking for it, and each job that it refuses pays for that.
      if (this.#connection.up) this.#connection.send({ kind: "hello", ...this.#hello() });
      this.#options.logger.info({ reason, jobs: this.#jobs.running.length }, "worker drains");
      this.#whenIdle();
    }
    await this.done;
  }

  async #start(): Promise<void> {
    const { clock, logger, random } = this.#options;
    this.#state = "registering";
    await this.#host.prepare();
    const [machine, found] = await Promise.all([this.#host.resources(), this.#findTools(), this.#jobs.open()]);
    this.#offer = offerOf(this.#options, machine, found.tools);
    const meter = this.#host.meter(this.#offer.total.cpuMillis);
    this.#heartbeat = new Heartbeat({
      clock,
      meter,
      send: (message) => this.#connection.send(message),
      jobs: () => this.#jobs.running.map((running) => ({ id: running.job.jobId, group: running.group })),
      onSilent: () => this.#connection.drop("the engine does not answer heartbeats"),
    });
    if (this.#ending) return; // stopped meanwhile
    this.#watchLoneliness();
    this.#connection.start();
    // Not now: a dozen children at start would take the cores that the first job needs. And not all workers of a host at
    // once: the first one remembers for the others.
    clock.sleep(500 + random.float() * 1_500, this.#probing.signal).then(
      async () => {
        const tools = await found.probe(this.#probing.signal);
        this.#improveOffer(offerOf(this.#options, machine, tools));
      },
      () => logger.debug({}, "worker ended before tool versions were asked"),
    );
  }

  async #findTools(): ReturnType<typeof findTools> {
    const { directory, baseEnv, logger, detectTools, toolsFile } = this.#options;
    if (detectTools === false) return { tools: {}, probe: async () => ({}) };
    return await findTools({ env: baseEnv, cacheFile: toolsFile ?? usualToolsFile(baseEnv, directory), logger });
  }

  /**
   * A second hello on the same stream tells it. Not a new stream: an assignment on its way over the old one would be lost
   * with it, and an attempt with the assignment.
   */
  #improveOffer(offer: Offer): void {
    if (this.#ending || offer.labels.join(" ") === this.#offer?.labels.join(" ")) return;
    this.#offer = offer;
    this.#connection.send({ kind: "hello", ...this.#hello() });
  }

  #hello(): Hello {
    const { id, name, requestId, version } = this.#options;
    if (!this.#offer) throw new HodeiError("INTERNAL", "dialled before the offer was known");
    return {
      workerId: id,
      name,
      ...(requestId === undefined ? {} : { requestId }),
      version: version ?? "0.0.0",
      offer: this.#offer,
      slots: this.#state === "draining" ? 0 : this.#jobs.slots,
      host: this.#host.identity(),
      running: this.#jobs.running.map(({ job }) => ({ jobId: job.jobId, token: job.token })),
      spooled: this.#jobs.finished.map(({ jobId, token }) => ({ jobId, token })),
      workspaces: this.#jobs.workspaces,
      knowsHeard: true,
    };
  }

  #up(welcome: Welcome, channel: Channel): void {
    this.#options.logger.info({ engine: welcome.engine, address: channel.address }, "registered with engine");
    this.#lone?.cancel();
    if (this.#state === "registering") this.#state = "serving";
    this.#heartbeat?.start(welcome.heartbeatMs);
    this.#jobs.connected(channel, welcome.stale);
    this.#ready.resolve();
  }

  #down(): void {
    this.#heartbeat?.stop();
    this.#jobs.disconnected();
    this.#watchLoneliness();
  }

  /** `ends itself after so long without any engine`: one whose engine is gone for good must not run for ever. */
  #watchLoneliness(): void {
    this.#lone?.cancel();
    const loneMs = this.#options.loneMs ?? LONE_MS;
    if (loneMs > 0 && !this.#ending) this.#lone = this.#options.clock.after(loneMs, () => void this.#end("alone"));
  }

  #take(message: Exclude<ToWorker, Welcome>): void {
    switch (message.kind) {
      case "assign":
        return this.#jobs.assign(message.job satisfies AssignedJob);
      case "cancel":
        return this.#jobs.cancel(message.jobId, message.token);
      case "ack":
        return this.#jobs.acknowledge(message);
      case "releaseWorkspace":
        return this.#jobs.releaseWorkspace(message.workspace);
      case "heard":
        return this.#heartbeat?.heard();
      case "drain":
        if (message.redirect.length > 0) this.#connection.redirect(message.redirect);
        else void this.drain("drained by its engine");
        return;
      default:
        return unreachable(message);
    }
  }

  /** No job runs. Whoever waited for that comes next: a drain, or the end of an ephemeral worker. */
  #whenIdle(): void {
    if (this.#ending || this.#jobs.running.length > 0) return;
    if (this.#state === "draining") {
      void this.#end("drained");
    } else if (this.#jobs.spent) {
      void this.#end("ephemeral");
    }
  }

  #end(reason: WorkerEnd["reason"]): Promise<void> {
    this.#ending ??= this.#terminate(reason);
    return this.#ending;
  }

  /** Order: no new job, no running job, results handed in, goodbye, nothing left. */
  async #terminate(reason: WorkerEnd["reason"]): Promise<void> {
    const { logger, ephemeral } = this.#options;
    this.#probing.abort();
    this.#lone?.cancel();
    this.#jobs.refuse("this worker ends");
    if (this.#state !== "new") this.#state = "draining";
    try {
      await this.#starting;
      if (!this.#connection.up) this.#connection.hurry();
      await this.#jobs.close({
        killAfterMs: STOP_GRACE_MS,
        handInMs: reason === "drained" || reason === "ephemeral" ? HAND_IN_MS : 0,
      });
      const words = reason === "drained" ? this.#drainReason : reason;
      this.#connection.send({ kind: "goodbye", reason: words });
      await this.#connection.stop(GOODBYE_MS);
      this.#heartbeat?.stop();
      if (ephemeral) await this.#host.removeWorkspaces();
    } finally {
      this.#lone?.cancel();
      this.#state = "terminated";
      logger.info({ reason }, "worker ended");
      this.#done.resolve({ reason, exitCode: EXIT_CODES[reason] });
    }
  }
}
