import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock, Timer } from "../base/clock.ts";

const LOOK_MS = 500;
/** Of one core between two looks: with nothing to do a cluster takes 0.5 to 2 % (heartbeats, leases, scrapes). */
const IDLE_SHARE = 0.05;
/** With more in use the pause would be felt: a collection takes 0.1 s at 10 MiB of live objects, 0.8 s at 190, 3.3 s at 700. */
const MOST_BYTES = 128 * 1024 * 1024;
/** In a row. A person who tries one command after the other should not meet the collection. */
const IDLE_LOOKS = 4;

export type Process = {
  clock: Clock;
  /** Spent since its start. */
  cpuMs: () => number;
  /** In use on the heap, what is garbage included. */
  usedBytes: () => number;
  /** Gives back to the system what holds nothing. */
  collect: () => void;
};

/**
 * Gives back, whenever a process comes to rest, what its start or a busy time took. V8 keeps the young generation as large as
 * it has been until it collects as if memory had run out, which it does not do by itself: 23 of the 110 MiB of an idle engine
 * were empty pages, 8 of the 80 of a worker. That takes about 50 ms, once, when nobody waits; a process that holds much is left
 * as it is. A smaller young generation (--max-semi-space-size) would need no pause and make every busy minute dearer.
 */
export function giveBackWhenIdle({ clock, cpuMs, usedBytes, collect }: Process): Timer {
  let idleLooks = 0;
  let before = { atMs: clock.monotonic(), cpuMs: cpuMs() };
  const look = (): void => {
    const now = { atMs: clock.monotonic(), cpuMs: cpuMs() };
    const idle = now.cpuMs - before.cpuMs < IDLE_SHARE * (now.atMs - before.atMs);
    before = now;
    idleLooks = idle ? idleLooks + 1 : 0;
    if (idleLooks === IDLE_LOOKS && usedBytes() <= MOST_BYTES) {
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
    usedBytes: () => process.memoryUsage().heapUsed,
    collect: () => {
      setFlagsFromString("--expose-gc");
      // Only a context that is made after the flag has the function.
      const gc = runInNewContext("gc") as (options: { type: "major"; flavor: "last-resort" }) => void;
      gc({ type: "major", flavor: "last-resort" });
    },
  };
}
