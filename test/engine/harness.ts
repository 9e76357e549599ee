import type { Clock } from "../../base/clock.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { createEngine, type Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { createLocalNetwork, createLocalTransport } from "../../transport/local.ts";
import type { ClusterEvent } from "../../transport/api/cluster.ts";
import type { AssignedJob, FromWorker, Hello, ToWorker } from "../../transport/api/worker.ts";
import type { Channel, Duplex, Server } from "../../transport/transport.ts";
import type { Definition } from "../../workflow/definition.ts";
import { sha256Of } from "../../workflow/digest.ts";
import { HodeiError, isHodeiError } from "../../workflow/errors.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import type { Outcome } from "../../workflow/job.ts";
import type { Json } from "../../workflow/json.ts";
import { definitionOf, digestOf, normalForm } from "../../workflow/load.ts";
import { closureLock } from "../../workflow/lock.ts";
import type { Message } from "../../workflow/message.ts";
import type { Offer } from "../../workflow/requirement.ts";
import { shardOf } from "../../workflow/shard.ts";

export const SHARDS = 8;
const NAMESPACE = "default";

export type Node = { engine: Engine; server: Server; channel: Channel; events: ClusterEvent[] };

/** Several engines over one store and one in-process network; the gateway routes by the shard's recorded owner. */
export class Cluster {
  readonly clock: Clock;
  readonly store: Store;
  readonly random = seededRandom(7);
  readonly nodes: Node[] = [];
  readonly workers: FakeWorker[] = [];
  /** A workflow whose start as a child is refused for good. */
  refuse: string | undefined;
  /** Who owns a shard; empty: whoever has any. */
  readonly owners = new Map<number, Node>();
  readonly #definitions = new Map<string, Definition>();
  readonly #transport;
  #generation = 1;

  constructor(options: { clock?: Clock; store?: Store } = {}) {
    this.clock = options.clock ?? systemClock;
    this.store = options.store ?? createMemoryStore({ clock: this.clock, random: this.random });
    this.#transport = createLocalTransport({ clock: this.clock, network: createLocalNetwork() });
  }

