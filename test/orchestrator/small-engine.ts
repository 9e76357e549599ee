import type { Clock } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import type { Assignment, ExecutionHead, Fence, Store } from "../../store/store.ts";
import type { ClusterEvent, EngineView, WorkerView } from "../../transport/api/cluster.ts";
import type { EngineStartRequest } from "../../transport/api/engine.ts";
import type { TemplateView } from "../../transport/api/template.ts";
import type { EngineAddress } from "../../transport/discovery/discovery.ts";
import type { Server, ServiceHandlers, Transport } from "../../transport/transport.ts";
import type { Lock } from "../../workflow/definition.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { type Job, jobId } from "../../workflow/job.ts";
import type { Json, JsonObject } from "../../workflow/json.ts";
import type { Message } from "../../workflow/message.ts";
import { parseNormalForm } from "../../workflow/load.ts";
import { requirementOf, signatureOf } from "../../workflow/matching.ts";
import type { Offer } from "../../workflow/requirement.ts";
import { shardOf } from "../../workflow/shard.ts";

/**
 * An engine as the orchestrator sees one: real sessions, shards, fences and commits, and a toy instead of the executor.
 * An execution runs until a signal named `finish` ends it with its payload as output; cancel, pause and resume do what
 * they say. With this the orchestrator's own promises can be shown without the engine room.
 */
export type SmallEngine = EngineAddress & {
  view: EngineView;
  owned: () => number[];
  /** Every assign it was told, newest last. */
  generations: number[];
  workers: WorkerView[];
  templates: TemplateView[];
  /** Workers it was told to drain. */
  drained: string[];
  /** Jobs that a start enqueues. */
  jobs: (start: EngineStartRequest, shard: number) => Job[];
  /** Calls that the engine refuses with this, until it is taken away. */
  refuse: HodeiError | undefined;
  starts: EngineStartRequest[];
  /** Claims one job for a worker `w1` with these labels. */
  claim: (labels?: string[]) => Promise<Claim>;
  report: (event: ClusterEvent) => void;
  /** The process is gone: nothing listens, nothing is released. */
  die: () => Promise<void>;
  stop: () => Promise<void>;
};

/** `assignment` is there when something was given; reading it from nothing fails the test. */
export type Claim = { assignment: Assignment; session: string };

type Parts = { store: Store; transport: Transport; clock: Clock; random: Random; shards: number; ttlMs?: number };

