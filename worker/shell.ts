import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "../base/clock.ts";
import { isSystemError } from "../base/process.ts";
import type { AssignedJob } from "../transport/api/worker.ts";
import type { Outcome, Work } from "../workflow/job.ts";
import { isHodeiError } from "../workflow/errors.ts";
import { LIMITS } from "../workflow/limits.ts";
import { stepEnv } from "./environment.ts";
import type { JobLog } from "./logs.ts";
import { oomKills } from "./memory-evidence.ts";
import { parseOutputs, tooLarge } from "./outputs.ts";
import { endGroup, groupLives } from "./process-group.ts";
import type { Reaper } from "./reaper.ts";
import { waitAtMost } from "./wait.ts";

/** What a step left in the background may finish in so long; then it is ended with the step. */
const LINGER_MS = 500;
const LINGER_GRACE_MS = 2_000;
/** How long a step may be made to wait for a slow log before bytes are dropped instead. */
const STALL_MS = 200;

export type ShellParts = {
  clock: Clock;
  reaper: Reaper;
  inherited: Record<string, string>;
  /** Where job folders are made. */
  directory: string;
  /** The workspace's folder; absent: a fresh one, removed afterwards. */
  workspace?: string;
  log: JobLog;
  /** Whether the log is being taken somewhere. */
  logsLive: () => boolean;
  /** Aborted: end the process group (SIGTERM, after the grace period SIGKILL). */
  signal: AbortSignal;
  /** Between SIGTERM and SIGKILL; asked when the first is sent. */
  graceMs: () => number;
  /** Told once the process group exists. */
  onGroup?: (group: number) => void;
};

export type RunWork = Extract<Work, { kind: "run" }>;
type Exit = { code: number | null; signal: NodeJS.Signals | null };

/**
 * Runs a script in a process group of its own and tells how it ended. When `signal` aborts, what it answers says only how
 * the process ended: the caller knows why it aborted. Rejects only for defects of the machine (no disk, no process).
 */
