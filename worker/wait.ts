import type { Clock } from "../base/clock.ts";

/** Resolves when `what` has settled, or after `maxMs`; leaves no timer. */
export function waitAtMost(clock: Clock, maxMs: number, what: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(maxMs, resolve);
    const settled = (): void => {
      timer.cancel();
      resolve();
    };
    what.then(settled, settled);
  });
}

/** Resolves after `delayMs`, or when `signal` aborts. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  return waitAtMost(clock, delayMs, aborted);
}
