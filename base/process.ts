import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/**
 * Who a process is, so that a pid that was used again is never taken for the one that died. Here and not in a role
 * because three rooms that may not import each other must agree on it: the worker (says who it is), the engine (checks
 * whether a worker of this host is gone) and the process platform (finds its pods after a restart).
 */

/**
 * When the process was started, in clock ticks since boot (field 22 of /proc/PID/stat), as text. Undefined when there is
 * no such process or it is a zombie: a zombie runs nothing any more. Without /proc: "" for every pid that can be signalled.
 */
export function startTimeOf(pid: number): string | undefined {
  const fields = statOf(pid);
  if (fields) return fields.state === "Z" || fields.state === "X" ? undefined : fields.startTime;
  if (process.platform === "linux") return undefined;
  return canSignal(pid) ? "" : undefined;
}

export type ProcessStat = {
  state: string;
  group: number;
  session: number;
  /** User and system time in clock ticks (1/100 s). */
  ticks: number;
  startTime: string;
  residentPages: number;
};

/** One read of /proc/PID/stat; undefined when there is none. */
export function statOf(pid: number | string): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    // ESRCH: it ended between open and read.
    if (isSystemError(error, "ENOENT", "ESRCH", "ENOTDIR")) return undefined;
    throw error;
  }
  // The command name stands in parentheses and may hold blanks and parentheses itself: count from the last one.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const number = (index: number): number => Number(fields[index] ?? 0);
  return {
    state: fields[0] ?? "",
    group: number(2),
    session: number(3),
    ticks: number(11) + number(12),
    startTime: fields[19] ?? "",
    residentPages: number(21),
  };
}

export type HostIdentity = { bootId: string; pidNamespace: string; pid: number; startTime: string; hostname: string };

/** Of this process. Two processes can judge each other's pids when boot id and pid namespace are equal and not empty. */
export function hostIdentity(): HostIdentity {
  return {
    bootId: readOr("", () => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()),
    pidNamespace: readOr("", () => readlinkSync("/proc/self/ns/pid")),
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? "",
    hostname: hostname(),
  };
}

/** Whether `error` is one of the operating system's with one of these codes ("ENOENT"). */
export function isSystemError(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

function canSignal(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isSystemError(error, "EPERM");
  }
}

function readOr(fallback: string, read: () => string): string {
  try {
    return read();
  } catch (error) {
    // No /proc (macOS), or one that is closed to us: then nobody judges our pid from outside.
    if (isSystemError(error, "ENOENT", "EACCES", "EPERM")) return fallback;
    throw error;
  }
}