  register(name: string, spec: Record<string, unknown>): Definition {
    const document = { apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name, version: "1.0.0" }, spec };
    const definition = definitionOf(document);
    this.#definitions.set(name, definition);
    return definition;
  }

  async engine(name: string, more: Partial<EngineOptions> = {}): Promise<Node> {
    let server: Server | undefined;
    const engine = createEngine({
      name,
      address: () => server?.address ?? "",
      store: this.store,
      shards: SHARDS,
      gateway: {
        startChild: async (request) => {
          if (this.refuse === request.workflow) throw new HodeiError("TREE_TOO_LARGE", "no more children");
          await this.start(request.id, request.workflow, JSON.parse(request.inputJson) as Json, request);
        },
        deliver: async ({ id, messageJson }) => void (await this.deliver(id, JSON.parse(messageJson) as Message)),
      },
      clock: this.clock,
      random: this.random,
      logger: silentLogger,
      version: "0.0.0",
      pid: 1,
      ...more,
    });
    server = await this.#transport.serve({ address: "host:0", services: engine.services });
    const channel = this.#transport.connect({ address: server.address });
    const events: ClusterEvent[] = [];
    engine.onEvent((event) => events.push(event));
    await engine.start();
    const node = { engine, server, channel, events };
    this.nodes.push(node);
    return node;
  }

  /** Gives each engine its shards; by default all to the first. */
  async assign(shares: Map<Node, number[]> = new Map([[this.nodes[0]!, all()]])): Promise<void> {
    this.#generation += 1;
    const generation = this.#generation;
    await Promise.all(
      [...shares].map(([node, shards]) => node.channel.call("engine", "assign", { generation, shards })),
    );
  }

  shardOf(id: string): number {
    return shardOf(NAMESPACE, id, SHARDS);
  }

  async start(
    id: string,
    workflow: string,
    input: Json = {},
    child?: { parent: Parameters<typeof startRequest>[0]["parent"] },
  ): Promise<void> {
    const definition = this.#definitions.get(workflow);
    if (!definition) throw new HodeiError("NO_SUCH_VERSION", `no workflow ${workflow}`);
    const { lock, definitions } = closureLock(definition, (name) => {
      const found = this.#definitions.get(name);
      return found ? { version: found.version, digest: digestOf(found), definition: found } : undefined;
    });
    const request = startRequest({
      id,
      definition,
      lock: JSON.stringify(lock),
      definitions,
      input,
      parent: child?.parent,
    });
    await this.#routed(id, (channel) => channel.call("engine", "start", request));
  }

  async deliver(id: string, message: Message): Promise<number> {
    const request = { namespace: NAMESPACE, id, messageJson: JSON.stringify(message) };
    return (await this.#routed(id, (channel) => channel.call("engine", "deliver", request))).revision;
  }

  /** Asks whoever owns the shard, again while nobody does. */
  async #routed<Answer>(id: string, call: (channel: Channel) => Promise<Answer>): Promise<Answer> {
    for (let attempt = 0; ; attempt++) {
      const owner = this.nodes.find((node) => node.engine.view().shards > 0 && this.#owns(node, id));
      try {
        if (owner) return await call(owner.channel);
        if (attempt > 200) throw new HodeiError("UNAVAILABLE", `nobody owns ${id}`);
      } catch (error) {
        if (!isHodeiError(error, "NOT_OWNER", "UNAVAILABLE") || attempt > 200) throw error;
      }
      await systemClock.sleep(5);
    }
  }

  #owns(node: Node, id: string): boolean {
    return this.owners.get(this.shardOf(id)) === node || this.owners.size === 0;
  }

  async worker(node: Node, options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
    const worker = new FakeWorker({ id: `w${this.workers.length}`, ...options });
    this.workers.push(worker);
    await worker.connect(node.channel);
    return worker;
  }

  async history(id: string): Promise<HistoryEvent[]> {
    const events: HistoryEvent[] = [];
    for (let afterRevision = 0; ;) {
      const page = await this.store.readHistory({ namespace: NAMESPACE, id, afterRevision, limit: 1000 });
      if (!page) return events;
      for (const commit of page.commits) {
        events.push(...commit.events.map((text) => JSON.parse(text) as HistoryEvent));
        afterRevision = commit.revision;
      }
      if (!page.more) return events;
    }
  }

  /** Waits, woken by the store, until the execution's history holds what `done` looks for. */
  async until(id: string, done: (events: HistoryEvent[]) => boolean, withinMs = 20_000): Promise<HistoryEvent[]> {
    await this.#when(id, async () => done(await this.history(id)), withinMs);
    return await this.history(id);
  }

  async ended(id: string, withinMs = 20_000): Promise<HistoryEvent[]> {
    const last = { namespace: NAMESPACE, id, afterRevision: Number.MAX_SAFE_INTEGER, limit: 1 };
    const ended = async (): Promise<boolean> => {
      const state = (await this.store.readHistory(last))?.head.state;
      return state !== undefined && state !== "running";
    };
    await this.#when(id, ended, withinMs);
    return await this.history(id);
  }

  /** Looks again whenever the store says that the execution changed. */
  async #when(id: string, done: () => Promise<boolean>, withinMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const finish = (end: () => void): void => {
        stop();
        late.cancel();
        end();
      };
      const look = (): void => void done().then((is) => is && finish(resolve), reject);
      const stop = this.store.watch({ kind: "execution", namespace: NAMESPACE, id }, look);
      const late = systemClock.after(withinMs, () => {
        void this.history(id).then((events) => {
          const words = events.map((event) => event.type).join(", ");
          finish(() => reject(new Error(`${id} did not get there in ${withinMs} ms; it has: ${words.slice(-1500)}`)));
        });
      });
      look();
    });
  }

  async stop(): Promise<void> {
    for (const worker of this.workers) worker.close();
    for (const { engine, server, channel } of this.nodes) {
      await engine.stop();
      await channel.close();
      await server.stop(0);
    }
  }
}

export function all(): number[] {
  return Array.from({ length: SHARDS }, (_, shard) => shard);
}

export function startRequest(of: {
  id: string;
  definition: Definition;
  lock: string;
  definitions: Definition[];
  input: Json;
  parent?: { executionId: string; uid: string; step: string; iteration: string; depth: number } | undefined;
}) {
  return {
    namespace: NAMESPACE,
    id: of.id,
    uid: `uid-${of.id}`,
    workflow: of.definition.name,
    version: of.definition.version,
    digest: digestOf(of.definition),
    requestDigest: sha256Of({ workflow: of.definition.name, input: of.input }),
    lockJson: of.lock,
    definitions: Object.fromEntries(of.definitions.map((each) => [digestOf(each), normalForm(each)])),
    inputJson: JSON.stringify(of.input),
    labels: {},
    ...(of.parent ? { parent: of.parent } : {}),
    runNumber: 1,
  };
}

export type FakeWorkerOptions = {
  id: string;
  slots: number;
  labels: string[];
  ephemeral: boolean;
  requestId: string;
  host: Hello["host"];
  /** Undefined: never answers. */
  run: (job: AssignedJob, signal: AbortSignal) => Promise<Outcome | undefined> | Outcome | undefined;
  accept: boolean;
  /** Why it refuses a job. */
  refuse: (job: AssignedJob) => string | undefined;
};

export const GIB = 1024 ** 3;

