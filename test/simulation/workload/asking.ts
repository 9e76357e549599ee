import { HodeiError, isHodeiError, toHodeiError } from "../../../workflow/errors.ts";
import type { Api, Channel, MethodsOf, RequestOf, ResponseOf } from "../../../transport/transport.ts";
import type { ClientSite } from "../run.ts";
import { diceOf, type Dice } from "./dice.ts";

/** Numbers the calls of all clients of a run, and the messages with which they bring everything to its end. */
export type Counter = { next: number; messages: number };

type Process = ReturnType<ClientSite["client"]>;
type Options = { deadlineMs?: number; tries?: number };

const DEADLINE_MS = 4_000;
const TRIES = 6;
const PAUSE_MS = { from: 50, to: 1_500 };

/**
 * One client process: each call goes to an orchestrator chosen anew and is recorded, with what came back. A call that may
 * or may not have happened is repeated with the same request, as a client that made its ids before it sent.
 */
export class Asking {
  readonly name: string;
  readonly #site: ClientSite;
  readonly #process: Process;
  readonly #dice: Dice;
  readonly #counter: Counter;
  readonly #channels = new Map<string, Channel>();

  constructor(site: ClientSite, name: string, counter: Counter) {
    this.name = name;
    this.#site = site;
    this.#process = site.client(name);
    this.#dice = diceOf(site.random);
    this.#counter = counter;
  }

  /** Undefined: refused for good, or nobody answered in all the tries. */
  async ask<S extends keyof Api, M extends MethodsOf<S, "unary">>(
    service: S,
    method: M,
    request: RequestOf<S, M>,
    { deadlineMs = DEADLINE_MS, tries = TRIES }: Options = {},
  ): Promise<ResponseOf<S, M> | undefined> {
    for (let left = tries; left > 0; left--) {
      const call = this.#counter.next++;
      this.#site.record({ kind: "asked", call, client: this.name, method: `${service}.${method}`, request });
      try {
        const response = await this.#channel().call(service, method, request, { deadlineMs });
        this.#site.record({ kind: "answered", call, response });
        return response;
      } catch (error) {
        const failure = toHodeiError(error);
        this.#site.record({ kind: "answered", call, error: errorWords(failure) });
        if (!isHodeiError(failure, "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"))
          return undefined;
      }
      await this.pause(this.#dice.int(PAUSE_MS.from, PAUSE_MS.to));
    }
    return undefined;
  }

  pause(ms: number): Promise<void> {
    return this.#process.clock.sleep(ms);
  }

  nowMs(): number {
    return this.#process.clock.monotonic();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#channels.values()].map((channel) => channel.close()));
  }

  #channel(): Channel {
    const { addresses, transport } = this.#process;
    const address = addresses[this.#dice.int(0, addresses.length - 1)];
    if (address === undefined) throw new HodeiError("INTERNAL", "a client without an orchestrator");
    const channel = this.#channels.get(address) ?? transport.connect({ address });
    this.#channels.set(address, channel);
    return channel;
  }
}

/** As the trace keeps an error: the code first, so that a checker can tell a refusal from a silence. */
function errorWords({ code, message }: HodeiError): string {
  return `${code}: ${message}`;
}
