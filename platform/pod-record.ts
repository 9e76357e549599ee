import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isSystemError, startTimeOf } from "../base/process.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { Pod } from "./platform.ts";

/** In the environment of every process of a pod: leads to those that no record and no process group leads to. */
export const POD_UID_VARIABLE = "HODEI_POD_UID";

/** What is known of a pod, as `pod.json` in its folder: written before the process is started, and after each change. */
export type PodRecord = {
  name: string;
  uid: string;
  owner: string;
  request: string;
  labels: Record<string, string>;
  createdAtMs: number;
  /** The process that started it: while that lives, it alone tells how the pod ended (only a parent learns exit codes). */
  maker: ProcessId;
  process?: ProcessId;
  ended?: { phase: "succeeded" | "failed"; exitCode?: number; reason?: Pod["reason"] };
};

export type ProcessId = { pid: number; startTime: string };

/** Whether this very process runs: a pid alone may be another's by now. */
export function lives(id: ProcessId): boolean {
  return startTimeOf(id.pid) === id.startTime;
}

export function podOf(record: PodRecord): Pod {
  const { name, uid, request, labels, createdAtMs, ended } = record;
  return {
    name,
    uid,
    request,
    labels,
    createdAtMs,
    ...(record.process ? { pid: record.process.pid } : {}),
    phase: ended?.phase ?? (record.process ? "running" : "pending"),
    ...(ended?.reason ? { reason: ended.reason } : {}),
    ...(ended?.exitCode === undefined ? {} : { exitCode: ended.exitCode }),
  };
}

/** Whole or not at all, by rename. Not synced: a power failure that could lose it ends every process it speaks of. */
export function writeRecord(directory: string, record: PodRecord): void {
  const path = join(directory, record.name, "pod.json");
  writeFileSync(`${path}.${process.pid}`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${path}.${process.pid}`, path);
}

/** Undefined when there is none (yet). */
export function readRecord(directory: string, name: string): PodRecord | undefined {
  const path = join(directory, name, "pod.json");
  try {
    return JSON.parse(readFileSync(path, "utf8")) as PodRecord;
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return undefined;
    throw new HodeiError("DATA_CORRUPT", `${path} cannot be read`, { cause: error });
  }
}

export function readRecords(directory: string): PodRecord[] {
  mkdirSync(directory, { recursive: true });
  const names = readdirSync(directory).filter((name) => !name.startsWith("."));
  return names.flatMap((name) => readRecord(directory, name) ?? []);
}

/**
 * The processes that carry this pod's uid in their environment, oldest first: its first one, and whatever descends from it
 * and did not hide, whichever group it went to. Linux only; elsewhere none is found.
 */
export function findByUid(uid: string): ProcessId[] {
  if (process.platform !== "linux") return [];
  const found = readdirSync("/proc").flatMap((entry) => {
    if (!/^[0-9]+$/.test(entry) || !environmentOf(entry).includes(`${POD_UID_VARIABLE}=${uid}`)) return [];
    const pid = Number(entry);
    const startTime = startTimeOf(pid);
    return startTime === undefined ? [] : [{ pid, startTime }];
  });
  return found.toSorted((a, b) => Number(a.startTime) - Number(b.startTime) || a.pid - b.pid);
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch (error) {
    // Others' processes are closed to us, and any may end while we look.
    if (isSystemError(error, "ENOENT", "ESRCH", "EACCES", "EPERM")) return [];
    throw error;
  }
}
