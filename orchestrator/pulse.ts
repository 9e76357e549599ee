import type { Clock } from "../base/clock.ts";

/**
 * Lets a loop sleep until something happened or a time has passed. Wakes that come while the loop is busy are kept as
 * one, so that nothing is missed between looking and waiting.
 */
export class Pulse {
  readonly #clock: Clock;
  #woken = false;
  #release: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#woken = true;
    this.#release?.();
  }

  /**
   * Resolves at the next wake (at once when one is pending), after `atMostMs`, or when the signal aborts; never throws.
   * Answers whether it was woken.
   */
  async wait(atMostMs: number, signal?: AbortSignal): Promise<boolean> {
    if (!this.#woken && !signal?.aborted) {
      const released = Promise.withResolvers<void>();
      this.#release = released.resolve;
      const timer = this.#clock.after(atMostMs, released.resolve);
      signal?.addEventListener("abort", this.#release, { once: true });
      await released.promise;
      signal?.removeEventListener("abort", this.#release);
      timer.cancel();
      this.#release = undefined;
    }
    const woken = this.#woken;
    this.#woken = false;
    return woken;
  }
}