/** Speaks WorkerApi and nothing else: what a worker says, without processes. */
export class FakeWorker {
  readonly id: string;
  readonly options: FakeWorkerOptions;
  readonly assigned: AssignedJob[] = [];
  readonly acked: string[] = [];
  readonly received: ToWorker[] = [];
  readonly running = new Map<string, { job: AssignedJob; stop: AbortController }>();
  readonly spooled = new Map<string, Extract<FromWorker, { kind: "result" }>>();
  workspaces: string[] = [];
  #stream: Duplex<FromWorker, ToWorker> | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(options: Partial<FakeWorkerOptions> & { id: string }) {
    const host = { bootId: "", pidNamespace: "", pid: 0, startTime: "", hostname: "fake" };
    const run = (): Outcome => ({ kind: "succeeded", outputs: {} });
    const refuse = (): undefined => undefined;
    const base = { slots: 4, labels: ["linux"], ephemeral: false, requestId: "", host, run, accept: true, refuse };
    this.options = { ...base, ...options };
    this.id = options.id;
  }

  hello(): Hello {
    const { slots, requestId, host } = this.options;
    return {
      workerId: this.id,
      name: this.id,
      ...(requestId === "" ? {} : { requestId }),
      version: "0",
      offer: this.offer(),
      slots,
      host,
      running: [...this.running.values()].map(({ job }) => ({ jobId: job.jobId, token: job.token })),
      spooled: [...this.spooled.values()].map(({ jobId, token }) => ({ jobId, token })),
      workspaces: this.workspaces,
    };
  }

  offer(): Offer {
    return {
      labels: this.options.labels,
      handlers: [],
      services: [],
      hardware: {},
      models: {},
      custom: {},
      ephemeral: this.options.ephemeral,
      namespace: "*",
      total: { cpuMillis: 64_000, memoryBytes: 256 * GIB, gpu: 0, storageBytes: 256 * GIB },
    };
  }

  /** Resolves with the welcome. */
  async connect(channel: Channel): Promise<void> {
    this.#stream?.cancel();
    const stream = channel.duplex("worker", "connect");
    this.#stream = stream;
    const welcomed = Promise.withResolvers<void>();
    void this.#listen(stream, welcomed.resolve).catch(welcomed.reject);
    await stream.send({ kind: "hello", ...this.hello() });
    await welcomed.promise;
    for (const result of this.spooled.values()) await stream.send(result);
  }

  /** Breaks the stream; jobs go on. */
  close(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  async send(message: FromWorker): Promise<void> {
    await this.#stream?.send(message);
  }

  async until(done: () => boolean, withinMs = 10_000): Promise<void> {
    if (done()) return;
    await new Promise<void>((resolve, reject) => {
      const late = systemClock.after(withinMs, () => reject(new Error(`worker ${this.id}: it did not happen`)));
      const look = (): void => {
        if (!done()) return;
        late.cancel();
        this.#listeners.delete(look);
        resolve();
      };
      this.#listeners.add(look);
    });
  }

  async #listen(stream: Duplex<FromWorker, ToWorker>, welcomed: () => void): Promise<void> {
    try {
      for await (const message of stream.messages) {
        if (message.kind === "welcome") {
          for (const [id, { job }] of this.running) if (message.stale.includes(job.token)) this.running.delete(id);
          for (const [id, { token }] of this.spooled) if (message.stale.includes(token)) this.spooled.delete(id);
          welcomed();
        } else this.#take(message);
        this.received.push(message);
        for (const look of this.#listeners) look();
      }
    } catch (error) {
      if (!isHodeiError(error)) throw error;
    }
  }

  #take(message: ToWorker): void {
    switch (message.kind) {
      case "assign":
        this.assigned.push(message.job);
        if (this.options.accept) void this.#run(message.job);
        return;
      case "cancel":
        return this.running.get(message.jobId)?.stop.abort();
      case "ack":
        this.acked.push(message.jobId);
        this.spooled.delete(message.jobId);
        return;
      default:
    }
  }

  async #run(job: AssignedJob): Promise<void> {
    const stop = new AbortController();
    this.running.set(job.jobId, { job, stop });
    const { jobId, token } = job;
    const reason = this.options.refuse(job);
    if (reason !== undefined) {
      this.running.delete(jobId);
      return await this.#say({ kind: "rejected", jobId, token, reason });
    }
    await this.#say({ kind: "accepted", jobId, token, startedAtMs: 1 });
    const aborted = new Promise<Outcome>((resolve) => {
      stop.signal.addEventListener("abort", () => resolve({ kind: "cancelled" }), { once: true });
    });
    const outcome = await Promise.race([this.options.run(job, stop.signal), aborted]);
    const settled = outcome ?? (await aborted);
    this.running.delete(jobId);
    const result = { kind: "result", jobId, token, outcome: settled, startedAtMs: 1, endedAtMs: 2 } as const;
    this.spooled.set(jobId, result);
    await this.#say(result);
  }

  async #say(message: FromWorker): Promise<void> {
    try {
      await this.#stream?.send(message);
    } catch (error) {
      // The stream broke: a result stays spooled, the rest is said anew by the next hello.
      if (!isHodeiError(error)) throw error;
    }
  }
}

export function count(events: readonly HistoryEvent[], type: HistoryEvent["type"]): number {
  return events.filter((event) => event.type === type).length;
}
