import type { sendUnaryData, Server as WireServer, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { MethodDefinition, ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";
import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import { HodeiError, toHodeiError } from "../../workflow/errors.ts";
import { pump, streamEnded } from "../pipe.ts";
import type { Api, Authenticate, CallContext, Duplex, Server, Services } from "../transport.ts";
import { ANONYMOUS } from "../transport.ts";
import { readsBatches, sayBatches } from "./batch.ts";
import type { AnyMethod } from "./codec/table.ts";
import { loadCodec } from "./codec/table.ts";
import type { Tls } from "./credentials.ts";
import { createServer, serverCredentials } from "./credentials.ts";
import { toStatus } from "./errors.ts";
import { Introspection } from "./introspection.ts";
import { encodeMessage, Inlet, Outlet, unreadable } from "./stream.ts";
import { addUnimplemented } from "./unimplemented.ts";

type Environment = { clock: Clock; logger: Logger; authenticate: Authenticate | undefined };
type ServeOptions = Environment & { address: string; services: Services; tls: Tls | undefined };

const DEFAULT_GRACE_MS = 2000;
const bytesAsTheyAre = (bytes: Buffer): Buffer => bytes;

export async function serveGrpc(options: ServeOptions): Promise<Server> {
  const [, host, port] = /^(.+):(\d+)$/.exec(options.address) ?? [];
  if (host === undefined || port === undefined) {
    throw new HodeiError("INVALID_ARGUMENT", `address "${options.address}" is not host:port`, { field: "address" });
  }
  const server = createServer();
  const names: string[] = [];
  for (const service of Object.keys(options.services) as (keyof Api)[]) {
    const handlers: Record<string, unknown> | undefined = options.services[service];
    if (!handlers) continue;
    const codec = await loadCodec(service);
    names.push(codec.name);
    addService(server, service, codec.methods, handlers, options);
  }
  addUnimplemented(server);
  const introspection = new Introspection(names);
  introspection.addTo(server);
  const bound = await bind(server, options.address, options.tls);
  return new GrpcServer(server, introspection, `${host}:${bound}`, options.clock);
}

function bind(server: WireServer, address: string, tls: Tls | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, serverCredentials(tls), (error, port) => {
      if (!error) return resolve(port);
      if (/EADDRINUSE/.test(error.message)) {
        reject(
          new HodeiError("ADDRESS_IN_USE", `another process listens on ${address}`, {
            facts: { address },
            cause: error,
          }),
        );
      } else {
        reject(
          new HodeiError("INVALID_ARGUMENT", `cannot listen on ${address}: ${error.message}`, {
            field: "address",
            cause: error,
          }),
        );
      }
    });
  });
}

class GrpcServer implements Server {
  readonly address: string;
  readonly #server: WireServer;
  readonly #introspection: Introspection;
  readonly #clock: Clock;
  #stopped: Promise<void> | undefined;

  constructor(server: WireServer, introspection: Introspection, address: string, clock: Clock) {
    this.#server = server;
    this.#introspection = introspection;
    this.address = address;
    this.#clock = clock;
  }

  stop(graceMs = DEFAULT_GRACE_MS): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  /** NOT_SERVING first, so that a load balancer that watches health looks elsewhere; then no new calls; then the cut. */
  async #stop(graceMs: number): Promise<void> {
    this.#introspection.notServing();
    const closed = Promise.withResolvers<void>();
    const timer = this.#clock.after(graceMs, () => this.#server.forceShutdown());
    this.#server.tryShutdown(() => closed.resolve());
    await closed.promise;
    timer.cancel();
  }
}

/** One service's methods over bytes: our codecs do what grpc-js's (de)serializers would, with errors of ours. */
function addService(
  server: WireServer,
  service: keyof Api,
  methods: Record<string, AnyMethod>,
  handlers: Record<string, unknown>,
  environment: Environment,
): void {
  const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, codec] of Object.entries(methods)) {
    const handler = handlers[name];
    if (typeof handler !== "function") throw new HodeiError("INTERNAL", `${service}.${name} has no handler`);
    definition[name] = {
      path: codec.path,
      requestStream: codec.type === "duplex",
      responseStream: codec.type !== "unary",
      requestSerialize: bytesAsTheyAre,
      requestDeserialize: bytesAsTheyAre,
      responseSerialize: bytesAsTheyAre,
      responseDeserialize: bytesAsTheyAre,
    };
    const invoke = (input: unknown, context: CallContext): unknown =>
      Reflect.apply(handler, handlers, [input, context]) as unknown;
    const method: Method = { service, name, codec, invoke, environment };
    implementation[name] = IMPLEMENTATIONS[codec.type](method);
  }
  server.addService(definition, implementation);
}

type Method = {
  service: keyof Api;
  name: string;
  codec: AnyMethod;
  invoke(input: unknown, context: CallContext): unknown;
  environment: Environment;
};

const IMPLEMENTATIONS = {
  unary: (method: Method) => (call: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>) =>
    void answerUnary(method, call, respond),
  stream: (method: Method) => (call: ServerWritableStream<Buffer, Buffer>) => void answerStream(method, call),
  duplex: (method: Method) => (call: ServerDuplexStream<Buffer, Buffer>) => void answerDuplex(method, call),
};

