import { readdirSync } from "node:fs";
import { isSystemError, statOf } from "../base/process.ts";
import type { Clock } from "../base/clock.ts";
import { waitAtMost } from "./wait.ts";

/** How often a group that was told to end is looked at once its first process has gone. */
const LOOK_MS = 50;

/** Sends to every process of the group. False when there is none left. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    // EPERM: a member changed its user (sudo); it lives, and we may not touch it.
    if (isSystemError(error, "ESRCH")) return false;
    if (isSystemError(error, "EPERM")) return true;
    throw error;
  }
}

/**
 * Whether anything of the group still runs. Zombies do not count: where process 1 reaps nobody (a worker that is process 1
 * of its container), an orphan stays a zombie for ever, and a signal to it still "succeeds".
 */
export function groupLives(group: number): boolean {
  if (!signalGroup(group, 0)) return false;
  if (process.platform !== "linux") return true;
  return readdirSync("/proc").some((name) => {
    if (!/^[0-9]+$/.test(name)) return false;
    const stat = statOf(name);
    return stat?.group === group && stat.state !== "Z" && stat.state !== "X";
  });
}

/**
 * SIGTERM to the whole group now; SIGKILL to the whole group when anything of it is left after `graceMs`. Resolves when
 * nothing of it is left, or the kill was sent. `firstExit` resolves when the process we started has ended.
 */
export async function endGroup(
  group: number,
  graceMs: number,
  clock: Clock,
  firstExit: Promise<unknown>,
): Promise<void> {
  if (!signalGroup(group, "SIGTERM")) return;
  // A stopped process takes no SIGTERM before it is continued.
  signalGroup(group, "SIGCONT");
  const until = clock.monotonic() + graceMs;
  await waitAtMost(clock, graceMs, firstExit);
  while (groupLives(group)) {
    const leftMs = until - clock.monotonic();
    if (leftMs <= 0) {
      signalGroup(group, "SIGKILL");
      return;
    }
    await clock.sleep(Math.min(LOOK_MS, leftMs));
  }
}
