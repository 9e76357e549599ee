import type { CallOptions, Channel, Services, Transport } from "../../transport/transport.ts";
import { CALL_DEADLINE_MS } from "../../transport/transport.ts";
import { HodeiError, toHodeiError } from "../../workflow/errors.ts";
import { Conversation } from "./conversation.ts";
import { copyOf } from "../../transport/copy.ts";
import type { Life } from "./life.ts";
import { hostOf, type Network } from "./network.ts";
import { type AnyServices, type Asked, type Invoke, ServerSide } from "./server.ts";
import { converse, type Flow, flowsOf, produce, sideOf } from "./stream.ts";

/** The transport port over the simulated network, as one life has it. */
export function simulatedTransport(network: Network, life: Life): Transport {
  return {
    serve: async ({ address, services, authenticate }) => serve(network, life, address, { ...services }, authenticate),
    connect: ({ address, token }) => new SimulatedChannel(network, life, address, token),
  };
}

/** Also what is not in the API. Throws ADDRESS_IN_USE. */
export function serve(
  network: Network,
  life: Life,
  address: string,
  services: AnyServices | Services,
  authenticate?: Parameters<Transport["serve"]>[0]["authenticate"],
): ServerSide {
  if (!/^.+:\d+$/.test(address)) {
    throw new HodeiError("INVALID_ARGUMENT", `address "${address}" is not host:port`, { field: "address" });
  }
  const own = network.freeAddress(address);
  if (network.servers.has(own)) {
    throw new HodeiError("ADDRESS_IN_USE", `another server listens on ${own}`, { facts: { address: own } });
  }
  const server = new ServerSide({ address: own, life, network, services: { ...services }, authenticate });
  network.servers.set(own, server);
  return server;
}

/** A unary call by name. */
export async function callByName(
  about: { network: Network; life: Life; address: string; track?: Set<Conversation> },
  asked: Omit<Asked, "deadlineMs">,
  request: unknown,
  options: CallOptions = {},
): Promise<unknown> {
  if (options.signal?.aborted) throw cancelled(options.signal.reason);
  const deadlineMs = options.deadlineMs ?? CALL_DEADLINE_MS;
  const { network } = about;
  const conversation = open(about, options.signal);
  const { client, server } = conversation;
  const answer = Promise.withResolvers<unknown>();
  client.onBreak(answer.reject);
  const timer = about.life.clock.after(deadlineMs, () =>
    conversation.breakOff(client, new HodeiError("DEADLINE_EXCEEDED", `no answer within ${deadlineMs} ms`)),
  );
  client.onFinish(() => timer.cancel());
  const full = { ...asked, deadlineMs };
  const arrived = (invoke: Invoke): void => {
    const own = server.life?.clock.after(deadlineMs, () =>
      server.break(new HodeiError("DEADLINE_EXCEEDED", `no answer within ${deadlineMs} ms`)),
    );
    server.onFinish(() => own?.cancel());
    void handled(invoke, copyOf(request)).then((result) => {
      if (server.over) return;
      if (network.suffers("lost")) return conversation.cut("reset in the middle of the answer");
      server.say(client, () => {
        if (client.over) return;
        if ("error" in result) answer.reject(result.error);
        else answer.resolve(result.answer);
        client.finish();
      });
      server.finish();
    });
  };
  client.say(server, () => reach(conversation, full, arrived));
  if (network.suffers("duplicated")) repeat(about, full, request);
  return await answer.promise;
}

/** The same request once more, as from a caller that got no answer and asked again; nobody waits for what it gives. */
function repeat(about: { network: Network; life: Life; address: string }, asked: Asked, request: unknown): void {
  const conversation = new Conversation(about.network, about.life, about.address, hostOf(about.address));
  const { client, server } = conversation;
  client.say(server, () =>
    reach(conversation, asked, (invoke) => {
      void handled(invoke, copyOf(request)).then(() => server.finish());
    }),
  );
  client.finish();
}

async function handled(invoke: Invoke, request: unknown): Promise<{ answer: unknown } | { error: HodeiError }> {
  try {
    return { answer: copyOf(await invoke(request)) };
  } catch (error) {
    return { error: toHodeiError(error) };
  }
}

