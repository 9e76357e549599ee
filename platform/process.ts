import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";
import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import { isSystemError, startTimeOf } from "../base/process.ts";
import type { Random } from "../base/random.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { Platform, Pod, PodSpec } from "./platform.ts";
import { capFile, tailOf } from "./pod-log.ts";
import { findByUid, lives, podOf, POD_UID_VARIABLE, readRecord, readRecords, writeRecord } from "./pod-record.ts";
import type { PodRecord, ProcessId } from "./pod-record.ts";

/** How often pods that are nobody's children here are looked at, while someone watches. */
const LOOK_MS = 1_000;
const DELETE_LOOK_MS = 25;
/** After SIGKILL; longer only when the kernel itself waits (a dead network disk). */
const KILL_MS = 5_000;
/** Ended pods that nobody deleted: the newest stay listed. */
const ENDED_MAXIMUM = 100;
const REMOVED = ".removed-";
const LOG_BYTES = 8 * 1024 * 1024;
/** A pod that its maker did not finish starting: after this it will not start any more. */
const PENDING_MS = 5_000;

export type ProcessPlatformOptions = {
  /** argv of a worker, e.g. [node, cmd/main.ts, worker]; absolute paths, it starts in this process's folder. */
  command: string[];
  /** What every worker gets; the spec's env wins. Nothing else is inherited. */
  env: Record<string, string>;
  /** Only pods of this owner are listed. */
  owner: string;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** One folder per pod: `pod.json`, `output.log`, and `work`, its own (HODEI_WORKER_DIRECTORY). Several platforms may share it. */
  directory: string;
};

/**
 * Pods are local processes, each the leader of its own process group. They outlive whoever made them: output goes to a
 * file and not to a pipe, and what is known of a pod stands in its folder, from which the next platform adopts it (the same pid with
 * the same start time is the same pod). `image` means nothing here and is not looked at: a process runs on what the host has.
 */
export function createProcessPlatform(options: ProcessPlatformOptions): Platform {
  mkdirSync(options.directory, { recursive: true });
  // Deletions that were cut short.
  for (const name of readdirSync(options.directory)) {
    if (name.startsWith(REMOVED)) rmSync(join(options.directory, name), { recursive: true, force: true });
  }
  return new ProcessPlatform(options);
}

class ProcessPlatform implements Platform {
  readonly name = "process";
  readonly #options: ProcessPlatformOptions;
  readonly #listeners = new Set<(pod: Pod) => void>();
  /** What listeners were last told, by uid. */
  readonly #told = new Map<string, Pod["phase"]>();
  readonly #deletions = new Map<string, Promise<void>>();
  /** Ends that are told but not written, because the disk was full: only we know them. By uid. */
  readonly #unwritten = new Map<string, NonNullable<PodRecord["ended"]>>();
  #timer: Timer | undefined;

  constructor(options: ProcessPlatformOptions) {
    this.#options = options;
  }

  async create(spec: PodSpec): Promise<Pod> {
    const { directory, clock, random, owner } = this.#options;
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(spec.name)) {
      throw new HodeiError("INVALID_ARGUMENT", `"${spec.name}" is no pod name`, { field: "name" });
    }
    const known = this.#existing(spec);
    if (known) return known;
    const record: PodRecord = {
      name: spec.name,
      uid: random.id(),
      owner,
      request: spec.request,
      labels: { ...spec.labels, "managed-by": owner },
      createdAtMs: clock.now(),
      maker: { pid: process.pid, startTime: startTimeOf(process.pid) ?? "" },
    };
    // First what is wanted, then the deed: a crash between them leaves a record that leads to the process.
    mkdirSync(join(directory, spec.name, "work"), { recursive: true });
    writeRecord(directory, record);
    return podOf(await this.#spawn(spec, record));
  }

