import type { Clock, Timer } from "../base/clock.ts";
import type { LogUpload } from "../transport/api/worker.ts";
import type { Masker } from "./mask.ts";

export const CHUNK_BYTES = 64 * 1024;
/** Of one attempt, not yet acknowledged. */
export const BUFFER_BYTES = 1024 * 1024;
/** What the store keeps of an attempt; sending more would only be thrown away there. */
export const ATTEMPT_BYTES = 4 * 1024 * 1024;
/** A chunk is closed so long after its first byte: a person who follows sees it "at once", a chatty step costs 20 messages/s. */
const FLUSH_MS = 50;
const TAIL_BYTES = 4096;

/** Unacknowledged bytes of all attempts together: results that wait for an engine must not pile up their logs. */
export class LogBudget {
  readonly #maximum: number;
  #used = 0;

  constructor(maximum = 16 * 1024 * 1024) {
    this.#maximum = maximum;
  }

  get free(): number {
    return this.#maximum - this.#used;
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

const NOTHING = Buffer.alloc(0);

type Chunk = { offset: number; data: Buffer; dropped: number };

/**
 * The log of one attempt on its way to the engine. Bytes count from 0 as the step wrote them (after masking), those dropped
 * included: a chunk that follows a loss starts `dropped` bytes after the end of the one before it. What does not fit is
 * dropped at the new end, so that what is held stays one piece, and nothing is taken again before half the buffer is free:
 * one mark, not a thousand.
 */
export class JobLog {
  readonly jobId: string;
  readonly token: string;
  readonly #clock: Clock;
  readonly #budget: LogBudget;
  readonly #maskerOf: () => Masker;
  #masker: Masker | undefined;
  readonly #onReady: () => void;
  /** Closed and not acknowledged, oldest first; those before `#sent` went out on the stream of now. */
  #chunks: Chunk[] = [];
  #sent = 0;
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #heldBytes = 0;
  #end = 0;
  #dropped = 0;
  #dropping = false;
  #closed = false;
  #stale = false;
  #timer: Timer | undefined;
  #tail: Buffer = NOTHING;
  #waiting: (() => void)[] = [];

  constructor(options: {
    jobId: string;
    token: string;
    clock: Clock;
    budget: LogBudget;
    /** Asked for when there is something to mask: most handlers print nothing, and to look for secrets costs 5 µs. */
    masker: () => Masker;
    /** Something can be sent (`next`). */
    onReady: () => void;
  }) {
    this.jobId = options.jobId;
    this.token = options.token;
    this.#clock = options.clock;
    this.#budget = options.budget;
    this.#maskerOf = options.masker;
    this.#onReady = options.onReady;
  }

  /** Takes what a step wrote. False: the buffer is full; who can wait should, for `room`. */
  write(data: Buffer): boolean {
    if (!this.#closed) this.#append((this.#masker ??= this.#maskerOf()).push(data));
    return !this.#dropping || this.#end >= ATTEMPT_BYTES || this.#stale;
  }

  /** No more comes. What the masker held back goes out too. */
  close(): void {
    if (this.#closed) return;
    if (this.#masker) this.#append(this.#masker.end());
    this.#closed = true;
    this.#seal();
  }

  /** The next chunk to send, in order; undefined when all closed ones went out. */
  next(): LogUpload | undefined {
    const chunk = this.#chunks[this.#sent];
    if (!chunk) return undefined;
    this.#sent++;
    return { jobId: this.jobId, token: this.token, ...chunk };
  }

  /** A new stream: all that is not acknowledged goes out again, from where the engine holds it. */
  rewind(): void {
    this.#sent = 0;
  }

  acknowledge(heldTo: number, stale: boolean): void {
    if (stale) {
      this.#stale = true;
      this.#chunks = [];
      this.#parts = [];
      this.#partsBytes = 0;
      this.#timer?.cancel();
      this.#release(this.#heldBytes);
    }
    while (this.#chunks[0] && this.#chunks[0].offset + this.#chunks[0].data.length <= heldTo) {
      const chunk = this.#chunks.shift();
      this.#sent = Math.max(0, this.#sent - 1);
      this.#release(chunk?.data.length ?? 0);
    }
    for (const waiting of this.#waiting.splice(0)) waiting();
  }

  /** Ended, and all of it acknowledged (or not wanted). */
  get done(): boolean {
    return this.#closed && this.#chunks.length === 0;
  }

  /** Resolves when there is room again, or after `maxMs`. */
  room(maxMs: number): Promise<void> {
    return this.#until(() => this.#heldBytes <= BUFFER_BYTES / 2, maxMs);
  }

  /** Resolves when `done`, or after `maxMs`. */
  drained(maxMs: number): Promise<void> {
    return this.#until(() => this.done, maxMs);
  }

  /** Its last line that is not blank, for the message of a failure; at most `length` characters. */
  lastLine(length: number): string {
    const lines = this.#tail.toString("utf8").split(/[\r\n]+/);
    return (lines.findLast((line) => line.trim() !== "") ?? "").trim().slice(0, length);
  }

  /** Forgets everything and wakes who waits. */
  discard(): void {
    this.close();
    this.acknowledge(0, true);
  }

  #append(data: Buffer): void {
    if (data.length === 0 || this.#stale) return;
    this.#tail = Buffer.from(
      data.length >= TAIL_BYTES ? data.subarray(-TAIL_BYTES) : Buffer.concat([this.#tail, data]).subarray(-TAIL_BYTES),
    );
    if (this.#dropping && this.#heldBytes <= BUFFER_BYTES / 2 && this.#budget.free >= CHUNK_BYTES)
      this.#dropping = false;
    const room = Math.min(BUFFER_BYTES - this.#heldBytes, this.#budget.free, ATTEMPT_BYTES - this.#end);
    const taken = this.#dropping ? 0 : Math.max(0, Math.min(room, data.length));
    if (taken > 0) this.#take(data.subarray(0, taken));
    if (taken < data.length) {
      this.#seal();
      this.#dropping = true;
      this.#dropped += data.length - taken;
      this.#end += data.length - taken;
    }
  }

  #take(data: Buffer): void {
    this.#budget.take(data.length);
    this.#heldBytes += data.length;
    for (let from = 0; from < data.length;) {
      const part = data.subarray(from, from + CHUNK_BYTES - this.#partsBytes);
      this.#parts.push(part);
      this.#partsBytes += part.length;
      this.#end += part.length;
      from += part.length;
      if (this.#partsBytes >= CHUNK_BYTES) this.#seal();
    }
    if (this.#partsBytes > 0) this.#timer ??= this.#clock.after(FLUSH_MS, () => this.#seal());
  }

  /** Closes the open chunk. At the end of the log a loss is told by a chunk without data. */
  #seal(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const marksEnd = this.#closed && this.#dropped > 0;
    if ((this.#partsBytes === 0 && !marksEnd) || this.#stale) return;
    // Copied: a part may be a slice of a 64 KiB read buffer that it would keep alive for one short line.
    const data = Buffer.concat(this.#parts);
    this.#chunks.push({ offset: this.#end - data.length, data, dropped: this.#dropped });
    this.#parts = [];
    this.#partsBytes = 0;
    this.#dropped = 0;
    this.#onReady();
  }

  #release(bytes: number): void {
    this.#heldBytes -= bytes;
    this.#budget.give(bytes);
  }

  #until(holds: () => boolean, maxMs: number): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#clock.after(maxMs, resolve);
      const check = (): void => {
        if (!holds() && !this.#stale) {
          this.#waiting.push(check);
          return;
        }
        timer.cancel();
        resolve();
      };
      this.#waiting.push(check);
    });
  }
}
