import type { Random } from "../../base/random.ts";
import type { Timeline } from "./clock.ts";
import type { Conversation } from "./conversation.ts";
import type { Life } from "./life.ts";
import type { ServerSide } from "./server.ts";

/** How messages travel, for one seed. */
export type Weather = {
  /** Usual latency, one way. */
  fromMs: number;
  toMs: number;
  /** Share of messages that take up to `slowMs`. */
  slow: number;
  slowMs: number;
  /** Share of unary requests that reach the handler twice. */
  duplicated: number;
  /** Share of unary answers that are lost with their connection. */
  lost: number;
};

export const CALM: Weather = { fromMs: 0.2, toMs: 2, slow: 0, slowMs: 0, duplicated: 0, lost: 0 };

/** After a partition ends, what was held comes within so long: retransmissions back off. */
const RETRANSMIT_MS = 400;

/** Messages of one direction of one conversation: they arrive in the order in which they left. */
export type Lane = { from: string; to: string; queue: (() => void)[] };

/**
 * The wires between hosts. Nothing is lost silently, as over TCP: a message to where nothing can get is held until it can,
 * or until its conversation breaks. Who listens where is decided when a message arrives.
 */
export class Network {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly servers = new Map<string, ServerSide>();
  readonly conversations = new Set<Conversation>();
  readonly #onFault: (fault: string) => void;
  /** "from>to" → how many partitions stand between the two. */
  readonly #walls = new Map<string, number>();
  #held: Lane[] = [];
  #ports = 1;
  weather: Weather = CALM;

  constructor(timeline: Timeline, random: Random, onFault: (fault: string) => void) {
    this.timeline = timeline;
    this.random = random;
    this.#onFault = onFault;
  }

  lane(from: string, to: string): Lane {
    return { from, to, queue: [] };
  }

  send(lane: Lane, deliver: () => void): void {
    lane.queue.push(deliver);
    this.timeline.after(this.#latencyMs(), () => this.#arrive(lane));
  }

  /** One message that has no others to keep an order with. */
  post(from: string, to: string, deliver: () => void): void {
    this.send(this.lane(from, to), deliver);
  }

  /** Whether this one shall suffer; noted as a fault that acted. */
  suffers(fault: "duplicated" | "lost"): boolean {
    if (this.weather[fault] === 0 || this.random.float() >= this.weather[fault]) return false;
    this.#onFault(fault === "lost" ? "answer lost" : "request duplicated");
    return true;
  }

  /** Nothing gets from one to the other any more. `"*"`: from or to anywhere. Walls add up. */
  wall(from: string, to: string): void {
    const key = `${from}>${to}`;
    this.#walls.set(key, (this.#walls.get(key) ?? 0) + 1);
  }

  unwall(from: string, to: string): void {
    const key = `${from}>${to}`;
    const left = (this.#walls.get(key) ?? 0) - 1;
    if (left > 0) this.#walls.set(key, left);
    else this.#walls.delete(key);
    const held = this.#held;
    this.#held = [];
    for (const lane of held) this.timeline.after(this.random.float() * RETRANSMIT_MS, () => this.#arrive(lane));
  }

  blocked(from: string, to: string): boolean {
    if (this.#walls.size === 0) return false;
    return this.#walls.has(`${from}>${to}`) || this.#walls.has(`${from}>*`) || this.#walls.has(`*>${to}`);
  }

  /** `host:0` gets a port that was never used. */
  freeAddress(address: string): string {
    const colon = address.lastIndexOf(":");
    return address.slice(colon) === ":0" ? `${address.slice(0, colon)}:${this.#ports++}` : address;
  }

  /** The process is gone: its host says so to everyone it spoke with, unless the host itself has gone. */
  died(life: Life, told: boolean): void {
    for (const [address, server] of this.servers) if (server.life === life) this.servers.delete(address);
    for (const conversation of this.conversations) conversation.died(life, told);
  }

  #latencyMs(): number {
    const { fromMs, toMs, slow, slowMs } = this.weather;
    const usual = fromMs + this.random.float() * (toMs - fromMs);
    return slow > 0 && this.random.float() < slow ? usual + this.random.float() * slowMs : usual;
  }

  /** Whichever left first comes first, whatever this one's own latency was. */
  #arrive(lane: Lane): void {
    if (lane.queue.length === 0) return;
    if (this.blocked(lane.from, lane.to)) this.#held.push(lane);
    else lane.queue.shift()?.();
  }
}

/** The host of an address is the name of the node. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}
