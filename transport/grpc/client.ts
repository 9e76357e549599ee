import type { ClientDuplexStream, ClientReadableStream } from "@grpc/grpc-js";
import { Metadata, status as Status } from "@grpc/grpc-js";
import type { Client, StatusObject } from "@grpc/grpc-js";
import type { Clock, Timer } from "../../base/clock.ts";
import { HodeiError, toHodeiError } from "../../workflow/errors.ts";
import { streamEnded } from "../pipe.ts";
import type { Channel } from "../transport.ts";
import { CALL_DEADLINE_MS } from "../transport.ts";
import { readsBatches, sayBatches } from "./batch.ts";
import type { AnyMethod } from "./codec/table.ts";
import { loadMethod } from "./codec/table.ts";
import type { Tls } from "./credentials.ts";
import { createClient } from "./credentials.ts";
import { fromStatus } from "./errors.ts";
import { encodeMessage, Inlet, Outlet, unreadable } from "./stream.ts";

/** The header's number overflows 32 bits in grpc-js beyond this (24 days). */
const LONGEST_DEADLINE_MS = 2 ** 31 - 1;

const bytesAsTheyAre = (bytes: Buffer): Buffer => bytes;

/** A call in progress, as the channel ends it when it is closed. */
type OpenCall = { breakOff(error: HodeiError): void };

export class GrpcChannel implements Channel {
  readonly address: string;
  readonly #clock: Clock;
  readonly #client: Client;
  readonly #metadata: Metadata;
  readonly #streamMetadata: Metadata;
  readonly #open = new Set<OpenCall>();
  #closed = false;

  constructor(options: { address: string; token: string | undefined; clock: Clock; tls: Tls | undefined }) {
    this.address = options.address;
    this.#clock = options.clock;
    this.#client = createClient(options.address, options.tls);
    this.#metadata = credentialOf(options.token);
    this.#streamMetadata = sayBatches(this.#metadata.clone());
  }

  call: Channel["call"] = async (service, method, request, options = {}) => {
    this.#refuseWhenOver(options.signal);
    const codec = await loadMethod(service, method);
    const bytes = encodeMessage((value) => codec.request.encode(value), request, "INVALID_ARGUMENT");
    const deadlineMs = Math.min(options.deadlineMs ?? CALL_DEADLINE_MS, LONGEST_DEADLINE_MS);
    const answer = await this.#unary(codec.path, bytes, deadlineMs, options.signal);
    try {
      return codec.response.decode(answer) as never;
    } catch (error) {
      throw unreadable(error, "INTERNAL");
    }
  };

  stream: Channel["stream"] = (service, method, request, options = {}) => ({
    [Symbol.asyncIterator]: () => {
      let opened: StreamCall | undefined;
      const begin = (): StreamCall => {
        const call = this.#streamCall(options.signal);
        void call.begin(loadMethod(service, method), (codec) => {
          const bytes = encodeMessage((value) => codec.request.encode(value), request, "INVALID_ARGUMENT");
          const { path } = codec;
          return this.#client.makeServerStreamRequest(
            path,
            bytesAsTheyAre,
            bytesAsTheyAre,
            bytes,
            this.#streamMetadata,
          );
        });
        return call;
      };
      return {
        // The call is made by the first read: one that nobody reads holds nothing.
        next: async () => {
          opened ??= begin();
          return (await opened.inlet.next()) as IteratorResult<never, undefined>;
        },
        return: async () => {
          opened?.breakOff(cancelled("the reader left"));
          return { value: undefined, done: true };
        },
      };
    },
  });

  duplex: Channel["duplex"] = (service, method, options = {}) => {
    const call = this.#streamCall(options.signal);
    void call.begin(loadMethod(service, method), (codec) => {
      const wire = this.#client.makeBidiStreamRequest(codec.path, bytesAsTheyAre, bytesAsTheyAre, this.#streamMetadata);
      const encode = (value: unknown): Buffer => codec.request.encode(value);
      call.outlet.attach(wire, (value) => encodeMessage(encode, value, "INVALID_ARGUMENT"));
      return wire;
    });
    return {
      send: (message) => call.outlet.send(message),
      messages: call.inlet.messages,
      end: () => call.outlet.end(),
      cancel: () => call.breakOff(cancelled("the stream was cancelled")),
    };
  };

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#open) call.breakOff(cancelled("the channel was closed"));
    this.#client.close();
  }

  #unary(path: string, request: Buffer, deadlineMs: number, signal: AbortSignal | undefined): Promise<Buffer> {
    this.#refuseWhenOver(signal);
    const answer = Promise.withResolvers<Buffer>();
    const metadata = this.#metadata;
    // grpc-js puts the deadline on the wire and keeps it on both sides; ours beside it is the one that also covers a
    // connection that is accepted and never answers (grpc-js #2785).
    const deadline = this.#clock.now() + deadlineMs;
    const call = this.#client.makeUnaryRequest(
      path,
      bytesAsTheyAre,
      bytesAsTheyAre,
      request,
      metadata,
      { deadline },
      (error, bytes) => {
        if (bytes) answer.resolve(bytes);
        else answer.reject(this.#failure(error, deadlineMs));
      },
    );
    const open: OpenCall = {
      breakOff: (error) => {
        answer.reject(error);
        call.cancel();
      },
    };
    const timer = this.#clock.after(deadlineMs, () => open.breakOff(outOfTime(deadlineMs)));
    const abort = (): void => open.breakOff(cancelled(signal?.reason));
    signal?.addEventListener("abort", abort, { once: true });
    this.#open.add(open);
    return answer.promise.finally(() => {
      timer.cancel();
      signal?.removeEventListener("abort", abort);
      this.#open.delete(open);
    });
  }

  #failure(error: Partial<StatusObject> | null, deadlineMs: number): HodeiError {
    const failure = fromStatus(error ?? {}, this.address);
    return failure.code === "DEADLINE_EXCEEDED" ? outOfTime(deadlineMs, error) : failure;
  }

  #streamCall(signal: AbortSignal | undefined): StreamCall {
    const call = new StreamCall(this.address, this.#clock, signal, () => this.#open.delete(call));
    this.#open.add(call);
    if (this.#closed) call.breakOff(cancelled("the channel was closed"));
    return call;
  }

  #refuseWhenOver(signal: AbortSignal | undefined): void {
    if (this.#closed) throw cancelled("the channel was closed");
    if (signal?.aborted) throw cancelled(signal.reason);
  }
}