export async function runShell(job: AssignedJob, work: RunWork, parts: ShellParts): Promise<Outcome> {
  const unusable = Object.keys(work.env).find((name) => `${name}${work.env[name] ?? ""}`.includes("\0"));
  if (unusable !== undefined) return withNul(unusable);
  const folder = await mkdtemp(join(parts.directory, "job-"));
  try {
    const script = join(folder, "script.sh");
    const output = join(folder, "output");
    const cwd = parts.workspace ?? join(folder, "work");
    await Promise.all([
      writeFile(script, work.script, { mode: 0o600 }),
      writeFile(output, "", { mode: 0o600 }),
      mkdir(cwd, { recursive: true }),
    ]);
    if (parts.signal.aborted) return { kind: "cancelled" };
    const killsBefore = await oomKills();
    const env = stepEnv(parts.inherited, job, { output, workspace: cwd });
    const exit = await runGroup(argvOf(work.shell, script), { cwd, env }, parts);
    parts.log.close();
    if (exit.code === 0) return await outputsOf(output);
    // A shell puts the script's name before its own complaints; the folder says nothing and fills the line.
    const lastLine = parts.log.lastLine(400).replaceAll(`${folder}/`, "");
    return failureOf(exit, await oomRose(exit, killsBefore), lastLine.slice(0, 200));
  } finally {
    parts.log.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The script is a file and never part of a command line: no quoting, no length limit, and its name stands in errors. */
function argvOf(shell: RunWork["shell"], script: string): string[] {
  return shell === "bash" ? ["bash", "-eo", "pipefail", script] : ["sh", "-e", script];
}

/**
 * The first shell only joins stderr to stdout and becomes the real one: with one pipe the log has both in the order they
 * were written, with two pipes it would have them in the order we happened to read.
 */
const JOIN = 'exec "$@" 2>&1';

type Start = { cwd: string; env: Record<string, string> };

async function runGroup(argv: string[], start: Start, parts: ShellParts): Promise<Exit> {
  const child = spawn("/bin/sh", ["-c", JOIN, "sh", ...argv], {
    cwd: start.cwd,
    env: start.env,
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const exited = exitOf(child);
  const group = child.pid;
  if (group === undefined) return await exited; // rejects with why it could not be started
  parts.reaper.add(group);
  parts.onGroup?.(group);
  const read = readInto(child.stdout, parts);
  let ending: Promise<void> | undefined;
  const end = (): void => void (ending ??= endGroup(group, parts.graceMs(), parts.clock, exited));
  parts.signal.addEventListener("abort", end, { once: true });
  if (parts.signal.aborted) end();
  try {
    const exit = await exited;
    await (ending ?? endLingering(group, read, parts.clock));
    return exit;
  } finally {
    parts.signal.removeEventListener("abort", end);
    await ending;
    // Who left the group (setsid) may still hold the pipe; its output is no longer ours.
    await waitAtMost(parts.clock, LINGER_MS, read);
    child.stdout.destroy();
    await read;
    parts.reaper.remove(group);
  }
}

/** After a normal end: wait a moment for the last output and for children that are just finishing, then end the group. */
async function endLingering(group: number, read: Promise<void>, clock: Clock): Promise<void> {
  if (!groupLives(group)) return;
  const until = clock.monotonic() + LINGER_MS;
  await waitAtMost(clock, LINGER_MS, read);
  while (groupLives(group) && clock.monotonic() < until) await clock.sleep(20);
  if (groupLives(group)) await endGroup(group, LINGER_GRACE_MS, clock, Promise.resolve());
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

/** Resolves when the pipe has ended. A full log makes the step wait a little, so that bursts are kept whole. */
function readInto(stdout: Readable, parts: ShellParts): Promise<void> {
  let stalled = false;
  return new Promise((resolve) => {
    stdout.on("data", (data: Buffer) => {
      const room = parts.log.write(data);
      if (room) stalled = false;
      // Once per jam: who is slower than STALL_MS now will not be faster for the next chunk.
      if (room || stalled || !parts.logsLive()) return;
      stalled = true;
      stdout.pause();
      void parts.log.room(STALL_MS).then(() => stdout.resume());
    });
    stdout.once("close", resolve);
    // Without a listener a read error would end the worker; the pipe closes after it.
    stdout.once("error", () => stdout.destroy());
  });
}

async function outputsOf(path: string): Promise<Outcome> {
  try {
    return { kind: "succeeded", outputs: parseOutputs(await readBounded(path)) };
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return { kind: "succeeded", outputs: {} }; // the step removed it
    if (!isHodeiError(error)) throw error;
    return { kind: "failed", failure: { class: "user", type: "InvalidOutput", message: error.message } };
  }
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    if ((await file.stat()).size > LIMITS.outputBytes) throw tooLarge();
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/** A shell that reports its child's SIGKILL exits with 128 + 9. */
async function oomRose(exit: Exit, before: number | undefined): Promise<boolean> {
  if (before === undefined || (exit.signal !== "SIGKILL" && exit.code !== 137)) return false;
  return ((await oomKills()) ?? 0) > before;
}

/** The operating system ends a variable there: whoever wrote it would find it cut, and no other worker could do better. */
function withNul(name: string): Outcome {
  const message = `the environment variable ${JSON.stringify(name)} holds a NUL character, which none can`;
  return { kind: "failed", failure: { class: "user", type: "InvalidEnvironment", message } };
}

function failureOf(exit: Exit, outOfMemory: boolean, lastLine: string): Outcome {
  const how = exit.signal ? `was killed by ${exit.signal}` : `exited with code ${exit.code ?? 0}`;
  const why = outOfMemory ? " for memory (the kernel's OOM killer)" : "";
  return {
    kind: "failed",
    failure: {
      class: outOfMemory ? "resource" : "user",
      message: `the command ${how}${why}${lastLine ? `: ${lastLine}` : ""}`,
      ...(exit.code === null ? {} : { exitCode: exit.code }),
      ...(exit.signal ? { signal: exit.signal } : {}),
    },
  };
}
