import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { HodeiClient } from "../../cmd/package.ts";

/**
 * The program as a user meets it: child processes under plain Node (vitest transpiles, and would hide what Node refuses),
 * real sockets, real files. Everything started here is ended by `cleanUp`, by pid.
 */
export const ROOT = join(import.meta.dirname, "../..");
const MAIN = join(ROOT, "cmd/main.ts");

export type Ready = {
  ready: true;
  address: string;
  http: string;
  engines: { name: string; address: string; pid: number }[];
};
export type Dev = {
  ready: Ready;
  data: string;
  pid: number;
  /** Exit code, or the signal's name. */
  exited: Promise<number | string>;
  client: HodeiClient;
  kill(signal: NodeJS.Signals): void;
  stderr(): string;
};

const children = new Set<ChildProcess>();
const clients = new Set<HodeiClient>();
const folders = new Set<string>();
const workerPids = new Set<number>();

export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "hodei-e2e-"));
  folders.add(path);
  return path;
}

export async function startDev(
  options: { data?: string; args?: string[]; env?: Record<string, string> } = {},
): Promise<Dev> {
  const data = options.data ?? folder();
  const child = spawn(process.execPath, [MAIN, "dev", "--data", data, ...(options.args ?? ["--port", "0"])], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...cleanEnvironment(), HODEI_LOG_LEVEL: "info", ...options.env },
  });
  children.add(child);
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = new Promise<number | string>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? signal ?? -1)),
  );
  const ready = await Promise.race([
    readyLine(child),
    exited.then((code) => {
      throw new Error(`hodei dev ended with ${code} before it was ready:\n${stderr}`);
    }),
  ]);
  const client = new HodeiClient({ address: ready.address });
  clients.add(client);
  return {
    ready,
    data,
    pid: child.pid as number,
    exited,
    client,
    kill: (signal) => void child.kill(signal),
    stderr: () => stderr,
  };
}

type RunOptions = { env?: Record<string, string>; cwd?: string; input?: string };
export type Ran = { code: number; stdout: string; stderr: string };

/** Runs the command to its end; never throws for an exit code. */
export function hodei(args: string[], options: RunOptions & { address?: string } = {}): Promise<Ran> {
  const { address, env, ...rest } = options;
  const called: Record<string, string> = address === undefined ? {} : { HODEI_ADDRESS: address };
  return run(process.execPath, [MAIN, ...args], { ...rest, env: { ...called, ...env } });
}

/** Any program, in the environment of a user's shell. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...cleanEnvironment(), ...options.env },
  });
  children.add(child);
  child.stdin.end(options.input ?? "");
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number>((resolve) =>
    child.once("close", (exit, signal) => resolve(exit ?? (signal === "SIGINT" ? 130 : -1))),
  );
  children.delete(child);
  return { code, stdout, stderr };
}

/** The command's JSON; fails with its words when the exit code is another. */
export async function hodeiJson<T>(args: string[], address: string, expected = 0): Promise<T> {
  const { code, stdout, stderr } = await hodei([...args, "-o", "json"], { address });
  if (code !== expected)
    throw new Error(`hodei ${args.join(" ")} ended with ${code}, not ${expected}:\n${stderr}${stdout}`);
  return JSON.parse(stdout) as T;
}

/** Asks again until it holds; the deadline is the test's own. For what no event can tell. */
export async function until<T>(read: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
  for (;;) {
    const found = await read();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie answers signals but runs no more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    if (["ESRCH", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

/** Remembers a worker that outlives its cluster, so that it is ended when the test is. */
export function remember(pid: number): number {
  workerPids.add(pid);
  return pid;
}

export async function cleanUp(): Promise<void> {
  for (const client of clients) await client.close();
  for (const child of children) child.kill("SIGKILL");
  for (const pid of workerPids) if (alive(pid)) process.kill(pid, "SIGKILL");
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  for (const known of [clients, children, workerPids, folders]) known.clear();
}

/** What a user's shell has, without what the test runner or a surrounding job set. */
function cleanEnvironment(): Record<string, string> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(HODEI_|WORKER_|SERVER_|EPHEMERAL_|VITEST|NODE_OPTIONS|NO_COLOR|FORCE_COLOR)/.test(name),
  );
  return { ...(Object.fromEntries(inherited) as Record<string, string>), NO_COLOR: "1" };
}

async function readyLine(child: ChildProcess): Promise<Ready> {
  if (child.stdout === null) throw new Error("no stdout");
  for await (const line of createInterface({ input: child.stdout })) {
    const parsed = JSON.parse(line) as Ready;
    if (parsed.ready) return parsed;
  }
  throw new Error("stdout ended without a ready line");
}
