import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { ClusterEvent, Severity } from "../transport/api/cluster.ts";
import type {
  ExecutionView,
  HistoryEntry,
  ListExecutionsRequest,
  LogsResponse,
  StartRequest,
  StartResponse,
} from "../transport/api/execution.ts";
import type { PlanResponse, RegisterResponse, WorkflowSummary, WorkflowVersion } from "../transport/api/workflow.ts";
import type { Api, CallOptions, Channel, MethodsOf, RequestOf, ResponseOf, Transport } from "../transport/transport.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import { ExecutionFailed } from "./failed.ts";
import { notEnded, notStarted, Runs } from "./runs.ts";
import type { Workflow, WorkflowDocument } from "./workflow.ts";

export type ClientOptions = {
  /** `host:port`s, tried in order; another one is taken when the current one is unavailable. */
  addresses: readonly string[];
  transport: Transport;
  clock: Clock;
  random: Random;
  token?: string;
  /** For calls that name none. Default 10 s. */
  deadlineMs?: number;
  /**
   * Give up after so long when every address refuses the connection and none has ever answered: a person who forgot to
   * start a cluster should not wait. Default: the deadline. Once one has answered, refusals are waited out as a restart.
   */
  refusedMs?: number;
};

export type StartOptions = {
  /** Yours, so that a retry is safe; a fresh one otherwise. Not `/`, `{` or `}`; at most 128 characters. */
  id?: string;
  /** Version, range or channel. Default: that of the Workflow given, else channel `stable`, else the highest version. */
  version?: string;
  labels?: Record<string, string>;
  priority?: "low" | "normal" | "high";
  deadlineMs?: number;
  signal?: AbortSignal;
};

/** A started execution; it remembers, in the types alone, what the workflow gives. */
export type Started<Output = unknown> = StartResponse & { readonly types?: { output: Output } };

const RETRY = { initialMs: 50, maxMs: 1000 };

/**
 * A client of the orchestrators. Every write carries an id made before it is sent, so a call that came back
 * UNAVAILABLE is repeated, on another address if there is one, until its deadline. Throws HodeiError.
 */
export class HodeiClient {
  readonly #options: ClientOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #runs: Runs;
  #current = 0;
  /** Whether a server has ever answered, with whatever. */
  #answered = false;