export async function startEngine(parts: Parts, name: string): Promise<SmallEngine> {
  const { store, transport, clock, random, ttlMs = 60_000 } = parts;
  const fences = new Map<number, Fence>();
  const reported: ClusterEvent[] = [];
  const claims: { jobId: string; token: string }[] = [];
  let wake = (): void => {};
  let session = "";
  let latest = 0;

  const owns = (namespace: string, id: string): Fence => {
    const shard = shardOf(namespace, id, parts.shards);
    const fence = fences.get(shard);
    if (fence) return fence;
    throw new HodeiError("NOT_OWNER", `${name} does not own shard ${shard}`);
  };
  const commit = async (fence: Fence, head: ExecutionHead, events: HistoryEvent[], extra: Extra): Promise<number> => {
    const answer = await store.turn({
      opId: random.id(),
      fence,
      namespace: head.namespace,
      id: head.id,
      expectedRevision: head.revision,
      events: events.map((event) => JSON.stringify(event)),
      head,
      take: [],
      settle: [],
      cancel: [],
      timers: [],
      clearTimers: [],
      fire: [],
      outbox: [],
      outboxDone: [],
      releaseWorkspaces: [],
      claimFor: [],
      ...extra,
    });
    if (answer.status === "OK" || answer.status === "DUPLICATE") return answer.revision;
    if (answer.status === "FENCED") fences.delete(fence.shard);
    throw new HodeiError("NOT_OWNER", `the store answered ${answer.status}`);
  };

  const handlers: ServiceHandlers<"engine"> = {
    async start(request) {
      if (engine.refuse) throw engine.refuse;
      const fence = owns(request.namespace, request.id);
      engine.starts.push(request);
      const page = await store.readHistory({ ...idOf(request), afterRevision: 0, limit: 1 });
      if (page) return existing(page.head, request);
      const head = headOf(request, fence.shard, clock.now());
      await commit(fence, head, [started(request, clock.now())], {
        enqueue: engine.jobs(request, fence.shard),
        definitions: request.definitions,
      });
      return { uid: request.uid, created: true, version: request.version, digest: request.digest };
    },
    async deliver(request) {
      if (engine.refuse) throw engine.refuse;
      const fence = owns(request.namespace, request.id);
      const page = await store.readHistory({ ...idOf(request), afterRevision: 0, limit: 1 });
      if (!page) throw new HodeiError("NOT_FOUND", `no execution ${request.id}`);
      if (page.head.state !== "running") throw new HodeiError("CLOSED", `${request.id} has ended`);
      const { events, head } = react(JSON.parse(request.messageJson) as Message, page.head, clock.now());
      // What a worker held is settled with the end, as an outcome would be.
      const settle = head.state === "running" ? [] : claims.filter(({ jobId }) => jobId.includes(`/${head.id}/`));
      return { revision: await commit(fence, head, events, { enqueue: [], settle }) };
    },
    async status() {
      return { engine: { ...engine.view, shards: fences.size }, workers: engine.workers };
    },
    async drain() {
      engine.view = { ...engine.view, state: "draining" };
      await store.releaseShards({ fences: [...fences.values()] });
      fences.clear();
      return {};
    },
    async drainWorker({ id }) {
      engine.drained.push(id);
      return {};
    },
    async *events(_, { signal }) {
      while (!signal.aborted) {
        const event = reported.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    async assign({ generation, shards }) {
      engine.generations.push(generation);
      if (generation <= latest || engine.view.state === "draining") return { owned: [...fences.keys()] };
      latest = generation;
      const leaving = [...fences.values()].filter(({ shard }) => !shards.includes(shard));
      await store.releaseShards({ fences: leaving });
      for (const { shard } of leaving) fences.delete(shard);
      const missing = shards.filter((shard) => !fences.has(shard));
      const answer = await store.acquireShards({ opId: random.id(), session, shards: missing });
      if ("acquired" in answer) for (const fence of answer.acquired) fences.set(fence.shard, fence);
      return { owned: [...fences.keys()] };
    },
    templates: async () => ({ templates: engine.templates }),
  };

  const server: Server = await transport.serve({ address: "127.0.0.1:0", services: { engine: handlers } });
  const info = { name, address: server.address, pid: 1, version: "test", startedAtMs: clock.now() };
  ({ session } = await store.openSession({ opId: random.id(), engine: info, ttlMs }));
  const counts = { shards: 0, capacity: 4, activeExecutions: 0, activeJobs: 0, workers: 0 };
  const stopServer = async (): Promise<void> => {
    const stopped = server.stop(0);
    wake();
    await stopped;
  };
  const engine: SmallEngine = {
    name,
    address: server.address,
    view: { ...info, ...counts, state: "ready" },
    owned: () => [...fences.keys()],
    generations: [],
    workers: [],
    templates: [],
    drained: [],
    jobs: () => [],
    refuse: undefined,
    starts: [],
    async claim(labels = []) {
      const offer = offerOf(labels);
      const free = { ...offer.total, slots: 1 };
      const slot = { worker: "w1", signature: signatureOf(offer), offer, free, workspaces: [] };
      const answer = await store.claim({ opId: random.id(), session, workers: [slot] });
      if ("status" in answer) throw new Error("the session is over");
      for (const { job, token } of answer.assignments) claims.push({ jobId: job.id, token });
      return { assignment: answer.assignments[0] as Assignment, session };
    },
    report(event) {
      reported.push(event);
      wake();
    },
    die: stopServer,
    async stop() {
      await stopServer();
      await store.endSession({ session });
    },
  };
  return engine;
}

function offerOf(labels: string[]): Offer {
  const total = { cpuMillis: 64_000, memoryBytes: 2 ** 40, gpu: 0, storageBytes: 2 ** 40 };
  const none = { handlers: [], services: [], hardware: {}, models: {}, custom: {} };
  return { ...none, labels, ephemeral: false, namespace: "default", total };
}

/** The job of the first step of what was handed over. */
export function jobOf(start: EngineStartRequest, shard: number): Job {
  const definition = parseNormalForm(start.definitions[start.digest] ?? "");
  const [step] = Object.values(definition.steps);
  if (step?.kind !== "run") throw new Error("the first step is to be a command");
  const of = { namespace: start.namespace, executionId: start.id, step: step.id, iteration: "0", attempt: 1 };
  return {
    ...of,
    id: jobId(of),
    shard,
    executionUid: start.uid,
    requirement: requirementOf(step.agent, {}),
    priority: "normal",
    work: { kind: "run", script: step.script, shell: step.shell, env: {} },
    startMs: 1_000,
    runMs: 1_000,
    graceMs: 1_000,
  };
}

type Extra = { enqueue: Job[]; settle?: { jobId: string; token: string }[]; definitions?: Record<string, string> };

const idOf = ({ namespace, id }: { namespace: string; id: string }): { namespace: string; id: string } => ({
  namespace,
  id,
});

function existing(head: ExecutionHead, request: EngineStartRequest) {
  if (head.requestDigest !== request.requestDigest) {
    throw new HodeiError("ALREADY_EXISTS", `the id ${request.id} is taken by another request`);
  }
  return { uid: head.uid, created: false, version: head.version, digest: head.digest };
}

function headOf(request: EngineStartRequest, shard: number, nowMs: number): ExecutionHead {
  const { namespace, id, uid, workflow, version, digest, requestDigest, labels, parent } = request;
  const lock = JSON.parse(request.lockJson) as Lock;
  const uses = Object.values(lock.entries).map((entry) => `${entry.name}@${entry.version}`);
  return {
    namespace,
    id,
    uid,
    shard,
    workflow,
    version,
    digest,
    requestDigest,
    labels,
    revision: 0,
    uses: [`${workflow}@${version}`, ...uses],
    state: "running",
    gate: "open",
    ...(parent ? { parent } : {}),
    startedAtMs: nowMs,
  };
}

function started(request: EngineStartRequest, atMs: number): HistoryEvent {
  const { namespace, id, uid, labels, priority, requestDigest, parent, runNumber } = request;
  return {
    type: "executionStarted",
    atMs,
    start: {
      namespace,
      id,
      uid,
      labels,
      requestDigest,
      runNumber,
      definition: { name: request.workflow, version: request.version, digest: request.digest },
      lock: JSON.parse(request.lockJson) as Lock,
      input: JSON.parse(request.inputJson) as Json,
      ...(priority ? { priority } : {}),
      ...(parent ? { parent } : {}),
    },
  };
}

function react(message: Message, head: ExecutionHead, atMs: number): { events: HistoryEvent[]; head: ExecutionHead } {
  switch (message.kind) {
    case "pause":
      return { events: [{ ...message, type: "paused", atMs }], head: { ...head, gate: "paused" } };
    case "resume":
      return { events: [{ ...message, type: "resumed", atMs }], head: { ...head, gate: "open" } };
    case "cancel":
      return {
        events: [
          { type: "cancelRequested", id: message.id, reason: message.reason, by: message.by, atMs },
          { type: "executionEnded", state: "cancelled", atMs },
        ],
        head: { ...head, state: "cancelled", endedAtMs: atMs },
      };
    case "signal": {
      const { id, name, payload, by } = message;
      const received: HistoryEvent = { type: "signalReceived", id, name, payload, by, atMs };
      if (name !== "finish") return { events: [received], head };
      const output = payload as JsonObject;
      return {
        events: [received, { type: "executionEnded", state: "succeeded", output, atMs }],
        head: { ...head, state: "succeeded", endedAtMs: atMs },
      };
    }
    default:
      throw new HodeiError("INVALID_ARGUMENT", `this engine does not know ${message.kind}`);
  }
}
