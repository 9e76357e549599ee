import { readdirSync, readFileSync } from "node:fs";
import { isSystemError, statOf } from "../base/process.ts";

const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

/**
 * CPU that the threads of a process have used since they began, in ms. From the scheduler's nanoseconds: the ticks of
 * /proc/PID/stat are 10 ms each, which is the cost of ten workflows. 0 for a process that has ended.
 */
export function cpuMs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of listed(`/proc/${pid}/task`))
    nanoseconds += Number(textOf(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0]);
  return nanoseconds / 1e6;
}

const TICK_MS = 10;

/** CPU of a process and of everything under it, those that ended and were waited for included. */
export function treeCpuMs(pid: number): number {
  const stat = textOf(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // cutime and cstime, fields 16 and 17.
  const ended = (Number(fields[13] ?? 0) + Number(fields[14] ?? 0)) * TICK_MS;
  return cpuMs(pid) + ended + childrenOf(pid).reduce((sum, child) => sum + treeCpuMs(child), 0);
}

/** CPU that the whole machine has used since it began, other guests of its host included, in ms. */
export function machineCpuMs(): number {
  const [, user, nice, system, , , irq, softirq, steal] = textOf("/proc/stat").split(/\s+/, 9).map(Number);
  return [user, nice, system, irq, softirq, steal].reduce<number>((sum, ticks) => sum + (ticks ?? 0), 0) * TICK_MS;
}

export function childrenOf(pid: number): number[] {
  return listed(`/proc/${pid}/task`).flatMap((thread) => {
    const text = textOf(`/proc/${pid}/task/${thread}/children`).trim();
    return text === "" ? [] : text.split(" ").map(Number);
  });
}

export function residentMiB(pid: number): number {
  return ((statOf(pid)?.residentPages ?? 0) * PAGE_BYTES) / MIB;
}

const GONE = ["ENOENT", "ESRCH"];

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isSystemError(error, ...GONE)) return [];
    throw error;
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch (error) {
    if (isSystemError(error, ...GONE)) return "";
    throw error;
  }
}
