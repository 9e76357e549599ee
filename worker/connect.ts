import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { FromWorker, Hello, ToWorker } from "../transport/api/worker.ts";
import type { Channel, Duplex, Transport } from "../transport/transport.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import { pause } from "./wait.ts";

/** From dialling to Welcome. */
const WELCOME_MS = 5_000;
/** The first retry is quick: an engine that restarts is back within a second. */
const BACKOFF = { initialMs: 100, maxMs: 2_000 };
/** A connection that lasted so long was a good one: its end starts the backoff anew. */
const STABLE_MS = 5_000;
/** An engine that takes nothing for so many messages is as good as gone. Results of more than a thousand jobs fit. */
const QUEUE_MAXIMUM = 2_048;
/** So many refusals of the credential in a row, over all addresses, are an answer and no accident. */
const REFUSALS_MAXIMUM = 5;

export type Welcome = Extract<ToWorker, { kind: "welcome" }>;

export type ConnectionOptions = {
  addresses: readonly string[];
  token?: string;
  transport: Transport;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Asked anew for every connection. */
  hello: () => Hello;
  onUp: (welcome: Welcome, channel: Channel) => void;
  onMessage: (message: Exclude<ToWorker, Welcome>) => void;
  onDown: () => void;
  /** Every engine refuses our credential; dialling has ended. */
  onRefused: () => void;
};

/** A stream in use: messages go out in the order they were given, one at a time, as fast as the engine takes them. */
type Link = { queue: FromWorker[]; wake: () => void; over: AbortController };

/**
 * Keeps one control stream to some engine. There is at most one at any time, and messages of an earlier one are not
 * listened to: the newest stream is the only one obeyed. Nothing is promised about what was sent when a stream breaks; who needs an
 * answer sends again after `onUp`.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #stop = new AbortController();
  #addresses: string[];
  #next: number;
  #link: Link | undefined;
  #running: Promise<void> | undefined;
  #hurry = false;
  #pausing = new AbortController();

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#addresses = [...options.addresses];
    // Anywhere: a fleet that starts at once must not meet at the first address of the list.
    this.#next = Math.floor(options.random.float() * this.#addresses.length);
  }

  get up(): boolean {
    return this.#link !== undefined;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Sends what is queued if the engine takes it within `flushMs`, then closes. Idempotent. */
  async stop(flushMs = 0): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + flushMs;
    while (this.#link && this.#link.queue.length > 0 && clock.monotonic() < until) await clock.sleep(5);
    this.#stop.abort();
    await this.#running;
  }

  /** Dropped when there is no connection: the next `hello` says what is so then. */
  send(message: FromWorker): void {
    const link = this.#link;
    if (!link) return;
    if (message.kind === "heartbeat" && link.queue.some((queued) => queued.kind === "heartbeat")) return;
    if (message.kind === "progress" && link.queue.length > QUEUE_MAXIMUM / 8) return;
    if (link.queue.push(message) > QUEUE_MAXIMUM)
      link.over.abort(new HodeiError("UNAVAILABLE", "engine takes nothing"));
    link.wake();
  }

  /** Leaves for one of these addresses at once; the ones from before stay known behind them. */
  redirect(addresses: readonly string[]): void {
    this.#addresses = [...new Set([...addresses, ...this.#addresses])];
    this.#next = Math.floor(this.#options.random.float() * addresses.length);
    this.#hurry = true;
    this.#link?.over.abort(new HodeiError("CANCELLED", "a newer stream replaces this one"));
  }

  /** Gives the connection up and tries the next address. */
  drop(reason: string): void {
    this.#link?.over.abort(new HodeiError("DEADLINE_EXCEEDED", reason));
  }

  /** There is something to hand in and little time: the next tries come quickly. */
  hurry(): void {
    this.#hurry = true;
    this.#pausing.abort();
  }

  async #run(): Promise<void> {
    const { clock, random, logger } = this.#options;
    const stopped = this.#stop.signal;
    let attempt = 0;
    let refusals = 0;
    while (!stopped.aborted) {
      this.#hurry = false;
      const address = this.#addresses[this.#next++ % this.#addresses.length] ?? "";
      const end = await this.#converse(address);
      if (stopped.aborted) return;
      logger.info({ address, welcomed: end.welcomed, error: end.error }, "connection to engine ended");
      refusals = isHodeiError(end.error, "UNAUTHENTICATED", "PERMISSION_DENIED") ? refusals + 1 : 0;
      if (refusals >= Math.max(REFUSALS_MAXIMUM, this.#addresses.length)) return this.#options.onRefused();
      if (end.lastedMs >= STABLE_MS || this.#hurry) attempt = 0;
      // A full round of the other addresses comes before the wait grows: one dead engine must not cost a second.
      const round = Math.floor(attempt++ / this.#addresses.length);
      if (this.#hurry) continue;
      this.#pausing = new AbortController();
      const signal = AbortSignal.any([stopped, this.#pausing.signal]);
      await pause(clock, fullJitterMs(round, random.float(), BACKOFF), signal);
    }
  }

  /** One connection from dialling to its end; never rejects. */
  async #converse(address: string): Promise<{ welcomed: boolean; lastedMs: number; error: unknown }> {
    const { transport, token, clock } = this.#options;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, over.signal]);
    const link: Link = { queue: [{ kind: "hello", ...this.#options.hello() }], wake: () => undefined, over };
    const channel = transport.connect({ address, ...(token === undefined ? {} : { token }) });
    const sinceMs = clock.monotonic();
    let welcomed = false;
    let error: unknown;
    const late = clock.after(WELCOME_MS, () => over.abort(new HodeiError("DEADLINE_EXCEEDED", "no welcome came")));
    try {
      const stream = channel.duplex("worker", "connect", { signal });
      const sending = pumpOut(stream, link, signal).catch((reason: unknown) => over.abort(reason));
      try {
        for await (const message of stream.messages) {
          if (signal.aborted) break;
          if (message.kind === "welcome") {
            late.cancel();
            welcomed = true;
            this.#link = link;
            this.#options.onUp(message, channel);
          } else if (welcomed) this.#options.onMessage(message);
        }
      } finally {
        over.abort(new HodeiError("UNAVAILABLE", "the engine ended the stream"));
        link.wake();
        await sending;
        stream.cancel();
      }
    } catch (reason) {
      error = reason;
    }
    late.cancel();
    // Down is told before the channel closes: nobody may use it any more by then.
    if (this.#link === link) this.#link = undefined;
    if (welcomed) this.#options.onDown();
    await channel.close();
    return { welcomed, lastedMs: clock.monotonic() - sinceMs, error: error ?? over.signal.reason };
  }
}

/** Sends the queue until the stream is over. The head stays in the queue while it is being sent, so "empty" means taken. */
async function pumpOut(stream: Duplex<FromWorker, ToWorker>, link: Link, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const message = link.queue[0];
    if (message) {
      await stream.send(message);
      link.queue.shift();
    } else {
      await new Promise<void>((resolve) => (link.wake = resolve));
    }
  }
}