/** The request has come to the host: whoever listens there now takes it, in its own life. */
function reach(conversation: Conversation, asked: Asked, arrived: (invoke: Invoke) => void): void {
  const { network, address, server } = conversation;
  const listening = network.servers.get(address);
  if (!listening) {
    const refused = new HodeiError("UNAVAILABLE", `nothing listens on ${address}`, {
      facts: { evidence: "refused", address },
    });
    return conversation.breakOff(server, refused);
  }
  server.life = listening.life;
  listening.life.enter(() => {
    if (server.over) return;
    let invoke: Invoke;
    try {
      invoke = listening.accept(conversation, asked);
    } catch (error) {
      return conversation.breakOff(server, toHodeiError(error));
    }
    arrived(invoke);
  });
}

function open(
  about: { network: Network; life: Life; address: string; track?: Set<Conversation> },
  signal: AbortSignal | undefined,
): Conversation {
  const conversation = new Conversation(about.network, about.life, about.address, hostOf(about.address));
  const { client } = conversation;
  about.track?.add(conversation);
  client.onFinish(() => about.track?.delete(conversation));
  if (signal) {
    const abort = (): void => conversation.breakOff(client, cancelled(signal.reason));
    client.onFinish(about.life.onAbort(signal, abort));
  }
  return conversation;
}

class SimulatedChannel implements Channel {
  readonly address: string;
  readonly #network: Network;
  readonly #life: Life;
  readonly #token: string | undefined;
  readonly #open = new Set<Conversation>();
  #closed = false;

  constructor(network: Network, life: Life, address: string, token: string | undefined) {
    this.#network = network;
    this.#life = life;
    this.address = address;
    this.#token = token;
  }

  call: Channel["call"] = async (service, method, request, options = {}) => {
    if (this.#closed) throw cancelled("the channel was closed");
    // The handler's type was tied to the method's when it was offered.
    return (await callByName(this.#about, { service, method, token: this.#token }, request, options)) as never;
  };

  stream: Channel["stream"] = (service, method, request, options = {}) => ({
    [Symbol.asyncIterator]: () => {
      let flow: Flow | undefined;
      let conversation: Conversation | undefined;
      const begin = (): Flow => {
        conversation = this.#begin(options.signal);
        const { client, server } = conversation;
        const { down } = flowsOf(conversation);
        const asked = { service, method, token: this.#token, deadlineMs: undefined };
        const sent = copyOf<unknown>(request);
        client.say(server, () =>
          reach(conversation as Conversation, asked, (invoke) => {
            void produce(server, invoke, sent, down).then(() => server.say(client, () => client.finish()));
          }),
        );
        return down;
      };
      return {
        // The call is made by the first read: one that nobody reads holds nothing.
        next: async () => {
          flow ??= begin();
          return (await flow.pipe.next()) as never;
        },
        return: async () => {
          conversation?.breakOff(conversation.client, cancelled("the reader left"));
          return { value: undefined, done: true };
        },
      };
    },
  });

  duplex: Channel["duplex"] = (service, method, options = {}) => {
    const conversation = this.#begin(options.signal);
    const { client, server } = conversation;
    const flows = flowsOf(conversation);
    const asked = { service, method, token: this.#token, deadlineMs: undefined };
    client.say(server, () => reach(conversation, asked, (invoke) => void converse(conversation, invoke, flows)));
    if (this.#closed) client.break(cancelled("the channel was closed"));
    else if (options.signal?.aborted) client.break(cancelled(options.signal.reason));
    return sideOf(conversation, client, flows.up, flows.down) as never;
  };

  async close(): Promise<void> {
    this.#closed = true;
    for (const conversation of this.#open) {
      conversation.breakOff(conversation.client, cancelled("the channel was closed"));
    }
  }

  get #about() {
    return { network: this.#network, life: this.#life, address: this.address, track: this.#open };
  }

  #begin(signal: AbortSignal | undefined): Conversation {
    return open(this.#about, signal);
  }
}

function cancelled(reason: unknown): HodeiError {
  const words = reason instanceof Error ? reason.message : String(reason);
  return new HodeiError("CANCELLED", `the call was cancelled: ${words}`, { cause: reason });
}
