import { flushCompileCache } from "node:module";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { systemClock } from "../base/clock.ts";
import { jsonLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";
import type { Worker } from "../worker/options.ts";
import { createWorker } from "../worker/worker.ts";
import { toHodeiError } from "../workflow/errors.ts";
import { type Config, inheritedEnvironment, loadConfig } from "./config.ts";
import { loadHandlers } from "./handlers.ts";
import type { HttpServer } from "./http.ts";
import { giveBackWhenIdle, thisProcess } from "./idle-memory.ts";
import { tlsFiles, tokenOf } from "./session.ts";
import { VERSION } from "./version.ts";

/**
 * One worker as a process, configured by environment alone (what a pod gets). It is its own entry, apart from the CLI,
 * because a cold start is paid for every ephemeral job. SIGTERM and SIGINT drain; a second one ends at once.
 */
export async function runWorker(config: Config): Promise<number> {
  const { worker: own } = config;
  const name = own.name ?? `${hostname()}-${process.pid}`;
  const logger = jsonLogger(config.logLevel, { component: "worker", worker: own.id ?? name });
  const worker = createWorker({
    addresses: [...new Set([`${own.serverHost}:${own.serverPort}`, ...own.engines])],
    name,
    id: own.id ?? `${name}-${systemRandom.hex(4)}`,
    transport: createGrpcTransport({ clock: systemClock, logger, tls: tlsFiles(config) }),
    clock: systemClock,
    random: systemRandom,
    logger,
    directory: own.directory ?? join(tmpdir(), `hodei-worker-${own.id ?? `${name}-${process.pid}`}`),
    offer: { labels: [...own.capabilities, ...config.labels], namespace: config.namespace },
    handlers: await loadHandlers(own.handlersFile, logger),
    slots: own.slots,
    toolsFile: own.toolsFile,
    ephemeral: own.ephemeral,
    requestId: own.requestId,
    token: tokenOf(config.tokenFile),
    version: VERSION,
    baseEnv: inheritedEnvironment(),
  });
  let asked = false;
  const leave = (): void => {
    if (asked) return void worker.stop();
    asked = true;
    void worker.drain("signal");
  };
  process.on("SIGTERM", leave);
  process.on("SIGINT", leave);
  const http = own.httpAddress === undefined ? undefined : await healthOf(worker, own.httpAddress);
  await worker.start();
  // A worker that is killed writes no compile cache at its end, and most are.
  void worker.ready.then(() => flushCompileCache());
  const memory = giveBackWhenIdle(thisProcess(systemClock));
  const { reason, exitCode } = await worker.done;
  memory.cancel();
  await http?.stop();
  logger.info({ reason }, "worker ended");
  return exitCode;
}

/** Loaded when asked for alone: most workers are short-lived and serve no HTTP. */
async function healthOf(worker: Worker, address: string): Promise<HttpServer> {
  const [{ serveHttp }, { createMetrics }] = await Promise.all([import("./http.ts"), import("./metrics.ts")]);
  const { registry } = createMetrics({});
  let welcomed = false;
  void worker.ready.then(() => (welcomed = true));
  // An address is checked to hold a colon when it is read.
  const colon = address.lastIndexOf(":");
  return await serveHttp({
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    registry,
    notReady: () => (welcomed ? [] : ["engine"]),
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    process.exitCode = await runWorker(loadConfig());
  } catch (error) {
    const { code, message, field } = toHodeiError(error);
    process.stderr.write(`${JSON.stringify({ level: "error", code, message, field })}\n`);
    process.exitCode = 1;
  }
}
