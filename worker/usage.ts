import { readdirSync } from "node:fs";
import type { Clock } from "../base/clock.ts";
import { statOf } from "../base/process.ts";

const TICK_MS = 10; // USER_HZ is 100 on every Linux that Node runs on
const PAGE_BYTES = 4096;

/**
 * What this worker and its steps use. CPU is in percent of what the worker offers (100 = all of it), between two calls;
 * a process that began and ended between them is not seen. Memory is the resident size now.
 */
export class UsageMeter {
  readonly #clock: Clock;
  readonly #cpuMillis: number;
  #atMs: number;
  #busyMs: number;
  #groups = new Map<string, number>();

  constructor(clock: Clock, cpuMillis: number) {
    this.#clock = clock;
    this.#cpuMillis = Math.max(cpuMillis, 1);
    this.#atMs = clock.monotonic();
    this.#busyMs = ownBusyMs();
  }

  /** `groups`: the process groups of the steps that run. */
  sample(groups: ReadonlySet<number>): { cpuPercent: number; memoryBytes: number } {
    const nowMs = this.#clock.monotonic();
    const busyMs = ownBusyMs();
    const steps = this.#ofGroups(groups);
    const usedMs = busyMs - this.#busyMs + steps.busyMs;
    const passedMs = Math.max(nowMs - this.#atMs, 1);
    this.#atMs = nowMs;
    this.#busyMs = busyMs;
    const percent = (usedMs / passedMs / (this.#cpuMillis / 1000)) * 100;
    return { cpuPercent: Math.round(percent * 10) / 10, memoryBytes: process.memoryUsage.rss() + steps.memoryBytes };
  }

  /** Reads /proc only while steps run: about 10 µs per process of the host, every heartbeat. */
  #ofGroups(groups: ReadonlySet<number>): { busyMs: number; memoryBytes: number } {
    const seen = new Map<string, number>();
    let busyMs = 0;
    let memoryBytes = 0;
    const pids = groups.size === 0 || process.platform !== "linux" ? [] : readdirSync("/proc");
    for (const pid of pids) {
      const stat = /^[0-9]+$/.test(pid) ? statOf(pid) : undefined;
      if (!stat || !groups.has(stat.group)) continue;
      const key = `${pid} ${stat.startTime}`;
      seen.set(key, stat.ticks);
      busyMs += (stat.ticks - (this.#groups.get(key) ?? 0)) * TICK_MS;
      memoryBytes += stat.residentPages * PAGE_BYTES;
    }
    this.#groups = seen;
    return { busyMs, memoryBytes };
  }
}

function ownBusyMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