  constructor(options: ClientOptions) {
    if (options.addresses.length === 0)
      throw new HodeiError("INVALID_ARGUMENT", "a client needs at least one address", { field: "addresses" });
    this.#options = options;
    this.#runs = new Runs(options.clock, () => {
      const [channel] = this.#channel();
      return { stream: channel.duplex("execution", "run"), answers: (id) => this.#answers(channel, id) };
    });
  }

  /**
   * Publishes a definition: a Workflow, a plain document, YAML or JSON text; or `name, version, build` where `build`
   * gives the document and must agree with both. The same version and content again is answered, not refused.
   */
  register(workflow: Workflow | WorkflowDocument | string): Promise<RegisterResponse>;
  register(name: string, version: string, build: () => Workflow | WorkflowDocument): Promise<RegisterResponse>;
  async register(
    first: Workflow | WorkflowDocument | string,
    version?: string,
    build?: () => Workflow | WorkflowDocument,
  ): Promise<RegisterResponse> {
    if (version === undefined || build === undefined)
      return this.call("workflow", "register", { source: sourceOf(first) });
    const built = build();
    const { metadata } = "document" in built ? built.document : built;
    if (metadata.name !== first || metadata.version !== version) {
      const message = `registered as ${first as string}@${version}, but the definition says ${metadata.name}@${metadata.version}`;
      throw new HodeiError("INVALID_ARGUMENT", message, {
        field: "metadata",
        hint: "Give both the same name and version.",
      });
    }
    return this.call("workflow", "register", { source: sourceOf(built) });
  }

  /** What `register` would do, without doing it. */
  plan(workflow: Workflow | WorkflowDocument | string): Promise<PlanResponse> {
    return this.call("workflow", "plan", { source: sourceOf(workflow) });
  }

  /** Points `channel` at a published version; promoting an older one is how to roll back. */
  async promote(name: string, version: string, channel = "stable"): Promise<{ previousVersion?: string }> {
    return this.call("workflow", "promote", { name, version, channel });
  }

  async delete(name: string, version: string): Promise<void> {
    await this.call("workflow", "delete", { name, version });
  }

  async workflows(name?: string): Promise<WorkflowSummary[]> {
    return (await this.call("workflow", "list", { name })).workflows;
  }

  workflow(name: string, version?: string): Promise<WorkflowVersion> {
    return this.call("workflow", "get", { name, version });
  }

  /** Committed when it resolves. */
  start<Input, Output>(
    workflow: Workflow<Input, Output>,
    input: Input,
    options?: StartOptions,
  ): Promise<Started<Output>>;
  start(workflow: string, input?: unknown, options?: StartOptions): Promise<Started>;
  async start(workflow: Workflow | string, input: unknown = {}, options: StartOptions = {}): Promise<Started> {
    return this.call("execution", "start", this.#startRequest(workflow, input, options), options);
  }

  /** Starts and waits; the output of a success, ExecutionFailed for the rest. No deadline unless one is given. */
  execute<Input, Output>(workflow: Workflow<Input, Output>, input: Input, options?: StartOptions): Promise<Output>;
  execute(workflow: string, input?: unknown, options?: StartOptions): Promise<unknown>;
  async execute(workflow: Workflow | string, input: unknown = {}, options: StartOptions = {}): Promise<unknown> {
    const { clock } = this.#options;
    const { signal, deadlineMs: endMs } = options;
    const request = this.#startRequest(workflow, input, options);
    const startMs = endMs ?? this.#defaultDeadlineMs;
    const sinceMs = clock.monotonic();
    const left = (ofMs: number): number => ofMs - (clock.monotonic() - sinceMs);
    const ran = await this.#runs.run(request, { startMs, endMs, signal });
    if (ran.kind === "ended") {
      this.#answered = true;
      return outputOf(ran.view);
    }
    if (!ran.started) {
      const leftMs = left(startMs);
      if (leftMs <= 0) throw notStarted(request.id, startMs);
      await this.call("execution", "start", request, { signal, deadlineMs: leftMs });
    }
    return this.result(request.id, endMs === undefined ? { signal } : { signal, deadlineMs: left(endMs) });
  }

  /** The output of an execution that was started before, once it has succeeded; ExecutionFailed when it ends otherwise. */
  result<Output>(started: Started<Output>, options?: CallOptions): Promise<Output>;
  result(id: string, options?: CallOptions): Promise<unknown>;
  async result(started: Started | string, options: CallOptions = {}): Promise<unknown> {
    return outputOf(await this.wait(typeof started === "string" ? started : started.id, options));
  }

  /** Resolves when the execution has ended, however. Waits on through lost connections. */
  async wait(id: string, options: CallOptions = {}): Promise<ExecutionView> {
    const { clock } = this.#options;
    const startedAt = clock.monotonic();
    for (;;) {
      const leftMs = (options.deadlineMs ?? Number.POSITIVE_INFINITY) - (clock.monotonic() - startedAt);
      if (leftMs <= 0) throw notEnded(id);
      try {
        return await this.call(
          "execution",
          "wait",
          { id },
          { signal: options.signal, deadlineMs: Math.min(leftMs, LONG_POLL_MS) },
        );
      } catch (error) {
        if (!isHodeiError(error, "DEADLINE_EXCEEDED", "UNAVAILABLE")) throw error;
      }
    }
  }

  get(id: string): Promise<ExecutionView> {
    return this.call("execution", "get", { id });
  }

  list(filter: Partial<ListExecutionsRequest> = {}): Promise<ResponseOf<"execution", "list">> {
    return this.call("execution", "list", { states: [], labels: {}, limit: 100, ...filter });
  }

  async cancel(id: string, reason = ""): Promise<void> {
    await this.call("execution", "cancel", { id, reason, messageId: this.#options.random.id() });
  }

  async signal(id: string, name: string, payload: unknown = null): Promise<void> {
    await this.call("execution", "signal", {
      id,
      name,
      payloadJson: jsonOf(payload),
      messageId: this.#options.random.id(),
    });
  }

  async pause(id: string): Promise<void> {
    await this.call("execution", "pause", { id, messageId: this.#options.random.id() });
  }

  async resume(id: string): Promise<void> {
    await this.call("execution", "resume", { id, messageId: this.#options.random.id() });
  }

  /** Runs failed steps (or those named) and what depends on them again. */
  async retry(id: string, steps: string[] = []): Promise<void> {
    await this.call("execution", "retry", { id, steps, messageId: this.#options.random.id() });
  }

  /** All recorded events, oldest first. */
  async *history(id: string): AsyncGenerator<HistoryEntry> {
    for (let after = 0, more = true; more;) {
      const page = await this.call("execution", "history", { id, afterRevision: after, limit: 1000 });
      yield* page.entries;
      after = page.entries.at(-1)?.revision ?? after;
      more = page.more;
    }
  }

  /** Events from `afterRevision` on, live, until the execution ends. */
  watch(id: string, afterRevision = 0, signal?: AbortSignal): AsyncIterable<HistoryEntry> {
    return this.#channel()[0].stream("execution", "watch", { id, afterRevision }, { signal });
  }

  logs(
    id: string,
    options: { step?: string; follow?: boolean; after?: string; signal?: AbortSignal } = {},
  ): AsyncIterable<LogsResponse> {
    const { step, follow = false, after, signal } = options;
    return this.#channel()[0].stream("execution", "logs", { id, step, follow, after }, { signal });
  }

  /** What the cluster does, live from now on. */
  events(
    options: { minSeverity?: Severity; kinds?: string[]; signal?: AbortSignal } = {},
  ): AsyncIterable<ClusterEvent> {
    const { minSeverity = "info", kinds = [], signal } = options;
    return this.#channel()[0].stream("cluster", "watchEvents", { minSeverity, kinds }, { signal });
  }

  /** Any unary method of the API, with retry and failover. */
  async call<S extends keyof Api, M extends MethodsOf<S, "unary">>(
    service: S,
    method: M,
    request: RequestOf<S, M>,
    options: CallOptions = {},
  ): Promise<ResponseOf<S, M>> {
    const { clock, random } = this.#options;
    const startedAt = clock.monotonic();
    const endsAt = startedAt + (options.deadlineMs ?? this.#defaultDeadlineMs);
    // Addresses that have not refused the connection yet.
    const untried = new Set(this.#options.addresses);
    for (let attempt = 0; ; attempt += 1) {
      const [channel, address] = this.#channel();
      try {
        const answer = await channel.call(service, method, request, {
          signal: options.signal,
          deadlineMs: endsAt - clock.monotonic(),
        });
        this.#answered = true;
        return answer;
      } catch (error) {
        if (!isHodeiError(error, "UNAVAILABLE")) {
          this.#answered ||= !isHodeiError(error, "DEADLINE_EXCEEDED", "CANCELLED");
          throw error;
        }
        if (error.facts["evidence"] === "refused") untried.delete(address);
        const nobody = untried.size === 0 && !this.#answered;
        const givesUpAt = nobody ? Math.min(endsAt, startedAt + (this.#options.refusedMs ?? Infinity)) : endsAt;
        const pauseMs = fullJitterMs(attempt, random.float(), RETRY);
        if (clock.monotonic() + pauseMs >= givesUpAt) throw error;
        this.#current += 1;
        await clock.sleep(pauseMs, options.signal);
      }
    }
  }

  async close(): Promise<void> {
    this.#runs.close();
    const open = [...this.#channels.values()];
    this.#channels.clear();
    await Promise.all(open.map((channel) => channel.close()));
  }

  /** By the cheapest question: a history read past its end. Whatever is answered, somebody does. */
  async #answers(channel: Channel, id: string): Promise<boolean> {
    const request = { id, afterRevision: Number.MAX_SAFE_INTEGER, limit: 1 };
    try {
      await channel.call("execution", "history", request, { deadlineMs: this.#defaultDeadlineMs });
    } catch (error) {
      if (!isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")) return true;
      // What goes on by calls should not meet the same silence.
      if (this.#channel()[0] === channel) this.#current += 1;
      return false;
    }
    return true;
  }

  get #defaultDeadlineMs(): number {
    return this.#options.deadlineMs ?? 10_000;
  }

  #startRequest(workflow: Workflow | string, input: unknown, options: StartOptions): StartRequest {
    const named = typeof workflow === "string";
    return {
      id: options.id ?? this.#options.random.id(),
      workflow: named ? workflow : workflow.name,
      range: options.version ?? (named ? "" : workflow.version),
      inputJson: jsonOf(input),
      labels: options.labels ?? {},
      priority: options.priority,
    };
  }

  /** The channel to the current address, and that address. */
  #channel(): [Channel, string] {
    const { addresses, transport, token } = this.#options;
    const address = addresses[this.#current % addresses.length] as string;
    const known = this.#channels.get(address) ?? transport.connect({ address, token });
    this.#channels.set(address, known);
    return [known, address];
  }
}

/** One wait call; a proxy between may cut longer ones. */
const LONG_POLL_MS = 60_000;

function outputOf(view: ExecutionView): unknown {
  if (view.state !== "succeeded") throw new ExecutionFailed(view);
  return JSON.parse(view.outputJson ?? "{}") as unknown;
}

function sourceOf(workflow: Workflow | WorkflowDocument | string): string {
  if (typeof workflow === "string") return workflow;
  return JSON.stringify("document" in workflow ? workflow.document : workflow);
}

function jsonOf(value: unknown): string {
  const text = JSON.stringify(value);
  if (text === undefined) throw new HodeiError("INVALID_ARGUMENT", `${typeof value} is not JSON`, { field: "input" });
  return text;
}
