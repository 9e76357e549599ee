import { mkdtempSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { silentLogger, type Logger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import type { Service } from "../base/service.ts";
import type { FromSchema, Schema } from "../sdk/schema.ts";
import type { HandlerContext, TypedHandler } from "../sdk/handler.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";
import { createWorker } from "../worker/worker.ts";
import type { Worker } from "../worker/options.ts";
import { HodeiError } from "../workflow/errors.ts";
import { inheritedEnvironment } from "./config.ts";
import { type EngineAddress, engineAddresses } from "./embedded-options.ts";
import { checkedHandler, taskFunctions } from "./handlers.ts";
import { VERSION } from "./version.ts";

export type HodeiWorkerOptions = {
  /** Engines' `host:port`s, or `hodei.engines` as it is; any of them serves. */
  engines: string | readonly EngineAddress[];
  name?: string;
  /** Labels this worker offers beside those it finds by itself (os, arch, tools). */
  labels?: readonly string[];
  /** Jobs at once. Default 5. */
  slots?: number;
  namespace?: string;
  token?: string;
  /** PEM texts; both sides prove themselves. */
  tls?: { ca: string; cert: string; key: string };
  logger?: Logger;
  /** How long `start` waits for an engine's welcome. Default 10 s. */
  startMs?: number;
  /** How long `stop` waits for running jobs. Default 30 s. */
  stopMs?: number;
  /** For workspaces and results not handed in yet. Default: a fresh folder, removed at stop. */
  directory?: string;
};

/** How long `start` waits when its options do not say. */
const START_MS = 10_000;
/** The constitution's graceful stop. */
const STOP_MS = 30_000;

/**
 * A worker inside one's own program: it runs the handlers registered here, and shell steps. One life: start, stop.
 * Throws INVALID_ARGUMENT for wrong use: an address that is none, a handler twice, after `start`, or with a wrong schema.
 */
export class HodeiWorker implements Service {
  readonly #options: HodeiWorkerOptions;
  readonly #addresses: string[];
  readonly #handlers = new Map<string, unknown>();
  #worker: Worker | undefined;
  #ownDirectory: string | undefined;

  constructor(options: HodeiWorkerOptions) {
    this.#options = options;
    this.#addresses = engineAddresses(options?.engines);
  }

  /** Registers a handler, before `start`: a typed one, or name, schema and function. */
  handle<Input, Output>(handler: TypedHandler<Input, Output>): this;
  handle<const S extends Schema>(
    name: string,
    input: S,
    run: (input: FromSchema<S>, context: HandlerContext) => unknown,
  ): this;
  handle(first: string | object, input?: Schema, run?: unknown): this {
    const handler = checkedHandler(typeof first === "string" ? { name: first, input, run } : first);
    if (this.#worker !== undefined)
      throw wrongUse(`handler ${handler.name} comes after start`, "A worker tells what it can do when it starts.");
    if (this.#handlers.has(handler.name))
      throw wrongUse(`handler ${handler.name} is there already`, "Give every handler a name of its own.");
    this.#handlers.set(handler.name, handler);
    return this;
  }

  /** Resolves when an engine has welcomed it; UNAVAILABLE when none does in time, UNAUTHENTICATED when all refuse it. */
  async start(): Promise<void> {
    if (this.#worker !== undefined) throw wrongUse("this worker has been started", "Make another one.");
    const worker = (this.#worker = this.#create());
    await worker.start();
    const late = Promise.withResolvers<"late">();
    const timer = systemClock.after(this.#options.startMs ?? START_MS, () => late.resolve("late"));
    const came = await Promise.race([worker.ready, worker.done, late.promise]);
    timer.cancel();
    if (came === undefined) return;
    await this.stop();
    const engines = this.#addresses.join(", ");
    if (came === "late")
      throw new HodeiError("UNAVAILABLE", `no engine at ${engines} has welcomed this worker`, { field: "engines" });
    if (came.reason === "refused")
      throw new HodeiError("UNAUTHENTICATED", `no engine at ${engines} takes this worker's token`, { field: "token" });
    throw new HodeiError("CANCELLED", "this worker was stopped before an engine welcomed it");
  }

  /** Finishes the running jobs, then leaves. Those that still run after `stopMs` are aborted; their engine counts them lost. */
  async stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    const timer = systemClock.after(this.#options.stopMs ?? STOP_MS, () => void worker.stop());
    await worker.drain("stopped by its program");
    timer.cancel();
    if (this.#ownDirectory !== undefined) rmSync(this.#ownDirectory, { recursive: true, force: true });
    this.#ownDirectory = undefined;
  }

  #create(): Worker {
    const {
      name = `${hostname()}-${process.pid}`,
      labels = [],
      slots,
      namespace = "default",
      token,
      tls,
    } = this.#options;
    const logger = this.#options.logger ?? silentLogger;
    const directory = this.#options.directory ?? (this.#ownDirectory = mkdtempSync(join(tmpdir(), "hodei-worker-")));
    return createWorker({
      addresses: this.#addresses,
      name,
      id: `${name}-${systemRandom.hex(4)}`,
      transport: createGrpcTransport({ clock: systemClock, logger, tls }),
      clock: systemClock,
      random: systemRandom,
      logger,
      directory,
      offer: { labels: [...labels], namespace },
      handlers: taskFunctions([...this.#handlers.values()]),
      slots,
      token,
      version: VERSION,
      baseEnv: inheritedEnvironment(),
      loneMs: 0,
    });
  }
}

function wrongUse(message: string, hint: string): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", message, { hint });
}
