import type { Clock, Timer } from "../../base/clock.ts";

/**
 * A deadline that may be moved. One that moves to later keeps its alarm, which looks again when it rings: of a job that ends
 * within the 5 s it may take to be accepted, the two deadlines cost one timer.
 */
export class Deadline {
  readonly #clock: Clock;
  #alarm: Timer;
  #ringsMs: number;
  #dueMs: number;
  #action: () => void;

  constructor(clock: Clock, delayMs: number, action: () => void) {
    this.#clock = clock;
    this.#action = action;
    this.#dueMs = clock.monotonic() + delayMs;
    this.#ringsMs = this.#dueMs;
    this.#alarm = clock.after(delayMs, () => this.#ring());
  }

  /** From now on it is this one that counts. */
  move(delayMs: number, action: () => void): void {
    this.#action = action;
    this.#dueMs = this.#clock.monotonic() + delayMs;
    if (this.#dueMs < this.#ringsMs) this.#arm(delayMs);
  }

  /** Until it is moved again. */
  cancel(): void {
    this.#alarm.cancel();
    this.#ringsMs = Infinity;
  }

  #ring(): void {
    this.#ringsMs = Infinity;
    const leftMs = this.#dueMs - this.#clock.monotonic();
    // A timer may ring a fraction of a millisecond early.
    if (leftMs >= 1) this.#arm(leftMs);
    else this.#action();
  }

  #arm(delayMs: number): void {
    this.#alarm.cancel();
    this.#ringsMs = this.#dueMs;
    this.#alarm = this.#clock.after(delayMs, () => this.#ring());
  }
}