type Wire = ClientReadableStream<Buffer> | ClientDuplexStream<Buffer, Buffer>;

/** The client's end of a stream. Both directions exist from the start; they wait for the codec and the wire. */
class StreamCall implements OpenCall {
  readonly inlet = new Inlet();
  readonly outlet = new Outlet();
  readonly #address: string;
  readonly #onOver: () => void;
  readonly #opening: Timer;
  readonly #stopListening: () => void;
  #wire: Wire | undefined;
  #over = false;

  constructor(address: string, clock: Clock, signal: AbortSignal | undefined, onOver: () => void) {
    this.#address = address;
    this.#onOver = onOver;
    // Streams have no deadline, but being taken has one: the server sends its headers at once.
    this.#opening = clock.after(CALL_DEADLINE_MS, () => this.breakOff(notTaken(address)));
    const abort = (): void => this.breakOff(cancelled(signal?.reason));
    signal?.addEventListener("abort", abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener("abort", abort);
    if (signal?.aborted) abort();
  }

  async begin(loading: Promise<AnyMethod>, connect: (codec: AnyMethod) => Wire): Promise<void> {
    try {
      const codec = await loading;
      if (this.#over) return;
      const wire = connect(codec);
      this.#wire = wire;
      this.inlet.attach(
        wire,
        (bytes) => codec.response.decode(bytes),
        (error) => {
          const fault = unreadable(error, "INTERNAL");
          this.breakOff(fault);
          return fault;
        },
        () => this.inlet.end(),
      );
      wire.on("metadata", (headers: Metadata) => {
        this.#opening.cancel();
        if (readsBatches(headers)) this.outlet.batch();
      });
      wire.on("error", (error) => this.#fail(fromStatus(error as Partial<StatusObject>, this.#address)));
      wire.on("status", (status: StatusObject) => {
        if (status.code === Status.OK) this.#finish(streamEnded());
      });
    } catch (error) {
      this.breakOff(toHodeiError(error));
    }
  }

  /** At once, both ways; what was not read is dropped. */
  breakOff(error: HodeiError): void {
    if (this.#over) return;
    this.inlet.breakOff(error);
    this.#finish(error);
    this.#wire?.cancel();
  }

  /** The server's error: after what came before it. */
  #fail(error: HodeiError): void {
    if (this.#over) return;
    this.inlet.end(error);
    this.#finish(error);
  }

  #finish(reason: HodeiError): void {
    if (this.#over) return;
    this.#over = true;
    this.outlet.breakOff(reason);
    this.#opening.cancel();
    this.#stopListening();
    this.#onOver();
  }
}

function credentialOf(token: string | undefined): Metadata {
  const metadata = new Metadata();
  if (token === undefined) return metadata;
  // grpc-js would refuse it too, with the secret in its message.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new HodeiError("INVALID_ARGUMENT", "the token holds characters that a header cannot carry", {
      field: "token",
    });
  }
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

function outOfTime(deadlineMs: number, cause?: unknown): HodeiError {
  return new HodeiError("DEADLINE_EXCEEDED", `no answer within ${Math.round(deadlineMs)} ms`, { cause });
}

function notTaken(address: string): HodeiError {
  return new HodeiError("UNAVAILABLE", `${address} did not take the stream within ${CALL_DEADLINE_MS} ms`, {
    facts: { address },
  });
}

function cancelled(reason: unknown): HodeiError {
  const words = reason instanceof Error ? reason.message : String(reason);
  return new HodeiError("CANCELLED", `the call was cancelled: ${words}`, { cause: reason });
}
