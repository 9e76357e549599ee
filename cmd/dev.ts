import { systemClock, type Timer } from "../base/clock.ts";
import { jsonLogger } from "../base/log.ts";
import { type Config, startedByNpx, USUAL_PORT } from "./config.ts";
import { createOrchestrator } from "./embedded.ts";
import { EXIT } from "./exit.ts";
import { giveBackWhenIdle, thisProcess } from "./idle-memory.ts";
import { print, say } from "./output.ts";

export type DevOptions = {
  data: string;
  host: string;
  port: number | undefined;
  httpPort: number | undefined;
  engines: number;
  workers: number;
  ephemeral: number;
  handlersFile: string | undefined;
};

const PARENT_LOOK_MS = 500;

/**
 * `hodei dev`: a cluster until SIGINT or SIGTERM. The ready line is the only thing on stdout; a second signal ends at
 * once, as kill -9 would: what was committed is there at the next start.
 */
export async function runDev(config: Config, options: DevOptions): Promise<number> {
  const logger = jsonLogger(config.logLevel);
  const started = systemClock.monotonic();
  const cluster = await createOrchestrator({
    ...options,
    // A port that the environment names is a wish; the usual one is only where a first start goes.
    port: options.port ?? (config.grpcPort === USUAL_PORT ? undefined : config.grpcPort),
    usualPort: USUAL_PORT,
    labels: config.labels,
    namespace: config.namespace,
    retentionMs: config.retentionMs,
    loadBalancer: config.loadBalancer,
    logger,
  });
  let watch: Timer | undefined;
  const asked = new Promise<NodeJS.Signals | "npx ended">((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve(signal));
    if (startedByNpx()) watch = whenOrphaned(() => resolve("npx ended"));
  });
  print(JSON.stringify({ ready: true, address: cluster.address, http: cluster.http, engines: cluster.engines }));
  logger.info({ tookMs: Math.round(systemClock.monotonic() - started), data: options.data }, "ready");
  const memory = giveBackWhenIdle(thisProcess(systemClock));
  const signal = await asked;
  memory.cancel();
  watch?.cancel();
  for (const again of ["SIGINT", "SIGTERM"] as const) process.once(again, () => process.exit(EXIT.interrupted));
  if (process.stderr.isTTY) say("stopping: running jobs may end first; again to end now");
  logger.info({ signal }, "stopping");
  await cluster.stop();
  return EXIT.ok;
}

/** Looks, until cancelled, whether the parent is another than at first. */
function whenOrphaned(act: () => void): Timer {
  const parent = process.ppid;
  const look = (): Timer =>
    systemClock.after(PARENT_LOOK_MS, () => {
      if (process.ppid === parent) timer = look();
      else act();
    });
  let timer = look();
  return { cancel: () => timer.cancel() };
}
