import type { Clock, Timer } from "../base/clock.ts";
import { HodeiError, toHodeiError } from "../workflow/errors.ts";
import { copyOf } from "./copy.ts";
import { Pipe, pump } from "./pipe.ts";
import type { Api, Authenticate, CallContext, Channel, Duplex, Server, Services, Transport } from "./transport.ts";
import { ANONYMOUS, CALL_DEADLINE_MS } from "./transport.ts";

/**
 * The port within one process: no sockets, no codecs, the same promises. Messages are cloned, so that no side sees the
 * other change one after it was sent, as over a wire. Time is the injected clock's alone: a test owns every deadline.
 */
export type LocalNetwork = { readonly servers: Map<string, LocalServer>; nextPort: number };

/** Transports of one network reach each other. */
export function createLocalNetwork(): LocalNetwork {
  return { servers: new Map(), nextPort: 1 };
}

const PROCESS_NETWORK = createLocalNetwork();

/** Without `network`: the one that all local transports of this process share. */
export function createLocalTransport(options: { clock: Clock; network?: LocalNetwork }): Transport {
  const network = options.network ?? PROCESS_NETWORK;
  return {
    async serve({ address, services, authenticate }) {
      const server = new LocalServer(options.clock, network, freeAddress(network, address), services, authenticate);
      network.servers.set(server.address, server);
      return server;
    },
    connect: ({ address, token }) => new LocalChannel(options.clock, network, address, token),
  };
}

function freeAddress(network: LocalNetwork, address: string): string {
  const [, host, port] = /^(.+):(\d+)$/.exec(address) ?? [];
  if (host === undefined || port === undefined) {
    throw new HodeiError("INVALID_ARGUMENT", `address "${address}" is not host:port`, { field: "address" });
  }
  if (Number(port) !== 0) {
    if (!network.servers.has(address)) return address;
    throw new HodeiError("ADDRESS_IN_USE", `another server listens on ${address}`, { facts: { address } });
  }
  for (;;) {
    const candidate = `${host}:${network.nextPort++}`;
    if (!network.servers.has(candidate)) return candidate;
  }
}

class LocalServer implements Server {
  readonly address: string;
  readonly #clock: Clock;
  readonly #network: LocalNetwork;
  readonly #services: Services;
  readonly #authenticate: Authenticate | undefined;
  readonly #calls = new Set<LocalCall>();
  #drained: (() => void) | undefined;
  #stopped: Promise<void> | undefined;

  constructor(
    clock: Clock,
    network: LocalNetwork,
    address: string,
    services: Services,
    authenticate: Authenticate | undefined,
  ) {
    this.#clock = clock;
    this.#network = network;
    this.address = address;
    this.#services = services;
    this.#authenticate = authenticate;
  }

  /** The call as it is on this side. Throws UNIMPLEMENTED or what `authenticate` throws. */
  accept(call: LocalCall, service: keyof Api, method: string, token: string | undefined): Invoke {
    const handlers: Record<string, unknown> | undefined = this.#services[service];
    const handler = handlers?.[method];
    if (typeof handler !== "function") {
      throw new HodeiError("UNIMPLEMENTED", `${this.address} does not offer ${service}.${method}`, {
        facts: { service, method },
      });
    }
    const identity = this.#authenticate ? this.#authenticate({ token, service }) : ANONYMOUS;
    const context: CallContext = { signal: call.signal, peer: "in-process", identity };
    if (call.deadlineMs !== undefined) context.deadlineMs = call.deadlineMs;
    this.#calls.add(call);
    call.onFinish(() => {
      this.#calls.delete(call);
      if (this.#calls.size === 0) this.#drained?.();
    });
    return (input) => Reflect.apply(handler, handlers, [input, context]) as unknown;
  }

  stop(graceMs = 2000): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    this.#network.servers.delete(this.address);
    if (this.#calls.size === 0) return;
    const drained = Promise.withResolvers<void>();
    this.#drained = drained.resolve;
    const timer = this.#clock.after(graceMs, drained.resolve);
    await drained.promise;
    timer.cancel();
    for (const call of this.#calls) {
      call.breakOff(new HodeiError("UNAVAILABLE", `${this.address} stopped during the call`));
    }
  }
}

type Invoke = (input: unknown) => unknown;

/** One call in progress, from begin to whichever comes first: its answer, its deadline, an abort, the server's end. */
class LocalCall {
  readonly deadlineMs: number | undefined;
  readonly #abort = new AbortController();
  readonly #onFinish: (() => void)[] = [];
  readonly #timer: Timer | undefined;
  #onBreak: ((error: HodeiError) => void) | undefined;
  #over = false;

  constructor(clock: Clock, deadlineMs: number | undefined, signal: AbortSignal | undefined) {
    this.deadlineMs = deadlineMs;
    if (deadlineMs !== undefined) {
      this.#timer = clock.after(deadlineMs, () =>
        this.breakOff(new HodeiError("DEADLINE_EXCEEDED", `no answer within ${Math.round(deadlineMs)} ms`)),
      );
    }
    if (!signal) return;
    const cancel = (): void => this.breakOff(cancelled(signal.reason));
    signal.addEventListener("abort", cancel, { once: true });
    this.onFinish(() => signal.removeEventListener("abort", cancel));
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onFinish(action: () => void): void {
    this.#onFinish.push(action);
  }

