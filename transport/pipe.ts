import { HodeiError } from "../workflow/errors.ts";
import { STREAM_BUFFER } from "./transport.ts";

/** Beside the count of messages, what they weigh is bounded too: 64 messages of 8 MiB would be half a gigabyte. */
export const STREAM_BUFFER_BYTES = 1024 * 1024;

type Sender<T> = { item: T; taken: PromiseWithResolvers<void> };

/**
 * One direction of a stream: a bounded queue with one reader. Two ways in: `send` waits for room; `push` does not, for a
 * source that can be paused instead (it looks at `hasRoom` after each push and goes on at `onRoom`).
 * Two ways to close: `end` comes after everything that was sent, `breakOff` at once, dropping what was not read.
 */
export class Pipe<T> {
  readonly #sizeOf: ((item: T) => number) | undefined;
  readonly #onRoom: (() => void) | undefined;
  readonly #buffer: T[] = [];
  readonly #senders: Sender<T>[] = [];
  #bytes = 0;
  #reader: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined;
  #closed: { error: HodeiError | undefined } | undefined;

  constructor(options: { sizeOf?: (item: T) => number; onRoom?: () => void } = {}) {
    this.#sizeOf = options.sizeOf;
    this.#onRoom = options.onRoom;
  }

  get hasRoom(): boolean {
    return this.#buffer.length < STREAM_BUFFER && this.#bytes < STREAM_BUFFER_BYTES;
  }

  /** Messages that wait for the reader. */
  get length(): number {
    return this.#buffer.length;
  }

  /** Resolves when the item is in the buffer (or with the reader); rejects once the pipe is closed. */
  send(item: T): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed.error ?? streamEnded());
    if (this.hasRoom) {
      this.push(item);
      return Promise.resolve();
    }
    const taken = Promise.withResolvers<void>();
    this.#senders.push({ item, taken });
    return taken.promise;
  }

  /** Takes the item whatever the bound says; after the close it is dropped. */
  push(item: T): void {
    if (this.#closed) return;
    const reader = this.#reader;
    if (reader) {
      this.#reader = undefined;
      reader.resolve({ value: item, done: false });
      return;
    }
    this.#add(item);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#buffer.length > 0) return Promise.resolve({ value: this.#take(), done: false });
    if (this.#closed) return this.#outcome(this.#closed.error);
    if (this.#reader) return Promise.reject(new HodeiError("INTERNAL", "a stream is read by one reader at a time"));
    this.#reader = Promise.withResolvers();
    return this.#reader.promise;
  }

  /** With an error: the reader gets it after what was sent before. */
  end(error?: HodeiError): void {
    if (this.#closed) return;
    this.#closed = { error };
    const reader = this.#reader;
    this.#reader = undefined;
    if (!reader) return;
    if (error) reader.reject(error);
    else reader.resolve({ value: undefined, done: true });
  }

  /** Also after `end`: what is still unread then is dropped, and senders that wait for room get the error. */
  breakOff(error: HodeiError): void {
    if (this.#closed && this.#buffer.length === 0) return;
    this.#buffer.length = 0;
    this.#bytes = 0;
    for (const sender of this.#senders.splice(0)) sender.taken.reject(error);
    this.#closed = undefined;
    this.end(error);
  }

  /** Leaving a loop over this does not close the pipe: another loop goes on where it stopped. */
  get messages(): AsyncIterable<T> {
    return { [Symbol.asyncIterator]: () => ({ next: () => this.next() }) };
  }

  #add(item: T): void {
    this.#buffer.push(item);
    if (this.#sizeOf) this.#bytes += this.#sizeOf(item);
  }

  #take(): T {
    // The caller has looked: the buffer is not empty.
    const item = this.#buffer.shift() as T;
    if (this.#sizeOf) this.#bytes -= this.#sizeOf(item);
    const next = this.hasRoom ? this.#senders.shift() : undefined;
    if (next) {
      this.#add(next.item);
      next.taken.resolve();
    }
    if (this.#onRoom && this.hasRoom) this.#onRoom();
    return item;
  }

  #outcome(error: HodeiError | undefined): Promise<IteratorResult<T, undefined>> {
    return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true });
  }
}

/** What `send` rejects with when the stream ended without a fault. */
export function streamEnded(): HodeiError {
  return new HodeiError("UNAVAILABLE", "the stream has ended");
}

/**
 * Sends what a server stream's handler yields, until it ends or `signal` aborts. An aborted handler that sits in its own
 * wait is not waited for: it is told to return and left.
 */
export async function pump<T>(
  source: AsyncIterable<T>,
  send: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const iterator = source[Symbol.asyncIterator]();
  let giveUp: (() => void) | undefined;
  const onAbort = (): void => giveUp?.();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    while (!signal.aborted) {
      // Not a race with one promise for the whole stream: that would remember every message until the stream ends.
      const step = await new Promise<IteratorResult<T> | "aborted">((resolve, reject) => {
        giveUp = () => resolve("aborted");
        iterator.next().then(resolve, reject);
      });
      if (step === "aborted" || step.done) return;
      await send(step.value);
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a generator answers `return` only after its pending `next`.
    iterator.return?.()?.then(undefined, () => undefined);
  }
}