  async list(): Promise<Pod[]> {
    const { directory, owner } = this.#options;
    const records = readRecords(directory).filter((record) => record.owner === owner);
    for (const record of records) capFile(join(directory, record.name, "output.log"), LOG_BYTES);
    const current = records.map((record) => this.#refresh(record));
    await this.#dropOldest(current);
    return current.map(podOf);
  }

  delete(request: { name: string; uid: string; graceMs: number }): Promise<void> {
    const running = this.#deletions.get(request.uid);
    if (running) return running;
    const deletion = this.#delete(request).finally(() => this.#deletions.delete(request.uid));
    this.#deletions.set(request.uid, deletion);
    return deletion;
  }

  watch(onChange: (pod: Pod) => void): () => void {
    // Each call is a watch of its own, also with a function that was given before.
    const listener = (pod: Pod): void => onChange(pod);
    if (this.#listeners.size === 0) {
      for (const record of this.#records()) this.#told.set(record.uid, podOf(record).phase);
    }
    this.#listeners.add(listener);
    this.#timer ??= this.#options.clock.after(LOOK_MS, () => this.#look());
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    };
  }

  async logs(request: { name: string; uid: string; tailBytes: number }): Promise<string> {
    const { directory } = this.#options;
    if (readRecord(directory, request.name)?.uid !== request.uid) return "";
    const path = join(directory, request.name, "output.log");
    capFile(path, LOG_BYTES);
    return tailOf(path, request.tailBytes);
  }

  #records(): PodRecord[] {
    return readRecords(this.#options.directory).filter((record) => record.owner === this.#options.owner);
  }

  /** The pod that this name stands for already. */
  #existing(spec: PodSpec): Pod | undefined {
    const record = readRecord(this.#options.directory, spec.name);
    if (!record) return undefined;
    if (record.request === spec.request && record.owner === this.#options.owner) return podOf(this.#refresh(record));
    throw new HodeiError("INVALID_ARGUMENT", `the name "${spec.name}" is taken by the request ${record.request}`, {
      field: "name",
      facts: { request: record.request, owner: record.owner },
    });
  }

  async #spawn(spec: PodSpec, record: PodRecord): Promise<PodRecord> {
    const { command, env, directory } = this.#options;
    const [program, ...args] = command;
    const folder = join(directory, spec.name);
    // Append mode: the file can be cut while the process writes on.
    const output = openSync(join(folder, "output.log"), "a", 0o600);
    let child: ChildProcess;
    try {
      child = spawn(program ?? "", args, {
        detached: true,
        stdio: ["ignore", output, output],
        env: {
          ...env,
          ...spec.env,
          HODEI_WORKER_DIRECTORY: join(folder, "work"),
          [POD_UID_VARIABLE]: record.uid,
        },
      });
    } finally {
      closeSync(output);
    }
    // Whether it runs is known at once from the pid; the error's reason comes as an event.
    if (child.pid === undefined) {
      const error = await new Promise<Error>((resolve) => child.once("error", resolve));
      await this.#remove(record);
      throw startFailure(program ?? "", error);
    }
    child.unref();
    record.process = { pid: child.pid, startTime: startTimeOf(child.pid) ?? "" };
    try {
      writeRecord(directory, record);
    } catch (error) {
      // A process that no record leads to would never be deleted.
      signalGroup(child.pid, "SIGKILL");
      await this.#remove(record);
      throw startFailure(program ?? "", error as Error);
    }
    child.once("exit", (code, signal) => this.#ended(record, code, signal));
    this.#tell(record);
    return record;
  }

  #ended(record: PodRecord, code: number | null, signal: NodeJS.Signals | null): void {
    const { logger } = this.#options;
    logger.info({ pod: record.name, pid: record.process?.pid, code, signal }, "pod ended");
    record.ended =
      code === 0
        ? { phase: "succeeded", exitCode: 0 }
        : {
            phase: "failed",
            // As a shell says it.
            exitCode: code ?? 128 + (signal === null ? 0 : constants.signals[signal]),
            // A worker that fails is our machinery's failure: what steps do to themselves never ends their worker.
            reason:
              signal === null
                ? { class: "infrastructure", code: "Error", message: `the process exited with code ${code}` }
                : { class: "infrastructure", code: "Killed", message: `the process was killed by ${signal}` },
          };
    this.#keepEnd(record, record.ended);
    this.#tell(record);
  }

  /** Never throws: it comes with an event, and a disk that is full would end everything in this process. */
  #keepEnd(record: PodRecord, ended: NonNullable<PodRecord["ended"]>): void {
    const { directory, logger } = this.#options;
    try {
      if (readRecord(directory, record.name)?.uid === record.uid) writeRecord(directory, record);
      this.#unwritten.delete(record.uid);
    } catch (error) {
      if (!this.#unwritten.has(record.uid)) {
        logger.warn({ error, pod: record.name }, "the end of a pod could not be written; trying again");
      }
      this.#unwritten.set(record.uid, ended);
    }
  }

