import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { statOf } from "../base/process.ts";
import { HodeiClient } from "../cmd/package.ts";
import { now } from "./measure.ts";

/** A cluster as a user starts it: `hodei dev` in a process of its own, worker processes, data on disk, real gRPC. */
export type BenchCluster = {
  client: HodeiClient;
  pid: number;
  /** From spawning it to its ready line. */
  readyMs: number;
  /** CPU spent since the process began, in ms: the cluster's own, and that of all its workers. */
  cpu(): { client: number; cluster: number; workers: number };
  residentMiB(): { cluster: number; workers: number[] };
  /** Bytes of JavaScript heap in use, as /metrics tells. */
  heapBytes(): Promise<number>;
  stop(): Promise<void>;
};

const STOP_MS = 20_000;
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

export async function startCluster(options: { workers: number; engines?: number }): Promise<BenchCluster> {
  const data = mkdtempSync(join(tmpdir(), "hodei-bench-"));
  const program = [join(import.meta.dirname, "../cmd/hodei.js"), "dev", "--data", data, "--port", "0"];
  const shape = ["--engines", String(options.engines ?? 1), "--workers", String(options.workers)];
  // None: a queue of no-ops would make workers that only take the cores from those that are there.
  const given = ["--ephemeral", "0", "--handlers", join(import.meta.dirname, "handlers.ts")];
  const startedAt = now();
  const child = spawn(process.execPath, [...program, ...shape, ...given], { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const remove = (): void => rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  try {
    const ready = await readyLine(child);
    const readyMs = now() - startedAt;
    const client = new HodeiClient({ address: ready.address, deadlineMs: 60_000 });
    const pid = child.pid as number;
    return {
      client,
      pid,
      readyMs,
      cpu: () => ({
        client: (process.cpuUsage().user + process.cpuUsage().system) / 1000,
        cluster: cpuMs(pid),
        workers: childrenOf(pid).reduce((sum, worker) => sum + cpuMs(worker), 0),
      }),
      residentMiB: () => ({ cluster: residentMiB(pid), workers: childrenOf(pid).map(residentMiB) }),
      heapBytes: () => heapBytes(ready.http),
      stop: async () => {
        await client.close();
        child.kill("SIGTERM");
        const timeout = AbortSignal.timeout(STOP_MS);
        timeout.addEventListener("abort", () => child.kill("SIGKILL"));
        await exited;
        remove();
      },
    };
  } catch (error) {
    child.kill("SIGKILL");
    await exited;
    remove();
    throw error;
  }
}

async function readyLine(child: ChildProcess): Promise<{ address: string; http: string }> {
  if (child.stdout === null || child.stderr === null) throw new Error("the cluster has no pipes");
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4000)));
  for await (const line of createInterface({ input: child.stdout }))
    return JSON.parse(line) as { address: string; http: string };
  throw new Error(`the cluster ended before it was ready:\n${words}`);
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

function cpuMs(pid: number): number {
  return ((statOf(pid)?.ticks ?? 0) * 1000) / TICKS_PER_SECOND;
}

function residentMiB(pid: number): number {
  return Math.round(((statOf(pid)?.residentPages ?? 0) * PAGE_BYTES) / MIB);
}

async function heapBytes(http: string): Promise<number> {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  return Number(/^nodejs_heap_size_used_bytes (\S+)/m.exec(text)?.[1] ?? Number.NaN);
}
