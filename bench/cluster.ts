import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { HodeiClient } from "../cmd/package.ts";
import { inFlight, now } from "./measure.ts";
import { childrenOf, cpuMs, residentMiB } from "./processes.ts";
import { oneStep } from "./workflows.ts";

/** A cluster as a user starts it: `hodei dev` in a process of its own, worker processes, data on disk, real gRPC. */
export type BenchCluster = {
  client: HodeiClient;
  /** Of the API. */
  address: string;
  /** From spawning it to its ready line. */
  readyMs: number;
  /** Used since the processes began. */
  cpu(): Cpu;
  residentMiB(): { cluster: number; workers: number };
  /** Of /metrics, the sum of a name's series. Throws when there is none. */
  metrics(): Promise<(name: string) => number>;
  stop(): Promise<void>;
};

/** In ms: this process, that of the cluster, those of all its workers. */
export type Cpu = { client: number; cluster: number; workers: number };

/** Warm local worker processes of every bench, and what they run at once together. */
export const WORKERS = 2;
export const SLOTS = 10;

const STOP_MS = 20_000;

/** Whatever ends this process ends the child too: it would keep ports and cores. `endOnSignals` makes signals such an end. */
export function endsWithUs(child: ChildProcess, signal: NodeJS.Signals): void {
  const end = (): void => void child.kill(signal);
  process.once("exit", end);
  child.once("exit", () => process.off("exit", end));
}

export function endOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
}

/** `data`: a folder that outlives the cluster; without it a temporary one that goes with it. */
export async function startCluster(options: { data?: string } = {}): Promise<BenchCluster> {
  const data = options.data ?? temporaryFolder();
  const program = [join(import.meta.dirname, "../cmd/hodei.js"), "dev", "--data", data, "--port", "0"];
  const shape = ["--engines", "1", "--workers", String(WORKERS)];
  // None: a queue of no-ops would make workers that only take the cores from those that are there.
  const given = ["--ephemeral", "0", "--handlers", join(import.meta.dirname, "handlers.ts")];
  const startedAt = now();
  const child = spawn(process.execPath, [...program, ...shape, ...given], { stdio: ["ignore", "pipe", "pipe"] });
  endsWithUs(child, "SIGTERM");
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    const timeout = AbortSignal.timeout(STOP_MS);
    timeout.addEventListener("abort", () => child.kill("SIGKILL"));
    await exited;
    if (options.data === undefined) removeFolder(data);
  };
  try {
    const ready = await readyLine(child);
    const readyMs = now() - startedAt;
    const client = new HodeiClient({ address: ready.address, deadlineMs: 60_000 });
    const pid = child.pid as number;
    const sum = (of: (pid: number) => number): number => childrenOf(pid).reduce((all, each) => all + of(each), 0);
    return {
      client,
      address: ready.address,
      readyMs,
      cpu: () => ({ client: ownCpuMs(), cluster: cpuMs(pid), workers: sum(cpuMs) }),
      residentMiB: () => ({ cluster: residentMiB(pid), workers: sum(residentMiB) }),
      metrics: () => readMetrics(ready.http),
      stop: async () => {
        await client.close();
        await end("SIGTERM");
      },
    };
  } catch (error) {
    await end("SIGKILL");
    throw error;
  }
}

/** Compilers, connections and statements warm up first: it is the running cluster that is measured. */
export async function withWarmCluster<T>(scale: number, run: (cluster: BenchCluster) => Promise<T>): Promise<T> {
  const cluster = await startCluster();
  try {
    await warmUp(cluster, scale);
    return await run(cluster);
  } finally {
    await cluster.stop();
  }
}

export async function warmUp({ client }: BenchCluster, scale: number): Promise<void> {
  await client.register(oneStep);
  const most = { count: Math.ceil(2000 * scale), width: 64, mostMs: 4_000 };
  await inFlight(most, () => client.execute(oneStep, {}));
}

/** CPU of one unit of work, by process. Other load on the machine moves this far less than it moves the time. */
export async function withCpu<T>(
  cluster: BenchCluster,
  run: () => Promise<T>,
  units: (result: T) => number,
): Promise<{ result: T; per: Cpu }> {
  const before = cluster.cpu();
  const result = await run();
  const after = cluster.cpu();
  const per = (name: keyof Cpu): number => (after[name] - before[name]) / units(result);
  return { result, per: { client: per("client"), cluster: per("cluster"), workers: per("workers") } };
}

/** In ms. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "hodei-bench-"));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

async function readyLine(child: ChildProcess): Promise<{ address: string; http: string }> {
  if (child.stdout === null || child.stderr === null) throw new Error("the cluster has no pipes");
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4000)));
  for await (const line of createInterface({ input: child.stdout }))
    return JSON.parse(line) as { address: string; http: string };
  throw new Error(`the cluster ended before it was ready:\n${words}`);
}

async function readMetrics(http: string): Promise<(name: string) => number> {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  return (name) => {
    const series = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    if (series.length === 0) throw new Error(`/metrics has no ${name}`);
    return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  };
}
