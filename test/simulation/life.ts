import type { Clock, Timer } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import type { Timeline } from "./clock.ts";

/** When the world begins, by clocks that are right: ms since 1970. */
export const EPOCH_MS = 1_700_000_000_000;

/** How wrong a clock is: `rate` 1.01 gains ten ms a second; `aheadMs` is how far its wall clock is ahead at the begin. */
export type Skew = { rate: number; aheadMs: number };

/**
 * One life of one process. Whatever reaches it from outside comes through `enter`, and its timers are its own, so that
 * a process that has died never acts again: what it waits for never comes. One that is frozen acts later: first the timers
 * that came due meanwhile, then what was said to it, as a process does after SIGCONT.
 */
export class Life {
  readonly node: string;
  readonly number: number;
  /** What the process table of its host says. */
  readonly pid: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly #timeline: Timeline;
  readonly #skew: Skew;
  readonly #bornMs: number;
  readonly #onDeath: (() => void)[] = [];
  readonly #listening = new Set<() => void>();
  #jumpedMs = 0;
  #state: "up" | "frozen" | "dead" = "up";
  #timers: (() => void)[] = [];
  #deliveries: (() => void)[] = [];

  constructor(of: { node: string; number: number; pid: number; timeline: Timeline; random: Random; skew: Skew }) {
    this.node = of.node;
    this.number = of.number;
    this.pid = of.pid;
    this.random = of.random;
    this.#timeline = of.timeline;
    this.#skew = of.skew;
    this.#bornMs = of.timeline.nowMs;
    this.clock = this.#makeClock();
    of.timeline.onEnd(() => this.#deaf());
  }

  get state(): "up" | "frozen" | "dead" {
    return this.#state;
  }

  /** Something comes from outside: an answer, a message, a hint. */
  enter(action: () => void): void {
    if (this.#state === "up") action();
    else if (this.#state === "frozen") this.#deliveries.push(action);
  }

  kill(): void {
    this.#state = "dead";
    this.#timers = [];
    this.#deliveries = [];
    this.#deaf();
    for (const action of this.#onDeath.splice(0)) action();
  }

  /**
   * Runs `abort` once when the signal aborts; returns the way to stop. A signal made of others (AbortSignal.any) is kept for
   * ever while somebody listens to it, and with it the whole world: 1.3 MB a seed.
   */
  onAbort(signal: AbortSignal, abort: () => void): () => void {
    const stop = (): void => {
      this.#listening.delete(stop);
      signal.removeEventListener("abort", abort);
    };
    this.#listening.add(stop);
    signal.addEventListener("abort", abort, { once: true });
    return stop;
  }

  #deaf(): void {
    for (const stop of this.#listening) stop();
  }

  /** What the world does about its end. */
  onDeath(action: () => void): void {
    this.#onDeath.push(action);
  }

  freeze(): void {
    if (this.#state === "up") this.#state = "frozen";
  }

  thaw(): void {
    if (this.#state !== "frozen") return;
    this.#state = "up";
    const late = [...this.#timers, ...this.#deliveries];
    this.#timers = [];
    this.#deliveries = [];
    // Each an event of its own: promise callbacks run between two of them, and it may be frozen again in the middle.
    for (const action of late) this.#timeline.after(0, () => this.enter(action));
  }

  /** Somebody sets its wall clock. */
  jump(byMs: number): void {
    this.#jumpedMs += byMs;
  }

  #makeClock(): Clock {
    const { rate, aheadMs } = this.#skew;
    const timeline = this.#timeline;
    const clock: Clock = {
      now: () => Math.floor(EPOCH_MS + timeline.nowMs * rate + aheadMs + this.#jumpedMs),
      monotonic: () => (timeline.nowMs - this.#bornMs) * rate,
      after: (delayMs, action) => this.#after(delayMs / rate, action),
      sleep: (delayMs, signal) => this.#sleep(delayMs, signal),
    };
    return clock;
  }

  #after(delayMs: number, action: () => void): Timer {
    let live = true;
    const fire = (): void => {
      if (live && this.#state === "up") action();
    };
    const timer = this.#timeline.after(delayMs, () => {
      if (this.#state === "frozen") this.#timers.push(fire);
      else fire();
    });
    return {
      cancel: () => {
        live = false;
        timer.cancel();
      },
    };
  }

  #sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const abort = (): void => {
        stop?.();
        timer.cancel();
        reject(signal?.reason as Error);
      };
      const timer = this.clock.after(delayMs, () => {
        stop?.();
        resolve();
      });
      const stop = signal && this.onAbort(signal, abort);
    });
  }
}
