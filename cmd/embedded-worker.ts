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
import { inheritedEnvironment } from "./config.ts";
import { taskFunctions } from "./handlers.ts";
import { VERSION } from "./version.ts";

export type HodeiWorkerOptions = {
  /** Engines' `host:port`s; any of them serves. */
  engines: readonly string[];
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
  /** For workspaces and results not handed in yet. Default: a fresh folder, removed at stop. */
  directory?: string;
};

/** A worker inside one's own program: it runs the handlers registered here, and shell steps. */
export class HodeiWorker implements Service {
  readonly #options: HodeiWorkerOptions;
  readonly #handlers: unknown[] = [];
  #worker: Worker | undefined;
  #ownDirectory: string | undefined;

  constructor(options: HodeiWorkerOptions) {
    this.#options = options;
  }

  /** Registers a handler, before `start`: a typed one, or name, schema and function. */
  handle<Input, Output>(handler: TypedHandler<Input, Output>): this;
  handle<const S extends Schema>(
    name: string,
    input: S,
    run: (input: FromSchema<S>, context: HandlerContext) => unknown,
  ): this;
  handle(first: string | object, input?: Schema, run?: unknown): this {
    this.#handlers.push(typeof first === "string" ? { name: first, input, run } : first);
    return this;
  }

  /** Resolves when an engine has welcomed it. */
  async start(): Promise<void> {
    const {
      engines,
      name = `${hostname()}-${process.pid}`,
      labels = [],
      slots,
      namespace = "default",
      token,
      tls,
    } = this.#options;
    const logger = this.#options.logger ?? silentLogger;
    const directory = this.#options.directory ?? (this.#ownDirectory = mkdtempSync(join(tmpdir(), "hodei-worker-")));
    this.#worker = createWorker({
      addresses: [...engines],
      name,
      id: `${name}-${systemRandom.hex(4)}`,
      transport: createGrpcTransport({ clock: systemClock, logger, tls }),
      clock: systemClock,
      random: systemRandom,
      logger,
      directory,
      offer: { labels: [...labels], namespace },
      handlers: taskFunctions(this.#handlers),
      slots,
      token,
      version: VERSION,
      baseEnv: inheritedEnvironment(),
      loneMs: 0,
    });
    await this.#worker.start();
    await this.#worker.ready;
  }

  /** Finishes the running jobs, then leaves. */
  async stop(): Promise<void> {
    await this.#worker?.drain("stopped by its program");
    await this.#worker?.stop();
    this.#worker = undefined;
    if (this.#ownDirectory !== undefined) rmSync(this.#ownDirectory, { recursive: true, force: true });
    this.#ownDirectory = undefined;
  }
}
