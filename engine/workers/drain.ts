import type { Clock } from "../../base/clock.ts";

const LOOK_MS = 20;

/** Resolves when `idle` is true, at the latest after `withinMs`; says whether it became so. */
export async function untilIdle(clock: Clock, withinMs: number, idle: () => boolean): Promise<boolean> {
  const untilMs = clock.monotonic() + withinMs;
  while (!idle()) {
    if (clock.monotonic() >= untilMs) return false;
    await clock.sleep(LOOK_MS);
  }
  return true;
}
