import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { HodeiClient } from "../../cmd/package.ts";

/**
 * The program as a user meets it: child processes under plain Node (vitest transpiles, and would hide what Node refuses),
 * real sockets, real files. Everything started here is ended by `cleanUp`, by pid.
 */
export const ROOT = join(import.meta.dirname, "../..");
/** What `npx hodei` runs; it keeps what it compiled, which halves the time of a short command. */
export const MAIN = join(ROOT, "cmd/hodei.js");

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
  return beginHodei(args, options).done;
}

/** Any program, in the environment of a user's shell. */
export function run(command: string, args: string[], options: RunOptions = {}): Promise<Ran> {
  return begin(command, args, options).done;
}

/** A program that goes on, and what it has written so far. */
export type Running = {
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  done: Promise<Ran>;
};

/** `hodei` as `begin` starts it. */
export function beginHodei(args: string[], options: RunOptions & { address?: string } = {}): Running {
  const { address, env, ...rest } = options;
  const called: Record<string, string> = address === undefined ? {} : { HODEI_ADDRESS: address };
  return begin(process.execPath, [MAIN, ...args], { ...rest, env: { ...called, ...env } });
}

export function begin(command: string, args: string[], options: RunOptions = {}): Running {
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...cleanEnvironment(), ...options.env },
  });
  children.add(child);
  // Who ends without reading its input (a usage error) breaks the pipe; its exit code tells enough.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const done = new Promise<Ran>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exit, signal) => {
      children.delete(child);
      resolve({ code: exit ?? (signal === "SIGINT" ? 130 : -1), stdout, stderr });
    });
  });
  return { stdout: () => stdout, stderr: () => stderr, kill: (signal) => void child.kill(signal), done };
}

/** Ends a cluster as a user does, its workers with it. */
export async function stopDev(dev: Dev): Promise<number | string> {
  dev.kill("SIGTERM");
  return await dev.exited;
}

/** A file with this text in a folder of its own; answers its path. */
export function fileWith(name: string, text: string): string {
  const path = join(folder(), name);
  writeFileSync(path, text);
  return path;
}

/** A definition as YAML; `spec` is written as JSON, which YAML is too. */
export function definitionFile(name: string, version: string, spec: object): string {
  const document = { apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name, version }, spec };
  return fileWith(`${name}.yaml`, JSON.stringify(document, undefined, 1));
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

/** What a user's shell has, without what the test runner or a surrounding job set: Node shows no colours where `CI` is. */
function cleanEnvironment(): Record<string, string> {
  const inherited = Object.entries(process.env).filter(
    ([name]) =>
      !/^(HODEI_|WORKER_|SERVER_|EPHEMERAL_|VITEST|NODE_OPTIONS|NO_COLOR|FORCE_COLOR|CI$|GITHUB_|GITLAB_|TEAMCITY_)/.test(
        name,
      ),
  );
  return { ...(Object.fromEntries(inherited) as Record<string, string>), NO_COLOR: "1" };
}

async function readyLine(child: ChildProcess): Promise<Ready> {
  if (child.stdout === null) throw new Error("no stdout");
  for await (const line of createInterface({ input: child.stdout })) {
    const parsed = JSON.parse(line) as Ready;
    if (parsed.ready) return parsed;
  }
  // It has ended, or soon will: its exit says why.
  return await new Promise(() => undefined);
}
