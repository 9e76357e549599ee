import { ManualClock } from "../../../base/clock.ts";
import { seededRandom } from "../../../base/random.ts";
import { createMemoryStore } from "../../../store/memory.ts";
import { slotOf } from "../../../store/fixtures.ts";
import type { Assignment, EngineInfo, Fence, Store, TurnRequest } from "../../../store/store.ts";
import { headOf, type Loaded, TurnDraft, usesOf } from "../../../engine/turn.ts";
import type { Envelope } from "../../../engine/mailbox.ts";
import type { Definition } from "../../../workflow/definition.ts";
import { idempotencyKey, type Outcome } from "../../../workflow/job.ts";
import { definitionOf, digestOf, normalForm } from "../../../workflow/load.ts";
import { closureLock } from "../../../workflow/lock.ts";
import type { Message, OutboxMessage } from "../../../workflow/message.ts";
import type { ParentRef } from "../../../workflow/execution.ts";
import { shardOf } from "../../../workflow/shard.ts";
import { transition } from "../../../workflow/transition.ts";
import type { Happening, StoreMethod, TraceEvent } from "../trace.ts";
import type { Run } from "./invariant.ts";
import { readAtRest } from "./rest.ts";

export const SHARDS = 4;
const NAMESPACE = "default";

type Asked = Pick<Envelope, "message" | "take" | "settle" | "fire" | "outboxDone">;

/** A short life of a cluster, played call by call over the model store and recorded as the simulator records one. */
export class Played {
  readonly trace: TraceEvent[] = [];
  readonly clock = new ManualClock();
  readonly store: Store;
  readonly #random = seededRandom(5);
  readonly #loaded = new Map<string, Loaded>();
  readonly #fences = new Map<number, { fence: Fence; node: string }>();
  readonly #published = new Map<string, Definition>();
  readonly sessions = new Map<string, string>();
  #operations = 0;
  #calls = 0;
  #runs = 0;

