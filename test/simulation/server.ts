import type { Server } from "../../transport/transport.ts";
import type { Authenticate, CallContext } from "../../transport/transport.ts";
import { ANONYMOUS } from "../../transport/transport.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { Conversation } from "./conversation.ts";
import type { Life } from "./life.ts";
import type { Network } from "./network.ts";

/** Services by name; the world adds one that is not in the API (an orchestrator's gateway for children). */
export type AnyServices = Record<string, object | undefined>;
export type Asked = { service: string; method: string; token: string | undefined; deadlineMs: number | undefined };
export type Invoke = (input: unknown) => unknown;

/** What listens at one address: gone with its process. */
export class ServerSide implements Server {
  readonly address: string;
  readonly life: Life;
  readonly #network: Network;
  readonly #services: AnyServices;
  readonly #authenticate: Authenticate | undefined;
  readonly #open = new Set<Conversation>();
  #drained: (() => void) | undefined;

  constructor(of: {
    address: string;
    life: Life;
    network: Network;
    services: AnyServices;
    authenticate: Authenticate | undefined;
  }) {
    this.address = of.address;
    this.life = of.life;
    this.#network = of.network;
    this.#services = of.services;
    this.#authenticate = of.authenticate;
  }

  /** The call as it is on this side. Throws UNIMPLEMENTED or what `authenticate` throws. */
  accept(conversation: Conversation, asked: Asked): Invoke {
    const side = conversation.server;
    const { service, method, token, deadlineMs } = asked;
    const handlers = this.#services[service];
    const handler: unknown = handlers === undefined ? undefined : Reflect.get(handlers, method);
    if (typeof handler !== "function") {
      throw new HodeiError("UNIMPLEMENTED", `${this.address} does not offer ${service}.${method}`);
    }
    // Only services of the API have callers to tell apart.
    const identity = this.#authenticate ? this.#authenticate({ token, service: service as "engine" }) : ANONYMOUS;
    const context: CallContext = { signal: side.signal, peer: "simulated", identity };
    if (deadlineMs !== undefined) context.deadlineMs = deadlineMs;
    this.#open.add(conversation);
    side.onFinish(() => {
      this.#open.delete(conversation);
      if (this.#open.size === 0) this.#drained?.();
    });
    return (input) => Reflect.apply(handler, handlers, [input, context]) as unknown;
  }

  async stop(graceMs = 2000): Promise<void> {
    if (this.#network.servers.get(this.address) === this) this.#network.servers.delete(this.address);
    if (this.#open.size === 0) return;
    const drained = Promise.withResolvers<void>();
    this.#drained = drained.resolve;
    const timer = this.life.clock.after(graceMs, drained.resolve);
    await drained.promise;
    timer.cancel();
    const stopped = new HodeiError("UNAVAILABLE", `${this.address} stopped during the call`);
    for (const conversation of this.#open) conversation.breakOff(conversation.server, stopped);
  }
}
