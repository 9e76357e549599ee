import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import type { FromDriver, Order, Report } from "./driver.ts";

/** One system under measurement, running. */
export type Peer = {
  name: string;
  run: (order: Order) => Promise<Report>;
  /** CPU since its processes began, in ms. */
  cpu(): PeerCpu;
  /** Durable writes of its journal since it began, as it counts them itself (README.md says what it counts). */
  writes: () => Promise<number>;
  stop(): Promise<void>;
};

/** `driver`: who starts and waits. `server`: who keeps the journal. `workers`: who runs the steps, when in another process. */
export type PeerCpu = { driver: number; server: number; workers: number };

const READY_MS = 30_000;
const GRACE_MS = 10_000;

export type Driver = { pid: number; run: (order: Order) => Promise<Report>; stop(): Promise<void> };

/** Forks `file` and waits until it says that it is ready. */
export async function startDriver(file: string, settings: Record<string, string>): Promise<Driver> {
  const child = forked(file, settings);
  const next = async (deadlineMs: number): Promise<FromDriver> => {
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(deadlineMs)]);
    const onExit = (): void => ended.abort(new Error(`${file} ended`));
    child.once("exit", onExit);
    try {
      const [message] = (await once(child, "message", { signal })) as [FromDriver];
      return message;
    } catch (error) {
      throw new Error(`${file} did not answer`, { cause: error });
    } finally {
      child.off("exit", onExit);
    }
  };
  const first = await next(READY_MS).catch(async (error: unknown) => {
    await end(child, "SIGKILL");
    throw error;
  });
  if (first.kind !== "ready") throw new Error(`${file} is not ready: ${JSON.stringify(first)}`);
  return {
    pid: child.pid as number,
    run: async (order) => {
      child.send(order);
      const answer = await next(order.mostMs + READY_MS);
      if (answer.kind === "report") return answer.report;
      throw new Error(`${file}: ${answer.kind === "failed" ? answer.message : answer.kind}`);
    },
    stop: () => end(child, "SIGTERM"),
  };
}

/** A child of ours with these settings alone beside the environment; what it writes to stderr is shown. */
export function forked(file: string, settings: Record<string, string>): ChildProcess {
  return fork(join(import.meta.dirname, file), [], {
    env: { ...process.env, ...settings },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const timeout = AbortSignal.timeout(GRACE_MS);
  timeout.addEventListener("abort", () => child.kill("SIGKILL"));
  await exited;
}

/** Of the loopback interface; another may take it before it is used, which then fails loudly. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const LOOK_MS = 100;

/** Asks until `probe` says yes; throws what it said last when that takes too long or `child` has ended. */
export async function until(what: string, child: ChildProcess, probe: () => Promise<boolean>): Promise<void> {
  const startedAt = systemClock.monotonic();
  for (;;) {
    const answer = await probe().catch((error: unknown) => error);
    if (answer === true) return;
    if (child.exitCode !== null || systemClock.monotonic() - startedAt > READY_MS)
      throw new Error(`${what} is not ready`, { cause: answer });
    await systemClock.sleep(LOOK_MS);
  }
}