  onBreak(action: (error: HodeiError) => void): void {
    this.#onBreak = action;
  }

  /** Ends it without an answer: both sides learn why. */
  breakOff(error: HodeiError): void {
    if (this.#over) return;
    this.#onBreak?.(error);
    this.#abort.abort(error);
    this.finish();
  }

  finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    for (const action of this.#onFinish) action();
  }
}

class LocalChannel implements Channel {
  readonly address: string;
  readonly #clock: Clock;
  readonly #network: LocalNetwork;
  readonly #token: string | undefined;
  readonly #calls = new Set<LocalCall>();
  #closed = false;

  constructor(clock: Clock, network: LocalNetwork, address: string, token: string | undefined) {
    this.#clock = clock;
    this.#network = network;
    this.address = address;
    this.#token = token;
  }

  call: Channel["call"] = async (service, method, request, options = {}) => {
    const { call, invoke } = this.#open(service, method, options.deadlineMs ?? CALL_DEADLINE_MS, options.signal);
    const answer = Promise.withResolvers<unknown>();
    call.onBreak(answer.reject);
    const handled = async (): Promise<unknown> => copyOf(await invoke(copyOf<unknown>(request)));
    handled().then(answer.resolve, (error: unknown) => answer.reject(toHodeiError(error)));
    try {
      // The handler's type was tied to the method's when it was offered.
      return (await answer.promise) as never;
    } finally {
      call.finish();
    }
  };

  stream: Channel["stream"] = (service, method, request, options = {}) => ({
    [Symbol.asyncIterator]: () => {
      const pipe = new Pipe<never>();
      let call: LocalCall | undefined;
      const begin = (): LocalCall => {
        const opened = this.#open(service, method, undefined, options.signal);
        opened.call.onBreak((error) => pipe.breakOff(error));
        void produce(opened.call, opened.invoke, request, pipe);
        return opened.call;
      };
      return {
        // The call is made by the first read: one that nobody reads holds nothing.
        next: async () => {
          call ??= begin();
          return await pipe.next();
        },
        return: async () => {
          call?.breakOff(cancelled("the reader left"));
          pipe.breakOff(cancelled("the reader left"));
          return { value: undefined, done: true };
        },
      };
    },
  });

  duplex: Channel["duplex"] = (service, method, options = {}) => {
    const up = new Pipe<unknown>();
    const down = new Pipe<never>();
    try {
      const { call, invoke } = this.#open(service, method, undefined, options.signal);
      call.onBreak((error) => {
        up.breakOff(error);
        down.breakOff(error);
      });
      void converse(call, invoke, up, down);
      return side(call, up, down);
    } catch (error) {
      // As over a wire: opening never throws, the stream is found broken.
      up.breakOff(toHodeiError(error));
      down.breakOff(toHodeiError(error));
      return side(undefined, up, down);
    }
  };

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.breakOff(cancelled("the channel was closed"));
  }

  #open(
    service: keyof Api,
    method: string,
    deadlineMs: number | undefined,
    signal: AbortSignal | undefined,
  ): { call: LocalCall; invoke: Invoke } {
    if (this.#closed) throw cancelled("the channel was closed");
    if (signal?.aborted) throw cancelled(signal.reason);
    const server = this.#network.servers.get(this.address);
    if (!server) {
      throw new HodeiError("UNAVAILABLE", `nothing listens on ${this.address}`, {
        facts: { evidence: "refused", address: this.address },
      });
    }
    const call = new LocalCall(this.#clock, deadlineMs, signal);
    this.#calls.add(call);
    call.onFinish(() => this.#calls.delete(call));
    try {
      return { call, invoke: server.accept(call, service, method, this.#token) };
    } catch (error) {
      call.finish();
      throw error;
    }
  }
}

/** Server side of a server stream. */
async function produce(call: LocalCall, invoke: Invoke, request: unknown, pipe: Pipe<never>): Promise<void> {
  try {
    const items = invoke(copyOf(request)) as AsyncIterable<never>;
    await pump(items, (item) => pipe.send(copyOf(item)), call.signal);
    pipe.end();
  } catch (error) {
    pipe.end(toHodeiError(error));
  } finally {
    call.finish();
  }
}

/** Server side of a two-way stream: it lasts as long as the handler, or until the handler ends it. */
async function converse(call: LocalCall, invoke: Invoke, up: Pipe<unknown>, down: Pipe<never>): Promise<void> {
  const ended = new HodeiError("UNAVAILABLE", "the server has ended the stream");
  const finish = (error?: HodeiError): void => {
    down.end(error);
    up.breakOff(error ?? ended);
    call.finish();
  };
  const stream: Duplex<never, unknown> = { ...side(call, down, up), end: () => finish() };
  try {
    await invoke(stream);
    finish();
  } catch (error) {
    finish(toHodeiError(error));
  }
}

function side<Out, In>(call: LocalCall | undefined, out: Pipe<Out>, incoming: Pipe<In>): Duplex<Out, In> {
  return {
    send: async (message) => await out.send(copyOf(message)),
    messages: incoming.messages,
    end: () => out.end(),
    cancel: () => call?.breakOff(cancelled("the stream was cancelled")),
  };
}

function cancelled(reason: unknown): HodeiError {
  const words = reason instanceof Error ? reason.message : String(reason);
  return new HodeiError("CANCELLED", `the call was cancelled: ${words}`, { cause: reason });
}
