import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { LogAck, LogUpload } from "../transport/api/worker.ts";
import type { Channel, Duplex } from "../transport/transport.ts";
import type { JobLog } from "./logs.ts";
import { pause } from "./wait.ts";

/** A broken log stream is opened again after this; its control stream stands, so the engine is there. */
const REOPEN_MS = 200;

/** How long the rest of a log may follow after its result: a stream that broke has been opened again by then. */
const LAST_MS = 60_000;

/**
 * Sends the logs of all attempts over one stream of their own, in turn, one chunk each: a flood in one job neither starves
 * the others nor delays what the control stream carries. A chunk is kept until it is acknowledged.
 */
export class LogUploader {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #logs = new Map<string, JobLog>();
  /** Of attempts whose result is acknowledged. */
  readonly #last = new Set<Promise<void>>();
  #attached: { channel: Channel; stop: AbortController } | undefined;
  #wake: (() => void) | undefined;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Whether an engine takes logs now: only then is it worth making a step wait for room. */
  get live(): boolean {
    return this.#attached !== undefined;
  }

  add(log: JobLog): void {
    this.#logs.set(keyOf(log), log);
  }

  /** The result is acknowledged: the rest of the log follows while it can. Nobody would know what is missing of it. */
  finish(of: { jobId: string; token: string }): void {
    const log = this.#logs.get(keyOf(of));
    if (!log || log.done) return this.remove(of);
    const last = log.drained(LAST_MS).then(() => {
      this.#last.delete(last);
      this.remove(of);
    });
    this.#last.add(last);
  }

  /** Resolves when nothing follows any more of what was acknowledged. */
  async finished(): Promise<void> {
    await Promise.all(this.#last);
  }

  /** Nobody wants it any more: what is still held of the log goes no further. */
  remove(of: { jobId: string; token: string }): void {
    this.#logs.get(keyOf(of))?.discard();
    this.#logs.delete(keyOf(of));
  }

  /** To be called by a log that has something to send. */
  readonly notify = (): void => this.#wake?.();

  /** From now on over this connection, whichever was there before. */
  attach(channel: Channel): void {
    this.detach();
    const stop = new AbortController();
    this.#attached = { channel, stop };
    void this.#serve(channel, stop.signal);
  }

  detach(): void {
    this.#attached?.stop.abort();
    this.#attached = undefined;
    this.#wake?.();
  }

  async #serve(channel: Channel, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#stream(channel, signal);
      } catch (error) {
        if (!signal.aborted) this.#logger.debug({ error }, "log stream broke");
      }
      if (!signal.aborted) await pause(this.#clock, REOPEN_MS, signal);
    }
  }

  /** One stream, until it ends. Opened only when there is something to say: most workers log nothing most of the time. */
  async #stream(channel: Channel, signal: AbortSignal): Promise<void> {
    for (const log of this.#logs.values()) log.rewind();
    let upload = await this.#nextUpload(signal);
    if (!upload) return;
    const ended = new AbortController();
    const both = AbortSignal.any([signal, ended.signal]);
    const stream = channel.duplex("worker", "logs", { signal });
    const reading = this.#read(stream).finally(() => {
      ended.abort();
      this.#wake?.();
    });
    try {
      for (; upload; upload = await this.#nextUpload(both)) await stream.send(upload);
    } finally {
      stream.cancel();
      // A stream that we cut ourselves ends with an error of its own; the first one is what counts.
      await reading.catch((error: unknown) => this.#logger.debug({ error }, "log stream ended"));
    }
  }

  async #read(stream: Duplex<LogUpload, LogAck>): Promise<void> {
    for await (const ack of stream.messages) {
      const log = this.#logs.get(keyOf(ack));
      log?.acknowledge(ack.heldTo, ack.stale);
    }
  }

  /** Takes turns: a log that gave a chunk goes to the back. Undefined when the stream is over. */
  async #nextUpload(signal: AbortSignal): Promise<LogUpload | undefined> {
    while (!signal.aborted) {
      for (const [key, log] of this.#logs) {
        const upload = log.next();
        if (!upload) continue;
        this.#logs.delete(key);
        this.#logs.set(key, log);
        return upload;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }
}

function keyOf(of: { jobId: string; token: string }): string {
  return `${of.jobId} ${of.token}`;
}