async function answerUnary(
  method: Method,
  wire: ServerUnaryCall<Buffer, Buffer>,
  respond: sendUnaryData<Buffer>,
): Promise<void> {
  const call = new ServerCall(method, wire);
  try {
    const context = call.context();
    const answer = await method.invoke(decodeRequest(method, wire.request), context);
    const bytes = encodeAnswer(method, answer);
    call.finish();
    respond(null, bytes);
  } catch (error) {
    respond(call.failure(error));
  }
}

async function answerStream(method: Method, wire: ServerWritableStream<Buffer, Buffer>): Promise<void> {
  const call = new ServerCall(method, wire);
  const outlet = new Outlet();
  call.signal.addEventListener("abort", () => outlet.breakOff(call.signal.reason as HodeiError), { once: true });
  try {
    const context = call.context();
    const request = decodeRequest(method, wire.request);
    wire.sendMetadata(new Metadata());
    outlet.attach(wire, (value) => encodeAnswer(method, value));
    if (readsBatches(wire.metadata)) outlet.batch();
    const items = method.invoke(request, context) as AsyncIterable<unknown>;
    await pump(items, (item) => outlet.send(item), call.signal);
    call.finish();
    outlet.end();
  } catch (error) {
    outlet.flush();
    wire.emit("error", call.failure(error));
  }
}

async function answerDuplex(method: Method, wire: ServerDuplexStream<Buffer, Buffer>): Promise<void> {
  const call = new ServerCall(method, wire);
  const outlet = new Outlet();
  const inlet = new Inlet();
  const fail = (error: unknown): HodeiError => {
    const fault = toHodeiError(error);
    if (call.finished) return fault;
    const status = call.failure(fault);
    outlet.flush();
    outlet.breakOff(fault);
    inlet.breakOff(fault);
    wire.emit("error", status);
    return fault;
  };
  const complete = (): void => {
    if (call.finished) return;
    call.finish();
    outlet.end();
    inlet.breakOff(streamEnded());
  };
  call.signal.addEventListener("abort", () => {
    outlet.breakOff(call.signal.reason as HodeiError);
    inlet.breakOff(call.signal.reason as HodeiError);
  });
  const stream: Duplex<unknown, never> = {
    send: (message) => outlet.send(message),
    messages: inlet.messages,
    end: complete,
    cancel: () => void fail(new HodeiError("CANCELLED", "the server cancelled the stream")),
  };
  try {
    const context = call.context();
    // The client learns from the headers that the stream was taken.
    wire.sendMetadata(sayBatches(new Metadata()));
    outlet.attach(wire, (value) => encodeAnswer(method, value));
    if (readsBatches(wire.metadata)) outlet.batch();
    inlet.attach(
      wire,
      (bytes) => method.codec.request.decode(bytes),
      (error) => fail(unreadable(error, "INVALID_ARGUMENT")),
      // A reset also looks like an end first, and like a cancel later in the same turn: what is sound then has ended.
      () => void method.environment.clock.after(0, () => inlet.end()),
    );
    await method.invoke(stream, context);
    complete();
  } catch (error) {
    fail(error);
  }
}

type WireCall = Pick<ServerUnaryCall<Buffer, Buffer>, "metadata" | "getPeer" | "getDeadline"> & {
  on(event: "cancelled", listener: () => void): unknown;
};

/** What every kind of call has: who calls, how long, and whether it still waits. */
class ServerCall {
  readonly #method: Method;
  readonly #wire: WireCall;
  readonly #abort = new AbortController();
  finished = false;

  constructor(method: Method, wire: WireCall) {
    this.#method = method;
    this.#wire = wire;
    // grpc-js also says "cancelled" after a call that ended well.
    wire.on("cancelled", () => {
      if (this.finished) return;
      this.finished = true;
      this.#abort.abort(
        this.#leftMs() <= 0
          ? new HodeiError("DEADLINE_EXCEEDED", "the call's deadline has passed")
          : new HodeiError("CANCELLED", "the caller has gone"),
      );
    });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Throws what `authenticate` throws. */
  context(): CallContext {
    const { authenticate } = this.#method.environment;
    const [header] = this.#wire.metadata.get("authorization");
    const token = typeof header === "string" ? /^Bearer (.+)$/i.exec(header)?.[1] : undefined;
    const identity = authenticate ? authenticate({ token, service: this.#method.service }) : ANONYMOUS;
    const context: CallContext = { signal: this.signal, peer: this.#wire.getPeer(), identity };
    const leftMs = this.#leftMs();
    if (Number.isFinite(leftMs)) context.deadlineMs = Math.max(leftMs, 0);
    return context;
  }

  finish(): void {
    this.finished = true;
  }

  /** Ends the call with this error, as a status. What is not the caller's fault is logged with its cause. */
  failure(error: unknown): ReturnType<typeof toStatus> {
    const late = this.finished;
    this.finished = true;
    const fault = toHodeiError(error);
    if (fault.code === "INTERNAL" && !late) {
      const { service, name, environment } = this.#method;
      environment.logger.error({ error, service, method: name }, "a call failed by a defect");
    }
    return toStatus(fault);
  }

  #leftMs(): number {
    const deadline = this.#wire.getDeadline();
    return (deadline instanceof Date ? deadline.getTime() : deadline) - this.#method.environment.clock.now();
  }
}

function decodeRequest(method: Method, bytes: Buffer): unknown {
  try {
    return method.codec.request.decode(bytes);
  } catch (error) {
    throw unreadable(error, "INVALID_ARGUMENT");
  }
}

function encodeAnswer(method: Method, answer: unknown): Buffer {
  return encodeMessage((value) => method.codec.response.encode(value), answer, "INTERNAL");
}
