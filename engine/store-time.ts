import type { Clock } from "../base/clock.ts";

/**
 * The store's wall clock as this engine may assume it: the last answer plus what our monotonic clock counted since. An
 * answer is stamped before it travels, so the estimate lags by the way back and never runs ahead: a timer may fire late
 * by that much, never early. Our own wall clock is not asked: it may jump, and two engines' clocks differ.
 */
export type StoreTime = {
  observe(nowMs: number): void;
  now(): number;
};

export function createStoreTime(clock: Clock): StoreTime {
  let seen: { storeMs: number; atMs: number } | undefined;
  return {
    observe(nowMs) {
      seen = { storeMs: nowMs, atMs: clock.monotonic() };
    },
    now() {
      return seen ? Math.floor(seen.storeMs + (clock.monotonic() - seen.atMs)) : clock.now();
    },
  };
}
