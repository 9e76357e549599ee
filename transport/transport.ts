import type { ClusterApi } from "./api/cluster.ts";
import type { EngineApi } from "./api/engine.ts";
import type { ExecutionApi } from "./api/execution.ts";
import type { FleetApi } from "./api/fleet.ts";
import type { JobApi } from "./api/job.ts";
import type { TemplateApi } from "./api/template.ts";
import type { WorkerApi } from "./api/worker.ts";
import type { WorkflowApi } from "./api/workflow.ts";

/**
 * The port for calls between processes. Adapters: `local.ts` (same process), `grpc/`; both held to `conformance.ts`.
 *
 * - Errors cross whole: a handler's HodeiError arrives as a HodeiError of the same code, field, hint, violations and
 *   facts. Anything else arrives as INTERNAL. A peer that is not there: UNAVAILABLE. `facts.evidence` of an UNAVAILABLE
 *   is "refused" when nothing listens at the address (evidence of death), else absent.
 * - Every unary call has a deadline (default CALL_DEADLINE_MS); it reaches the handler as `context.signal` and
 *   `context.deadlineMs`. The caller gets DEADLINE_EXCEEDED, and CANCELLED after its own abort.
 * - Streams have no deadline of their own; they end by signal, by either side, or with the connection. Being taken has
 *   one: a peer that does not take a stream within CALL_DEADLINE_MS gives UNAVAILABLE. When a stream ends with an error
 *   messages still on their way may be lost: what arrives is a beginning, in order.
 * - Flow control: `send` resolves when the message was taken by a bounded buffer; a reader that stops reading stops the
 *   writer. No side buffers more than STREAM_BUFFER messages.
 */
export type Transport = {
  /** Listens on `host:port` (port 0: a free one). ADDRESS_IN_USE when taken. */
  serve(options: { address: string; services: Services; authenticate?: Authenticate }): Promise<Server>;
  /** Opens nothing yet; the connection is made by the first call and remade when it breaks. */
  connect(options: { address: string; token?: string }): Channel;
};

export const CALL_DEADLINE_MS = 10_000;
export const STREAM_BUFFER = 64;

export type Server = {
  /** `host:port` as others reach it. */
  address: string;
  /** Ends new calls at once (health: NOT_SERVING), waits `graceMs` for those in progress, then cuts. Default 2 s. */
  stop(graceMs?: number): Promise<void>;
};

export type Channel = {
  readonly address: string;
  call<S extends keyof Api, M extends MethodsOf<S, "unary">>(
    service: S,
    method: M,
    request: RequestOf<S, M>,
    options?: CallOptions,
  ): Promise<ResponseOf<S, M>>;
  /** The call is made by the first read; breaking out of the loop cancels it. */
  stream<S extends keyof Api, M extends MethodsOf<S, "stream">>(
    service: S,
    method: M,
    request: RequestOf<S, M>,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<ResponseOf<S, M>>;
  duplex<S extends keyof Api, M extends MethodsOf<S, "duplex">>(
    service: S,
    method: M,
    options?: { signal?: AbortSignal },
  ): Duplex<RequestOf<S, M>, ResponseOf<S, M>>;
  close(): Promise<void>;
};

export type CallOptions = { deadlineMs?: number; signal?: AbortSignal };

/** One side of a two-way stream. */
export type Duplex<Out, In> = {
  /** Resolves when taken by the bounded buffer; rejects when the stream has ended. */
  send(message: Out): Promise<void>;
  /**
   * What the peer sends; ends when it ends, throws when the stream breaks. To be read by one reader; a loop that is left
   * does not end the stream, another one goes on after it.
   */
  messages: AsyncIterable<In>;
  /** No more will be sent, after what was. On the server this ends the whole call, as the handler's return does. */
  end(): void;
  /** Breaks the stream at once, both ways. */
  cancel(): void;
};

export type CallContext = {
  /** Aborted when the caller gave up, its deadline passed or the connection broke. */
  signal: AbortSignal;
  /** What was left of the caller's deadline when the handler was called: a duration, fit to be passed on. */
  deadlineMs?: number;
  /** `host:port` of the other side, as far as known. */
  peer: string;
  identity: Identity;
};

/** Who calls, from the credential alone: a request never names its own namespace. */
export type Identity = { namespace: string; subject: string; role: "client" | "engine" | "worker" };

/** Throws UNAUTHENTICATED. Absent: everyone is the anonymous client of namespace "default". */
export type Authenticate = (credential: { token?: string; service: keyof Api }) => Identity;

export const ANONYMOUS: Identity = { namespace: "default", subject: "anonymous", role: "client" };

/** Every service by name; a method is unary, a server stream or a two-way stream. */
export type Api = {
  workflow: WorkflowApi;
  execution: ExecutionApi;
  job: JobApi;
  cluster: ClusterApi;
  fleet: FleetApi;
  template: TemplateApi;
  engine: EngineApi;
  worker: WorkerApi;
};

export type Unary<Request, Response> = { type: "unary"; request: Request; response: Response };
export type ServerStream<Request, Response> = { type: "stream"; request: Request; response: Response };
export type TwoWay<Request, Response> = { type: "duplex"; request: Request; response: Response };
type AnyMethod = { type: "unary" | "stream" | "duplex"; request: unknown; response: unknown };

export type MethodsOf<S extends keyof Api, T extends AnyMethod["type"]> = {
  [M in keyof Api[S]]: Api[S][M] extends { type: T } ? M : never;
}[keyof Api[S]] &
  string;
export type RequestOf<S extends keyof Api, M extends keyof Api[S]> = Api[S][M] extends { request: infer R } ? R : never;
export type ResponseOf<S extends keyof Api, M extends keyof Api[S]> = Api[S][M] extends { response: infer R }
  ? R
  : never;

/** What a server offers: any subset of the services, each whole. */
export type Services = { [S in keyof Api]?: ServiceHandlers<S> };
export type ServiceHandlers<S extends keyof Api> = { [M in keyof Api[S]]: HandlerOf<Api[S][M]> };
export type HandlerOf<Method> = Method extends { type: "unary"; request: infer Q; response: infer A }
  ? (request: Q, context: CallContext) => Promise<A>
  : Method extends { type: "stream"; request: infer Q; response: infer A }
    ? (request: Q, context: CallContext) => AsyncIterable<A>
    : Method extends { type: "duplex"; request: infer Q; response: infer A }
      ? (stream: Duplex<A, Q>, context: CallContext) => Promise<void>
      : never;
