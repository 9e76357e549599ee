import { HodeiError } from "../../workflow/errors.ts";
import type { Life } from "./life.ts";
import type { Lane, Network } from "./network.ts";

/**
 * One call or stream between two processes: two sides, each in its own life, and a lane each way. Either side may break
 * off by itself; the other learns of it by a message, or never.
 */
export class Conversation {
  readonly network: Network;
  readonly address: string;
  readonly client: Side;
  readonly server: Side;

  constructor(network: Network, life: Life, address: string, serverHost: string) {
    this.network = network;
    this.address = address;
    this.client = new Side(network, network.lane(life.node, serverHost), () => this.#over());
    this.client.life = life;
    this.server = new Side(network, network.lane(serverHost, life.node), () => this.#over());
    network.conversations.add(this);
  }

  /** Breaks this side now and tells the other. */
  breakOff(side: Side, error: HodeiError): void {
    if (side.over) return;
    side.break(error);
    const other = side === this.client ? this.server : this.client;
    side.say(other, () => other.break(error));
  }

  /** The connection is cut: each side finds out by itself. What is on its way may still come, or not. */
  cut(reason: string): void {
    const lost = new HodeiError("UNAVAILABLE", `the connection to ${this.address} broke: ${reason}`);
    for (const side of [this.client, this.server]) {
      if (side.over) continue;
      const other = side === this.client ? this.server : this.client;
      if (this.network.random.float() < 0.5) other.lane.queue.length = 0;
      // As if the other side had said it: it comes in order, when anything can come at all.
      other.say(side, () => side.break(lost));
    }
  }

  died(life: Life, told: boolean): void {
    const [dead, other] = this.client.life === life ? [this.client, this.server] : [this.server, this.client];
    if (dead.life !== life) return;
    dead.forget();
    if (!told || other.over) return;
    const lost = new HodeiError("UNAVAILABLE", `the connection to ${this.address} broke: the other side has gone`);
    if (this.network.random.float() < 0.5) dead.lane.queue.length = 0;
    dead.say(other, () => other.break(lost));
  }

  #over(): void {
    if (this.client.over && this.server.over) this.network.conversations.delete(this);
  }
}

/** One end of a conversation. `life` is unknown on the server's side until the request has arrived. */
export class Side {
  readonly network: Network;
  /** What this side says travels here. */
  readonly lane: Lane;
  life: Life | undefined;
  readonly #abort = new AbortController();
  readonly #onOver: () => void;
  #finishing: (() => void)[] = [];
  #onBreak: ((error: HodeiError) => void) | undefined;
  #over = false;

  constructor(network: Network, lane: Lane, onOver: () => void) {
    this.network = network;
    this.lane = lane;
    this.#onOver = onOver;
  }

  get over(): boolean {
    return this.#over;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onBreak(action: (error: HodeiError) => void): void {
    this.#onBreak = action;
  }

  onFinish(action: () => void): void {
    this.#finishing.push(action);
  }

  /** `action` happens in the other side's life, when it arrives there. A host answers for its dead processes. */
  say(other: Side, action: () => void): void {
    this.network.send(this.lane, () => {
      if (other.life?.state !== "dead") {
        if (other.life) other.life.enter(action);
        else action();
      } else if (!this.#over) {
        const lost = new HodeiError("UNAVAILABLE", "the connection broke: the other side has gone");
        this.network.send(other.lane, () => this.life?.enter(() => this.break(lost)));
      }
    });
  }

  /** Ends it without an answer. */
  break(error: HodeiError): void {
    if (this.#over) return;
    this.#onBreak?.(error);
    this.#abort.abort(error);
    this.finish();
  }

  finish(): void {
    if (this.#over) return;
    this.#over = true;
    for (const action of this.#finishing) action();
    this.#onOver();
  }

  /** Its process is dead: nothing is told to anyone. */
  forget(): void {
    this.#over = true;
    this.#onOver();
  }
}