  /** Compares a record with the process it speaks of. Ends of our own children come as events and are not guessed here. */
  #refresh(record: PodRecord): PodRecord {
    const { clock, directory } = this.#options;
    const unwritten = this.#unwritten.get(record.uid);
    if (unwritten) {
      record.ended = unwritten;
      this.#keepEnd(record, unwritten);
    }
    if (record.ended || lives(record.maker)) return record;
    if (!record.process) {
      record.process = findByUid(record.uid)[0];
      // Its maker died around the start. A moment of patience: the process may have been made and not become ours yet.
      if (!record.process && clock.now() - record.createdAtMs < PENDING_MS) return record;
    } else if (lives(record.process)) {
      return record;
    }
    if (!record.process || !lives(record.process)) {
      record.ended = {
        phase: "failed",
        reason: {
          class: "infrastructure",
          code: record.process ? "Gone" : "NeverStarted",
          message: record.process
            ? "the process ended while nobody watched it; its exit code is not known"
            : "whoever made this pod died before its process was started",
        },
      };
    }
    writeRecord(directory, record);
    return record;
  }

  /** The safety net for pods that are not our children; ours are told of at once. */
  #look(): void {
    this.#timer = undefined;
    if (this.#listeners.size === 0) return;
    try {
      for (const record of this.#records()) this.#tell(this.#refresh(record));
    } catch (error) {
      this.#options.logger.warn({ error }, "pods could not be looked at; trying again");
    }
    this.#timer = this.#options.clock.after(LOOK_MS, () => this.#look());
  }

  #tell(record: PodRecord, phase: Pod["phase"] = podOf(record).phase): void {
    if (this.#told.get(record.uid) === phase) return;
    if (this.#listeners.size > 0 && phase !== "gone") this.#told.set(record.uid, phase);
    if (phase === "gone") this.#told.delete(record.uid);
    for (const listener of this.#listeners) listener({ ...podOf(record), phase });
  }

  async #delete(request: { name: string; uid: string; graceMs: number }): Promise<void> {
    const { clock, directory } = this.#options;
    const found = readRecord(directory, request.name);
    if (!found || found.uid !== request.uid || found.owner !== this.#options.owner) return;
    const record = this.#refresh(found);
    const target = record.process ?? findByUid(record.uid)[0];
    if (target && lives(target)) {
      signalGroup(target.pid, "SIGTERM");
      const until = clock.monotonic() + request.graceMs;
      while (lives(target) && clock.monotonic() < until) await clock.sleep(DELETE_LOOK_MS);
      // The group is ours as long as its leader lives; a number that is free may be anyone's.
      if (lives(target)) signalGroup(target.pid, "SIGKILL");
    }
    await this.#killRest(record);
    await this.#remove(record);
    this.#tell(record, "gone");
  }

  /** Whatever carries the pod's uid: a worker's steps live in groups of their own, and may outlive a worker that crashed. */
  async #killRest(record: PodRecord): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + KILL_MS;
    const rest = (): ProcessId[] => {
      const found = findByUid(record.uid);
      return record.process && lives(record.process) ? [record.process, ...found] : found;
    };
    for (let left = rest(); left.length > 0; left = rest()) {
      if (clock.monotonic() > until) {
        throw new HodeiError(
          "UNAVAILABLE",
          `processes of pod ${record.name} do not die: ${left.map((one) => one.pid).join(", ")}`,
        );
      }
      for (const { pid } of left) signal(pid, "SIGKILL");
      await clock.sleep(DELETE_LOOK_MS);
    }
  }

  /** Renamed first: the name is free at once, and a half-deleted folder is never taken for a pod. */
  async #remove(record: PodRecord): Promise<void> {
    const path = join(this.#options.directory, record.name);
    const trash = join(this.#options.directory, `${REMOVED}${record.uid}`);
    if (existsSync(path)) renameSync(path, trash);
    await rm(trash, { recursive: true, force: true, maxRetries: 3 });
    this.#unwritten.delete(record.uid);
  }

  async #dropOldest(records: PodRecord[]): Promise<void> {
    const ended = records.filter((record) => record.ended).toSorted((a, b) => b.createdAtMs - a.createdAtMs);
    for (const record of ended.slice(ENDED_MAXIMUM)) {
      await this.#remove(record);
      records.splice(records.indexOf(record), 1);
    }
  }
}

function startFailure(program: string, error: Error): HodeiError {
  if (isSystemError(error, "ENOENT", "EACCES", "ENOEXEC", "E2BIG")) {
    return new HodeiError("INVALID_ARGUMENT", `${program} cannot be started: ${error.message}`, {
      field: "command",
      cause: error,
    });
  }
  if (isSystemError(error, "EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "ENOSPC", "EDQUOT")) {
    return new HodeiError("RESOURCE_EXHAUSTED", `no room for another process: ${error.message}`, { cause: error });
  }
  return new HodeiError("UNAVAILABLE", `${program} could not be started: ${error.message}`, { cause: error });
}

function signalGroup(group: number, name: NodeJS.Signals): void {
  signal(-group, name);
}

function signal(target: number, name: NodeJS.Signals): void {
  try {
    process.kill(target, name);
  } catch (error) {
    if (!isSystemError(error, "ESRCH")) throw error;
  }
}
