/**
 * Time for the whole house. Nothing outside `base` reads the system clock or sets a timer, so that a test or the
 * simulator can own time. Two clocks that must not be mixed: `now` is wall time (ms since 1970, may jump), for
 * records that people read; `monotonic` (ms since an arbitrary start, never jumps) is for measuring and deadlines.
 */
export type Clock = {
  now(): number;
  monotonic(): number;
  /** Runs `action` once after `delayMs`; delays beyond setTimeout's 2^31 ms are split. */
  after(delayMs: number, action: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
};

export type Timer = { cancel(): void };

/** setTimeout overflows past 2^31-1 ms and then fires at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, action) {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(Math.max(leftMs, 0), LONGEST_TIMEOUT_MS);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : action()), stepMs);
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
  sleep: (delayMs, signal) => sleepOn(systemClock, delayMs, signal),
};

function sleepOn(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** A clock that stands still until `advance` is called. Timers due fire in order of their time, then of their making. */
export class ManualClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;
  #sequence = 0;
  #pending: { atMs: number; order: number; action: () => void }[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs - this.#startMs;
  }

  after(delayMs: number, action: () => void): Timer {
    const entry = { atMs: this.#nowMs + Math.max(delayMs, 0), order: this.#sequence++, action };
    this.#pending.push(entry);
    return { cancel: () => void (this.#pending = this.#pending.filter((other) => other !== entry)) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** When the next timer is due (wall ms), or undefined when none is set. */
  nextDueMs(): number | undefined {
    return this.#earliest()?.atMs;
  }

  /** Moves time on and fires what comes due, letting promise callbacks run between two timers. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (let next = this.#earliest(); next && next.atMs <= untilMs; next = this.#earliest()) {
      this.#nowMs = next.atMs;
      const fired = next;
      this.#pending = this.#pending.filter((entry) => entry !== fired);
      fired.action();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  #earliest(): { atMs: number; order: number; action: () => void } | undefined {
    return this.#pending.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
  }
}

/** One turn of the real event loop: every promise callback that is ready has run after it. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
