import type { Readable, Writable } from "node:stream";
import { nextTurn } from "../../base/turn.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { Pipe, STREAM_BUFFER_BYTES, streamEnded } from "../pipe.ts";
import { STREAM_BUFFER } from "../transport.ts";
import { framesOf, messagesOf } from "./batch.ts";
import { MAX_MESSAGE_BYTES } from "./credentials.ts";

/**
 * The two directions of a grpc-js stream as the port promises them. Both carry bytes: a message is encoded when it is
 * written and decoded when it is read, so that what is buffered has a known weight.
 */

export type Encode = (value: unknown) => Buffer;
export type Decode = (bytes: Buffer) => unknown;

type Waiting = { message: unknown; taken: PromiseWithResolvers<void> };

/** One for all: most sends find room, and a promise of their own is the dearest thing about them. */
const TAKEN = Promise.resolve();

/**
 * What we send. Room is counted by write callbacks: grpc-js calls back when HTTP/2 flow control let the message go. To a peer
 * that reads batches go all messages of one turn of the event loop together.
 */
export class Outlet {
  readonly #waiting: Waiting[] = [];
  #wire: Writable | undefined;
  #encode: Encode = () => Buffer.alloc(0);
  #batches = false;
  /** Encoded, and within the room; written at the end of the turn. */
  #turn: Buffer[] = [];
  #messages = 0;
  #bytes = 0;
  #ending = false;
  #error: HodeiError | undefined;

  /** From now on messages flow; those sent before have waited. */
  attach(wire: Writable, encode: Encode): void {
    this.#wire = wire;
    this.#encode = encode;
    this.#fill();
  }

  /** The peer has said that it reads them. */
  batch(): void {
    this.#batches = true;
  }

  send(message: unknown): Promise<void> {
    if (this.#error || this.#ending) return Promise.reject(this.#error ?? streamEnded());
    if (this.#waiting.length === 0 && this.#hasRoom) {
      try {
        this.#take(message);
        return TAKEN;
      } catch (error) {
        // Not encodable: the stream itself is sound.
        return Promise.reject(error as Error);
      }
    }
    const taken = Promise.withResolvers<void>();
    this.#waiting.push({ message, taken });
    return taken.promise;
  }

  /** After everything that was sent. */
  end(): void {
    this.#ending = true;
    this.#fill();
  }

  /** Writes what was taken and waits for the end of the turn: the stream is about to end. */
  flush(): void {
    const messages = this.#turn;
    this.#turn = [];
    if (this.#error) return;
    for (const { bytes, count, messageBytes } of framesOf(messages)) this.#write(bytes, count, messageBytes);
  }

  breakOff(error: HodeiError): void {
    this.#error ??= error;
    for (const { taken } of this.#waiting.splice(0)) taken.reject(error);
  }

  get #hasRoom(): boolean {
    return this.#wire !== undefined && this.#messages < STREAM_BUFFER && this.#bytes < STREAM_BUFFER_BYTES;
  }

  #take(message: unknown): void {
    const bytes = this.#encode(message);
    this.#messages += 1;
    this.#bytes += bytes.length;
    if (!this.#batches) this.#write(bytes, 1, bytes.length);
    else if (this.#turn.push(bytes) === 1) nextTurn(() => this.flush());
  }

  #write(frame: Buffer, count: number, messageBytes: number): void {
    this.#wire?.write(frame, () => {
      this.#messages -= count;
      this.#bytes -= messageBytes;
      if (this.#waiting.length > 0) this.#fill();
    });
  }

  #fill(): void {
    while (this.#hasRoom && !this.#error) {
      const next = this.#waiting.shift();
      if (!next) break;
      try {
        this.#take(next.message);
        next.taken.resolve();
      } catch (error) {
        next.taken.reject(error);
      }
    }
    if (!this.#ending || this.#waiting.length > 0 || this.#error) return;
    this.flush();
    this.#wire?.end();
  }
}

/** What the peer sends. When the buffer is full the wire is paused, which stops the peer; half empty it goes on. */
export class Inlet {
  readonly #pipe: Pipe<Buffer>;
  #wire: Readable | undefined;
  #decode: Decode = (bytes) => bytes;
  #onUnreadable: (error: unknown) => HodeiError = () => streamEnded();

  constructor() {
    this.#pipe = new Pipe<Buffer>({ sizeOf: (bytes) => bytes.length, onRoom: () => this.#resume() });
  }

  /**
   * `onUnreadable` is told of bytes that do not decode and answers what the reader gets; the stream ends there. `onEnd` is
   * told that the wire has ended, and ends this when it finds that well.
   */
  attach(wire: Readable, decode: Decode, onUnreadable: (error: unknown) => HodeiError, onEnd: () => void): void {
    this.#wire = wire;
    this.#decode = decode;
    this.#onUnreadable = onUnreadable;
    wire.on("data", (frame: Buffer) => this.#take(frame, wire));
    wire.on("end", onEnd);
  }

  end(error?: HodeiError): void {
    this.#pipe.end(error);
  }

  breakOff(error: HodeiError): void {
    this.#pipe.breakOff(error);
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    const step = await this.#pipe.next();
    if (step.done) return step;
    try {
      return { value: this.#decode(step.value), done: false };
    } catch (error) {
      throw this.#refuse(error);
    }
  }

  /** Leaving a loop over this does not end the stream. */
  get messages(): AsyncIterable<never> {
    // The decoder was chosen by the method, which the port ties to its type.
    return { [Symbol.asyncIterator]: () => ({ next: () => this.next() as Promise<IteratorResult<never, undefined>> }) };
  }

  #take(frame: Buffer, wire: Readable): void {
    try {
      for (const bytes of messagesOf(frame)) this.#pipe.push(bytes);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (!this.#pipe.hasRoom) wire.pause();
  }

  #refuse(error: unknown): HodeiError {
    const fault = this.#onUnreadable(error);
    this.#pipe.breakOff(fault);
    return fault;
  }

  #resume(): void {
    // Not at the first free place: pausing and resuming at every message costs a turn of the loop each.
    if (this.#wire?.isPaused() && this.#pipe.length <= STREAM_BUFFER / 2) this.#wire.resume();
  }
}

/** `whose`: the code of the fault when the value cannot be a message: the caller's for a request, ours for an answer. */
export function encodeMessage(encode: Encode, value: unknown, whose: "INVALID_ARGUMENT" | "INTERNAL"): Buffer {
  let bytes: Buffer;
  try {
    bytes = encode(value);
  } catch (error) {
    throw asFault(error, whose, "the message cannot be encoded");
  }
  if (bytes.length <= MAX_MESSAGE_BYTES) return bytes;
  throw new HodeiError("TOO_LARGE", `the message has ${bytes.length} bytes, the bound is ${MAX_MESSAGE_BYTES}`, {
    facts: { bytes: String(bytes.length), maximum: String(MAX_MESSAGE_BYTES) },
  });
}

/** A field that is missing or unknown names itself; anything else was no protobuf. */
export function unreadable(error: unknown, whose: "INVALID_ARGUMENT" | "INTERNAL"): HodeiError {
  return asFault(error, whose, "the message cannot be read");
}

function asFault(error: unknown, whose: "INVALID_ARGUMENT" | "INTERNAL", what: string): HodeiError {
  const field = error instanceof HodeiError ? error.field : undefined;
  const words = error instanceof Error ? error.message : String(error);
  return new HodeiError(whose, `${what}: ${words}`, { field, cause: error });
}
