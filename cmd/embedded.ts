import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../base/clock.ts";
import { type Logger, silentLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { type Service, startAll, stopAll } from "../base/service.ts";
import { createEngine, type Engine } from "../engine/engine.ts";
import type { WorkerTemplate } from "../engine/fleet/options.ts";
import { ENGINE_METRICS } from "../engine/metrics.ts";
import {
  createOrchestrator as createFrontDoor,
  DEFAULT_SHARDS,
  type Orchestrator,
} from "../orchestrator/orchestrator.ts";
import type { Platform } from "../platform/platform.ts";
import { createProcessPlatform } from "../platform/process.ts";
import { HodeiClient } from "../sdk/client.ts";
import { openSqliteStore } from "../store/sqlite/store.ts";
import type { Store } from "../store/store.ts";
import { HodeiError } from "../workflow/errors.ts";
import { createStaticDiscovery } from "../transport/discovery/static.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";
import { createLocalTransport } from "../transport/local.ts";
import type { Server, Services, Transport } from "../transport/transport.ts";
import { type Addresses, chooseAddresses, readAddresses, writeAddresses } from "./addresses.ts";
import { inheritedEnvironment } from "./config.ts";
import { checkOptions } from "./embedded-options.ts";
import { type HttpServer, serveHttp } from "./http.ts";
import { localTemplate } from "./local-template.ts";
import { createMetrics } from "./metrics.ts";
import { VERSION } from "./version.ts";

export type EmbeddedOptions = {
  /** Where everything is kept. Default ":memory:": nothing is. */
  data?: string;
  /** Default 127.0.0.1. */
  host?: string;
  /** Of the API. Default: what the data folder remembers, else `usualPort`; 0: the remembered one, else a free one. */
  port?: number;
  /** Default: a free one. */
  usualPort?: number;
  /** Of health and metrics; the same rules. */
  httpPort?: number;
  /** Default 1. */
  engines?: number;
  /** Warm local worker processes. Default 1. */
  workers?: number;
  /** Ephemeral ones at once, per engine. Default 2. */
  ephemeral?: number;
  /** Labels that local workers offer beside those they find. */
  labels?: readonly string[];
  /** A module whose handlers local workers offer. */
  handlersFile?: string;
  /** Default "default". */
  namespace?: string;
  /** Fixed at the first start of a data folder. Default 2048. */
  shards?: number;
  /** Of finished executions. Default 7 days. */
  retentionMs?: number;
  /** Default "consistent-hash". */
  loadBalancer?: "consistent-hash" | "round-robin";
  /** Default: silent. */
  logger?: Logger;
};

/** A whole cluster inside one's own process. */
export type EmbeddedOrchestrator = {
  readonly client: HodeiClient;
  /** `host:port` of the API, for other processes. */
  readonly address: string;
  /** `host:port` of /healthz, /readyz and /metrics. */
  readonly http: string;
  readonly engines: { name: string; address: string; pid: number }[];
  /** Running jobs may end for `graceMs` (default 10 s), then local workers are gone; everything committed stays. */
  stop(): Promise<void>;
};

/** Running jobs get so long when the cluster stops. */
const STOP_GRACE_MS = 10_000;
/** All shards have an owner within a fraction of a second; this long means that something is broken. */
const READY_MS = 30_000;

/**
 * Starts an orchestrator, engines, an SQLite store and local workers, and resolves when every shard has an owner.
 * Throws INVALID_ARGUMENT for a wrong option, DATA_IN_USE when another process holds the folder, ADDRESS_IN_USE when one
 * listens on a wished or remembered port.
 */
export async function createOrchestrator(options: EmbeddedOptions = {}): Promise<EmbeddedOrchestrator> {
  checkOptions(options);
  const keeps = options.data !== undefined && options.data !== ":memory:";
  const directory = keeps ? resolve(options.data as string) : mkdtempSync(join(tmpdir(), "hodei-"));
  makeFolder(directory);
  const logger = options.logger ?? silentLogger;
  const store = openSqliteStore({
    directory: keeps ? join(directory, "store") : ":memory:",
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  try {
    const names = Array.from({ length: options.engines ?? 1 }, (_, at) => `engine-${at + 1}`);
    const wishes = {
      host: options.host ?? "127.0.0.1",
      apiPort: options.port,
      usualPort: options.usualPort,
      httpPort: options.httpPort,
      engines: names,
    };
    const addresses = await chooseAddresses(keeps ? readAddresses(directory) : undefined, wishes);
    const cluster = new Cluster({ ...options, logger }, directory, addresses, store);
    await cluster.start();
    if (keeps) writeAddresses(directory, addresses);
    return cluster.opened(keeps ? undefined : () => rmSync(directory, { recursive: true, force: true }));
  } catch (error) {
    await store.close();
    if (!keeps) rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

function makeFolder(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    const { message } = error as Error;
    throw new HodeiError("INVALID_ARGUMENT", `no data folder can be made: ${message}`, { field: "data", cause: error });
  }
}

class Cluster {
  readonly #options: EmbeddedOptions & { logger: Logger };
  readonly #directory: string;
  readonly #addresses: Addresses;
  readonly #store: Store;
  readonly #grpc: Transport;
  /** Orchestrator and engines share the process: their calls need no sockets. */
  readonly #local = createLocalTransport({ clock: systemClock });
  readonly #servers: Server[] = [];
  readonly #stopping = new AbortController();
  #http: HttpServer | undefined;
  #front: Orchestrator | undefined;
  #engines: Engine[] = [];
  #ready = false;

  constructor(options: EmbeddedOptions & { logger: Logger }, directory: string, addresses: Addresses, store: Store) {
    this.#options = options;
    this.#directory = directory;
    this.#addresses = addresses;
    this.#store = store;
    this.#grpc = createGrpcTransport({ clock: systemClock, logger: options.logger });
  }

  /** Servers first: a port in use must be told before any shard is taken or worker started. */
  async start(): Promise<void> {
    const { logger, shards = DEFAULT_SHARDS } = this.#options;
    const members = Object.entries(this.#addresses.engines).map(([name, address]) => ({ name, address }));
    const front = createFrontDoor({
      store: this.#store,
      transport: this.#local,
      discovery: createStaticDiscovery(members),
      clock: systemClock,
      random: systemRandom,
      logger: logger.child({ component: "orchestrator" }),
      version: VERSION,
      loadBalancer: this.#options.loadBalancer ?? "consistent-hash",
      shards,
      storeName: "sqlite",
      // Survives restarts, so that the lease of a killed one is its own again.
      name: "orchestrator-1",
      joinDebounceMs: 0,
    });
    this.#front = front;
    const metrics = createMetrics(ENGINE_METRICS);
    const template = await this.#template();
    const platform = this.#platform();
    this.#engines = members.map(({ name, address }, at) =>
      this.#engine({ name, address, at, front, platform, template, shards, metrics: metrics.sink({ engine: name }) }),
    );
    try {
      await this.#serve(this.#addresses.api, front.services, this.#grpc);
      for (const engine of this.#engines) {
        // Workers alone come over the network: who may call `engine` can give its shards away.
        await this.#serve(engine.address, { worker: engine.services.worker }, this.#grpc);
        await this.#serve(engine.address, engine.services, this.#local);
      }
      const [host, port] = splitAddress(this.#addresses.http);
      const notReady = (): string[] => (this.#ready ? [] : ["shards"]);
      this.#http = await serveHttp({ host, port: Number(port), registry: metrics.registry, notReady });
      await startAll(this.#services());
      await front.ready(AbortSignal.timeout(READY_MS)).catch((cause: unknown) => {
        throw new HodeiError("UNAVAILABLE", "the cluster is not ready: some shards have no owner", { cause });
      });
      this.#ready = true;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  opened(afterwards: (() => void) | undefined): EmbeddedOrchestrator {
    const address = this.#addresses.api;
    const client = new HodeiClient({
      addresses: [address],
      transport: this.#grpc,
      clock: systemClock,
      random: systemRandom,
    });
    let stopped: Promise<void> | undefined;
    return {
      client,
      address,
      http: this.#addresses.http,
      engines: this.#engines.map((engine) => ({ name: engine.name, address: engine.address, pid: process.pid })),
      stop: () =>
        (stopped ??= (async () => {
          await client.close();
          await this.stop();
          await this.#store.close();
          afterwards?.();
        })()),
    };
  }

  /** Workers first, they finish and hand in while everything still serves; then the engines, then what they need. */
  async stop(): Promise<void> {
    this.#ready = false;
    this.#stopping.abort();
    const servers = this.#servers
      .splice(0)
      .map((server): Service => ({ start: async () => undefined, stop: () => server.stop() }));
    const http = this.#http;
    const start = async (): Promise<void> => undefined;
    const workers = async (): Promise<void> => {
      await Promise.all(this.#engines.map((engine) => engine.endWorkers()));
    };
    await stopAll([
      ...servers,
      { start, stop: async () => http?.stop() },
      ...this.#services(),
      { start, stop: workers },
    ]);
  }

  #services(): Service[] {
    return this.#front === undefined ? [] : [this.#front, together(this.#engines)];
  }

  async #serve(address: string, services: Services, transport: Transport): Promise<void> {
    this.#servers.push(await transport.serve({ address, services }));
  }

  async #template(): Promise<WorkerTemplate> {
    const { labels = [], handlersFile, namespace = "default", logger } = this.#options;
    return localTemplate({
      directory: join(this.#directory, "workers"),
      namespace,
      labels,
      env: inheritedEnvironment(),
      handlersFile: handlersFile === undefined ? undefined : resolve(handlersFile),
      slots: WARM_SLOTS,
      logger,
      signal: this.#stopping.signal,
    });
  }

  #platform(): Platform {
    const entry = fileURLToPath(
      new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url),
    );
    return createProcessPlatform({
      command: [process.execPath, entry],
      env: {
        ...inheritedEnvironment(),
        HODEI_ENGINES: Object.values(this.#addresses.engines).join(","),
        NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"),
      },
      owner: "hodei-embedded",
      clock: systemClock,
      random: systemRandom,
      logger: this.#options.logger,
      directory: join(this.#directory, "workers", "pods"),
    });
  }

  #engine(of: EngineParts): Engine {
    const { engines = 1, workers = 1, ephemeral = 2, retentionMs, logger } = this.#options;
    // The first engines take what does not divide.
    const warm = Math.floor(workers / engines) + (of.at < workers % engines ? 1 : 0);
    return createEngine({
      name: of.name,
      address: of.address,
      store: this.#store,
      shards: of.shards,
      gateway: of.front.gateway,
      platform: of.platform,
      fleet: {
        template: of.template,
        warm,
        maxEphemeral: ephemeral,
        graceMs: STOP_GRACE_MS,
        // Started with fewer engines than last time: somebody must end the workers of the others.
        ...(of.at === 0 ? { inherits: (engine: string) => !(engine in this.#addresses.engines) } : {}),
      },
      clock: systemClock,
      random: systemRandom,
      logger: logger.child({ component: "engine", engine: of.name }),
      metrics: of.metrics,
      version: VERSION,
      pid: process.pid,
      retentionMs,
    });
  }
}

/** Jobs at once of a warm worker (the constitution's maxConcurrentJobs). */
const WARM_SLOTS = 5;

type EngineParts = {
  name: string;
  address: string;
  at: number;
  front: Orchestrator;
  platform: Platform;
  template: WorkerTemplate;
  shards: number;
  metrics: ReturnType<ReturnType<typeof createMetrics>["sink"]>;
};

/** Engines start and stop side by side: a stop that waits for jobs must not wait once per engine. */
function together(services: readonly Service[]): Service {
  return {
    start: async () => void (await Promise.all(services.map((service) => service.start()))),
    stop: async () => {
      const results = await Promise.allSettled(services.map((service) => service.stop()));
      const failed = results.filter((result) => result.status === "rejected");
      if (failed.length > 0)
        throw new AggregateError(
          failed.map((result) => result.reason as unknown),
          "engines failed to stop",
        );
    },
  };
}

function splitAddress(address: string): [string, string] {
  const at = address.lastIndexOf(":");
  return [address.slice(0, at), address.slice(at + 1)];
}
