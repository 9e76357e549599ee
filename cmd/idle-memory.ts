import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock, Timer } from "../base/clock.ts";

const LOOK_MS = 500;
/** Of one core between two looks: with nothing to do a cluster takes 0.5 to 2 % (heartbeats, leases, scrapes). */
const IDLE_SHARE = 0.05;
/** In a row. A person who tries one command after the other should not meet the collection. */
const IDLE_LOOKS = 4;

export type Process = {
  clock: Clock;
  /** Spent since its start. */
  cpuMs: () => number;
  /** Gives back to the system what holds nothing. */
  collect: () => void;
};

/**
 * Gives back, whenever a process comes to rest, what its start or a busy time took. V8 keeps the young generation as large as
 * it has been until it collects as if memory had run out, which it does not do by itself: 23 of the 110 MiB of an idle engine
 * were empty pages, 8 of the 80 of a worker. That takes about 50 ms, once, when nobody waits. A smaller young generation
 * (--max-semi-space-size) would need no pause and make every busy minute dearer.
 */
export function giveBackWhenIdle({ clock, cpuMs, collect }: Process): Timer {
  let idleLooks = 0;
  let before = { atMs: clock.monotonic(), cpuMs: cpuMs() };
  const look = (): void => {
    const now = { atMs: clock.monotonic(), cpuMs: cpuMs() };
    const idle = now.cpuMs - before.cpuMs < IDLE_SHARE * (now.atMs - before.atMs);
    before = now;
    idleLooks = idle ? idleLooks + 1 : 0;
    if (idleLooks === IDLE_LOOKS) {
      collect();
      // Its own cost is no sign of work.
      before.cpuMs = cpuMs();
    }
    timer = clock.after(LOOK_MS, look);
  };
  let timer = clock.after(LOOK_MS, look);
  return { cancel: () => timer.cancel() };
}

export function thisProcess(clock: Clock): Process {
  return {
    clock,
    cpuMs: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    collect: () => {
      setFlagsFromString("--expose-gc");
      // Only a context that is made after the flag has the function.
      const gc = runInNewContext("gc") as (options: { type: "major"; flavor: "last-resort" }) => void;
      gc({ type: "major", flavor: "last-resort" });
    },
  };
}