  constructor() {
    this.store = createMemoryStore({ clock: this.clock, random: this.#random });
  }

  record(event: Happening): number {
    this.trace.push({ atMs: this.clock.monotonic(), ...event } as TraceEvent);
    return this.trace.length - 1;
  }

  op(): string {
    return `op-${++this.#operations}`;
  }

  /** One call of the store's port, by the name that the trace has for it. */
  async call<Answer>(node: string, method: StoreMethod, request: object | string): Promise<Answer> {
    const [part, name] = method.split(".");
    const target: object = name === undefined ? this.store : (Reflect.get(this.store, part ?? "") as object);
    const rule = Reflect.get(target, name ?? method) as (asked: unknown) => Promise<Answer>;
    const answer = await Reflect.apply(rule, target, [request]);
    this.record({ kind: "store", node, method, request, answer });
    return answer;
  }

  async engine(node: string, shards: number[]): Promise<void> {
    await this.call(node, "open", { shards: SHARDS });
    const engine: EngineInfo = { name: node, address: `${node}:1`, pid: 1, version: "0", startedAtMs: 0 };
    const opened = { opId: this.op(), engine, ttlMs: 10_000 };
    const { session } = await this.call<{ session: string }>(node, "openSession", opened);
    this.sessions.set(node, session);
    await this.acquire(node, shards);
  }

  async acquire(node: string, shards: number[]): Promise<void> {
    const request = { opId: this.op(), session: this.session(node), shards };
    const { acquired } = await this.call<{ acquired: Fence[] }>(node, "acquireShards", request);
    for (const fence of acquired) this.#fences.set(fence.shard, { fence, node });
  }

  session(node: string): string {
    return this.sessions.get(node) ?? "";
  }

  async publish(name: string, spec: Record<string, unknown>, version = "1.0.0"): Promise<void> {
    const definition = definitionOf({
      apiVersion: "hodei.dev/v1",
      kind: "Workflow",
      metadata: { name, version },
      spec,
    });
    this.#published.set(name, definition);
    const { revision } = await this.call<{ revision: number }>("front", "registry.read", NAMESPACE);
    const digest = digestOf(definition);
    const put = { name, version, digest, publishedAtMs: 0, dependencies: {}, body: normalForm(definition) };
    const write = { opId: this.op(), namespace: NAMESPACE, expectedRevision: revision, put };
    await this.asking("workflow.register", { source: "" }, async () => {
      await this.call("front", "registry.write", write);
      return { name, version, digest };
    });
  }

  /** What a client asks, and is told. */
  async asking<Answer>(method: string, request: object, answer: () => Promise<Answer>): Promise<void> {
    const call = ++this.#calls;
    this.record({ kind: "asked", call, client: "ann", method, request });
    const response = await answer();
    this.record({ kind: "answered", call, response: structuredClone(response) });
  }

  async start(id: string, workflow: string, workers: string[] = [], parent?: ParentRef): Promise<Assignment[]> {
    const definition = this.#published.get(workflow);
    if (definition === undefined) throw new Error(`no workflow ${workflow}`);
    const { lock, definitions } = closureLock(definition, (name) => {
      const found = this.#published.get(name);
      return found && { version: found.version, digest: digestOf(found), definition: found };
    });
    const count = { opId: this.op(), namespace: NAMESPACE, name: workflow };
    const runNumber = await this.call<number>("front", "registry.nextRunNumber", count);
    const digest = digestOf(definition);
    const uid = `uid-${id.replaceAll("/", "-")}`;
    const start = {
      namespace: NAMESPACE,
      id,
      uid,
      definition: { name: workflow, version: definition.version, digest },
      lock,
      input: {},
      labels: {},
      requestDigest: `request-${id}`,
      runNumber,
      ...(parent === undefined ? {} : { parent }),
    };
    const bodies = Object.fromEntries(definitions.map((each) => [digestOf(each), normalForm(each)]));
    const first: Loaded = { ...this.#blank(id), definition };
    this.#loaded.set(id, first);
    return await this.turn(id, { message: { kind: "start", start } }, workers, bodies);
  }

  #blank(id: string): Omit<Loaded, "definition"> {
    const shard = shardOf(NAMESPACE, id, SHARDS);
    const none = { uses: [], timers: new Map<string, number>(), eventsSince: 0, bytesSince: 0, snapshotBytes: 0 };
    // Filled by the start.
    return { execution: undefined as never, revision: 0, shard, ...none };
  }

  async turn(
    id: string,
    asked: Asked,
    workers: string[] = [],
    definitions?: Record<string, string>,
  ): Promise<Assignment[]> {
    const loaded = this.#loaded.get(id);
    const owner = this.#fences.get(shardOf(NAMESPACE, id, SHARDS));
    if (loaded === undefined || owner === undefined) throw new Error(`nobody has ${id}`);
    const draft = new TurnDraft();
    const context = { nowMs: this.clock.now(), random: 0.5, shard: loaded.shard };
    const made = asked.message && transition(loaded.definition, loaded.execution, asked.message, context);
    if (made?.execution !== undefined) loaded.execution = made.execution;
    const { namespace, uid } = loaded.execution;
    loaded.uses = usesOf(loaded.execution);
    const envelope = { ...asked, done: () => {} } as Envelope;
    draft.add(envelope, made?.transition ?? NOTHING, { namespace, uid, revision: loaded.revision + 1 });
    // However seldom an engine takes one: here each end has one, for the checker to look at.
    const ended = draft.events > 0 && loaded.execution.state !== "running";
    const snapshot = ended ? JSON.stringify(loaded.execution) : undefined;
    const about = {
      opId: this.op(),
      fence: owner.fence,
      head: headOf(loaded),
      expectedRevision: loaded.revision,
      claimFor: workers.map((worker) => slotOf(worker, { offer: { handlers: ["work"] }, free: { slots: 4 } })),
      ...(snapshot === undefined ? {} : { snapshot }),
    };
    const request: TurnRequest = { ...draft.request(about), ...(definitions === undefined ? {} : { definitions }) };
    // The next turn changes what this one shows.
    const told = structuredClone(request);
    const answer = await this.call<{ status: string; assignments: Assignment[] }>(owner.node, "turn", told);
    if (answer.status !== "OK") throw new Error(`${id}: ${JSON.stringify(answer)}`);
    loaded.revision += 1;
    return answer.assignments;
  }

  revision(id: string): number {
    return this.#loaded.get(id)?.revision ?? 0;
  }

  /** The handler runs on the worker that has the job. */
  ran({ job, worker }: Assignment): number {
    const { id: jobId, executionId, step, iteration, attempt } = job;
    const run = ++this.#runs;
    const seen = { jobId, executionId, step, iteration, attempt, idempotencyKey: idempotencyKey(job) };
    const at = this.record({ kind: "ran", worker, run, job: seen });
    this.record({ kind: "runEnded", run, outcome: "succeeded" });
    return at;
  }

  outcomeOf({ job, facts }: Assignment, outcome: Outcome): Message {
    const { step, iteration, attempt } = job;
    return { kind: "outcome", step, iteration, attempt, outcome, facts };
  }

  /** Worker and owner share an engine. */
  async settle(given: Assignment, outcome: Outcome, workers: string[] = []): Promise<Assignment[]> {
    this.ran(given);
    const message = this.outcomeOf(given, outcome);
    const settle = { jobId: given.job.id, token: given.token };
    return await this.turn(given.job.executionId, { message, settle }, workers);
  }

  /** They do not: by way of the inbox. */
  async report(node: string, given: Assignment, outcome: Outcome): Promise<void> {
    this.ran(given);
    const { job, token, facts } = given;
    const request = { session: this.session(node), jobId: job.id, token, outcome, facts, claimFor: [] };
    await this.call(node, "reportAndClaim", { opId: this.op(), ...request });
    const owner = this.#fences.get(job.shard);
    await this.call(owner?.node ?? "", "readInbox", { fences: [owner?.fence], limit: 10 });
    await this.turn(job.executionId, { message: this.outcomeOf(given, outcome), take: token });
  }

  async claim(node: string, worker: string): Promise<Assignment[]> {
    const workers = [slotOf(worker, { offer: { handlers: ["work"] }, free: { slots: 4 } })];
    const request = { opId: this.op(), session: this.session(node), workers };
    return (await this.call<{ assignments: Assignment[] }>(node, "claim", request)).assignments;
  }

  /** The oldest message that the execution has for another one; it counts as delivered with the next `turn`. */
  async sent(id: string): Promise<{ outboxDone: string; message: OutboxMessage }> {
    const record = await this.store.readExecution({ namespace: NAMESPACE, id });
    const [entry] = record?.status === "OK" ? record.outbox : [];
    if (entry === undefined) throw new Error(`${id} has nothing to send`);
    return { outboxDone: entry.id, message: JSON.parse(entry.text) as OutboxMessage };
  }

  async end(healed = true): Promise<Run> {
    return { trace: this.trace, rest: await readAtRest(this.store, SHARDS), healed };
  }
}

const NOTHING = {
  events: [],
  enqueue: [],
  cancel: [],
  timers: [],
  clearTimers: [],
  outbox: [],
  releaseWorkspaces: [],
  more: false,
};

const OK: Outcome = { kind: "succeeded", outputs: { v: 1 } };
const BAD: Outcome = { kind: "failed", failure: { class: "user", message: "no" } };

/**
 * A day in which everything happens once, as it should: two engines, an execution with a task that is retried, an
 * at-most-once step, a workspace, a sleep, a signal and a child, a pause, and another execution that is cancelled.
 */
export async function playDay(): Promise<Played> {
  const of = new Played();
  await of.engine("e1", [0, 1, 2, 3]);
  await of.engine("e2", []);
  await of.publish("sub", { steps: { s: { task: "work" } }, output: { v: "${{ steps.s.outputs.v }}" } });
  await of.publish("root", {
    steps: {
      a: { task: "work", retry: { maxAttempts: 2, initialInterval: "1s" }, agent: "linux" },
      b: { needs: ["a"], task: "work", onLost: "fail", workspace: "src" },
      c: { needs: ["b"], workflow: "sub@^1.0.0" },
      n: { needs: ["b"], sleep: "5s" },
      w: { needs: ["n"], wait: { signal: "go" } },
      l: { needs: ["w"], task: "work", workspace: "src" },
    },
  });
  await playRoot(of);
  await playCancelled(of);
  await playQuestions(of);
  return of;
}

async function playRoot(of: Played): Promise<void> {
  const id = "x";
  let given: Assignment[] = [];
  const request = { id, workflow: "root", range: "", inputJson: "{}", labels: {} };
  await of.asking("execution.start", request, async () => {
    given = await of.start(id, "root", ["w1"]);
    return startResponse(of, id);
  });
  const [a1] = given;
  await of.settle(only(a1), BAD);
  await of.clock.advance(3_000);
  await of.call("e1", "renewSession", { session: of.session("e1") });
  await of.call("e2", "renewSession", { session: of.session("e2") });
  await of.turn(id, { message: { kind: "timer", timer: "retry/a/0" }, fire: "retry/a/0" });
  const [a2] = await of.claim("e2", "w2");
  const { jobId, token } = { jobId: only(a2).job.id, token: only(a2).token };
  await of.call("e1", "adopt", { opId: of.op(), session: of.session("e1"), worker: "w2", jobs: [{ jobId, token }] });
  await of.call("e1", "logs.append", logOf(of, "e1", only(a2), 0, "one\n"));
  await of.call("e1", "logs.append", logOf(of, "e1", only(a2), 4, "two\n"));
  const own = { attempt: 2, key: "uid-x/a/0", logged: 8 };
  await of.report("e1", only(a2), { kind: "succeeded", outputs: { v: 1, ...own } });
  const [b1] = await of.claim("e2", "w2");
  await of.report("e2", only(b1), OK);
  await playChild(of, id);
  await of.clock.advance(2_500);
  await renewAll(of);
  await of.clock.advance(2_500);
  await renewAll(of);
  await of.turn(id, { message: { kind: "timer", timer: "sleep/n/0" }, fire: "sleep/n/0" });
  await message(of, id, { kind: "pause", id: "p1", by: "ann" });
  await message(of, id, { kind: "signal", id: "s1", name: "go", payload: {}, by: "ann" });
  await message(of, id, { kind: "resume", id: "r1", by: "ann" });
  const [l1] = await of.claim("e1", "w2");
  await of.settle(only(l1), OK);
}

async function renewAll(of: Played): Promise<void> {
  for (const node of ["e1", "e2"]) await of.call(node, "renewSession", { session: of.session(node) });
}

async function playChild(of: Played, id: string): Promise<void> {
  const start = await of.sent(id);
  if (start.message.kind !== "startChild") throw new Error("no child was asked for");
  const child = start.message.target;
  const [given] = await of.start(child, "sub", ["w1"], start.message.parent);
  await of.turn(id, { outboxDone: start.outboxDone });
  await of.settle(only(given), OK);
  const end = await of.sent(child);
  if (end.message.kind !== "childEnded") throw new Error("no end was told");
  const { target: _target, parentUid: _parentUid, ...ended } = end.message;
  await of.turn(id, { message: ended });
  await of.turn(child, { outboxDone: end.outboxDone });
}

/** Cancelled while a child of it runs: the child is told. */
async function playCancelled(of: Played): Promise<void> {
  await of.publish("parent", { steps: { c: { workflow: "sub@^1.0.0" } } });
  const request = { id: "y", workflow: "parent", range: "", inputJson: "{}", labels: {} };
  await of.asking("execution.start", request, async () => {
    await of.start("y", "parent");
    return startResponse(of, "y");
  });
  const start = await of.sent("y");
  if (start.message.kind !== "startChild") throw new Error("no child was asked for");
  const child = start.message.target;
  const [given] = await of.start(child, "sub", ["w1"], start.message.parent);
  await of.turn("y", { outboxDone: start.outboxDone });
  await message(of, "y", { kind: "cancel", id: "c1", reason: "enough", by: "ann" });
  const cancel = await of.sent("y");
  await of.turn(child, { message: { kind: "cancel", id: "cancel/y", reason: "enough", by: "execution y" } });
  await of.turn("y", { outboxDone: cancel.outboxDone });
  await of.settle(only(given), { kind: "cancelled" });
  const end = await of.sent(child);
  if (end.message.kind !== "childEnded") throw new Error("no end was told");
  const { target: _target, parentUid: _parentUid, ...ended } = end.message;
  await of.turn("y", { message: ended });
  await of.turn(child, { outboxDone: end.outboxDone });
}

async function playQuestions(of: Played): Promise<void> {
  const head = (await of.store.readHistory({ namespace: NAMESPACE, id: "x", afterRevision: 0, limit: 1000 }))?.head;
  const view = { id: "x", uid: head?.uid, state: head?.state, revision: head?.revision, outputJson: "{}" };
  await of.asking("execution.wait", { id: "x" }, async () => view);
  await of.asking("execution.get", { id: "x" }, async () => view);
  await of.asking("execution.list", { states: [], labels: {}, limit: 0 }, async () => {
    const { executions } = await of.store.listExecutions({ namespace: NAMESPACE, limit: 100 });
    return { executions: executions.map(({ id, uid, state, revision }) => ({ id, uid, state, revision })) };
  });
  await of.asking("execution.history", { id: "x", afterRevision: 0, limit: 0 }, async () => {
    const page = await of.store.readHistory({ namespace: NAMESPACE, id: "x", afterRevision: 0, limit: 1000 });
    const commits = page?.commits ?? [];
    return { entries: commits.flatMap(({ revision, events }) => events.map((eventJson) => ({ revision, eventJson }))) };
  });
}

async function message(of: Played, id: string, sent: Extract<Message, { by: string }>): Promise<void> {
  const request = { id, messageId: sent.id };
  await of.asking(`execution.${sent.kind}`, request, async () => {
    await of.turn(id, { message: sent });
    return { revision: of.revision(id) };
  });
}

async function startResponse(of: Played, id: string): Promise<object> {
  const head = (await of.store.readHistory({ namespace: NAMESPACE, id, afterRevision: 0, limit: 1 }))?.head;
  return { id, uid: head?.uid, workflow: head?.workflow, version: head?.version, digest: head?.digest, created: true };
}

function logOf(of: Played, node: string, { job, token }: Assignment, offset: number, text: string): object {
  return { session: of.session(node), jobId: job.id, token, offset, data: Buffer.from(text), dropped: 0 };
}

export function only<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("there is none");
  return value;
}
