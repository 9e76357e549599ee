import * as fc from "fast-check";
import type { ManualClock } from "../base/clock.ts";
import { fenceOf, jobOf, op, openOwner, reportOf, SHARDS, slotOf, turnOf, type Owner } from "./fixtures.ts";
import type { Assignment, Store, TurnRequest } from "./store.ts";

/**
 * Random histories for the comparison of an adapter with the model. A command holds small numbers only; what they mean
 * (which session, token, revision) is looked up in what the same store has answered so far. So the same commands can be
 * given to two stores that mint different secrets, and their answers compared once the secrets are numbered.
 */
const KINDS = [
  "turn",
  "turn",
  "turn",
  "end",
  "claim",
  "report",
  "report",
  "adopt",
  "read",
  "own",
  "log",
  "time",
] as const;
export type Command = {
  kind: (typeof KINDS)[number] | "crash";
  engine: number;
  execution: number;
  pick: number;
  many: number;
  /** Now and then something that must be refused or repeated. */
  odd: boolean;
};

export const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(...KINDS, "crash" as const),
    engine: fc.nat(1),
    execution: fc.nat(3),
    pick: fc.nat(9),
    many: fc.nat(3),
    odd: fc.nat(5).map((of) => of === 0),
  }),
  { minLength: 5, maxLength: 60, size: "max" },
);

/** How time passes in a history. Never far enough for ageing: what decides then is not kept over a crash. */
const STEPS_MS = [1, 500, 4000, 10_001];

export type Subject = {
  store: Store;
  clock: ManualClock;
  /** Ends everything that dies with the process; answers the store that goes on. */
  crash: () => Promise<Store>;
};

/** What a history has shown of one store. */
class Trace {
  readonly #subject: Subject;
  readonly answers: unknown[] = [];
  readonly #labels = new Map<string, string>();
  readonly #owners: (Owner | undefined)[] = [];
  readonly #revisions = new Map<number, number>();
  readonly #given: Assignment[] = [];
  #entries: { entry: string; execution: string }[] = [];
  #last: TurnRequest | undefined;
  #steps = 0;

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  async run(command: Command): Promise<void> {
    const answer = await this.#do(command);
    this.answers.push({ command: command.kind, answer: this.#labelled(answer) });
  }

  async #owner(engine: number): Promise<Owner> {
    const shards = engine === 0 ? [0, 1] : [2, 3];
    return (this.#owners[engine] ??= await openOwner(this.#subject.store, `e${engine}`, shards));
  }

  async #do(command: Command): Promise<unknown> {
    switch (command.kind) {
      case "turn":
      case "end":
        return this.#turn(command);
      case "claim":
        return this.#claim(command);
      case "report":
        return this.#report(command);
      case "adopt":
        return this.#adopt(command);
      case "read":
        return this.#read(command);
      case "log":
        return this.#log(command);
      case "own":
        this.#owners[command.engine] = undefined;
        return (await this.#owner(command.engine)).fences;
      case "time":
        await this.#subject.clock.advance(STEPS_MS[command.many] ?? 1);
        return this.#renew(command.engine);
      case "crash":
        this.#owners.length = 0;
        this.#subject.store = await this.#subject.crash();
        return (await this.#subject.store.open({ shards: SHARDS })).shards;
    }
  }

  async #turn({ kind, execution, pick, many, odd }: Command): Promise<unknown> {
    const { store, clock } = this.#subject;
    if (odd && this.#last !== undefined) return store.turn(this.#last);
    const owner = await this.#owner(execution >> 1);
    if (!owner.fences.some(({ shard }) => shard === execution)) return "not owned";
    const id = `x${execution}`;
    const expectedRevision = this.#revisions.get(execution) ?? 0;
    const workspace = pick > 6 ? { workspace: `uid-${id}/ws` } : {};
    const job = (at: number) => jobOf(id, `s${this.#steps}`, { shard: execution, iteration: String(at), ...workspace });
    this.#steps += 1;
    const running = this.#given.filter((each) => each.job.executionId === id);
    const ended = kind === "end" ? { state: "succeeded" as const, endedAtMs: clock.now() } : {};
    const gate = pick === 5 ? ("paused" as const) : ("open" as const);
    const [settle] = pick < 2 ? running.splice(many, 1) : [];
    const request = turnOf(owner, id, {
      expectedRevision,
      head: { shard: execution, startedAtMs: 1000 + this.#steps, gate, ...ended },
      events: Array.from({ length: many }, (_, at) => JSON.stringify({ at, pick })),
      ...(pick === 3 ? { snapshot: `snapshot ${this.#steps}` } : {}),
      ...(expectedRevision === 0 ? { definitions: { digest: "{}" } } : {}),
      enqueue: Array.from({ length: many }, (_, at) => job(at)),
      claimFor: pick % 2 === 0 ? [slotOf(`w${execution >> 1}`)] : [],
      timers: [{ id: `t${pick}`, atMs: clock.now() + pick * 100 }],
      ...(pick === 4 ? { fire: ["t4"] } : {}),
      outbox: pick === 6 ? [{ id: `o${this.#steps}`, target: "y", namespace: "default", text: "m" }] : [],
      outboxDone: [`o${this.#steps - 1}`, `o${this.#steps - 2}`],
      take: this.#entries.filter((each) => each.execution === id).map(({ entry }) => entry),
      settle: settle === undefined ? [] : [{ jobId: settle.job.id, token: settle.token }],
      cancel: pick === 7 ? running.map((each) => each.job.id) : [],
      revoke: pick === 8 ? running.map((each) => each.job.id) : [],
      withdraw: pick === 9 ? running.map((each) => each.job.id) : [],
      releaseWorkspaces: pick === 1 ? [`uid-${id}/ws`] : [],
    });
    this.#last = request;
    const answer = await store.turn(request);
    if (answer.status === "OK" || answer.status === "CONFLICT") this.#revisions.set(execution, answer.revision);
    if (answer.status === "OK") {
      this.#given.push(...answer.assignments);
      this.#entries = this.#entries.filter((each) => each.execution !== id);
    }
    return answer;
  }

  async #claim({ engine, pick, many }: Command): Promise<unknown> {
    const { session } = await this.#owner(engine);
    const workers = [slotOf(`w${engine}`, { free: { slots: many } })];
    const gone = pick === 9 ? { gone: [`w${1 - engine}`] } : {};
    const answer = await this.#subject.store.claim({ opId: op(), session, workers, ...gone });
    if ("assignments" in answer) this.#given.push(...answer.assignments);
    return answer;
  }

  async #report({ engine, pick, odd }: Command): Promise<unknown> {
    const { store } = this.#subject;
    const { session, fences } = await this.#owner(engine);
    const of = this.#given[pick % Math.max(this.#given.length, 1)];
    if (of === undefined) return "nothing given";
    const outcome = odd ? { kind: "lost" as const, reason: "gone" } : { kind: "succeeded" as const, outputs: {} };
    const answer = await store.reportAndClaim(reportOf(session, of, { outcome, claimFor: [slotOf(`w${engine}`)] }));
    if ("assignments" in answer) this.#given.push(...answer.assignments);
    const inbox = await store.readInbox({ fences, limit: 100 });
    const mine = new Set(inbox.entries.map(({ entry }) => entry));
    this.#entries = this.#entries.filter(({ entry }) => !mine.has(entry));
    for (const { entry, job } of inbox.entries) this.#entries.push({ entry, execution: job.executionId });
    return { answer, inbox };
  }

  async #adopt({ engine, pick }: Command): Promise<unknown> {
    const { session } = await this.#owner(engine);
    const jobs = this.#given.slice(pick).map(({ job, token }) => ({ jobId: job.id, token }));
    const answer = await this.#subject.store.adopt({ opId: op(), session, worker: `w${engine}`, jobs });
    if ("status" in answer) return answer;
    const named = (tokens: readonly string[]): object[] => tokens.map((token) => ({ token }));
    return { ...answer, adopted: named(answer.adopted), stale: named(answer.stale) };
  }

  async #log({ pick, many }: Command): Promise<unknown> {
    const { store } = this.#subject;
    const of = this.#given[pick % Math.max(this.#given.length, 1)];
    if (of === undefined) return "nothing given";
    const data = new TextEncoder().encode("x".repeat(many));
    const { job, token } = of;
    const answer = await store.logs.append({ session: "", jobId: job.id, token, offset: pick, data, dropped: 0 });
    const read = await store.logs.read({ namespace: "default", executionId: job.executionId, limitBytes: 20 });
    return { answer, chunks: read.chunks.map(({ data: each, ...chunk }) => ({ ...chunk, bytes: [...each] })) };
  }

  async #renew(engine: number): Promise<unknown> {
    const owner = this.#owners[engine];
    if (owner === undefined) return "no session";
    const answer = await this.#subject.store.renewSession({ session: owner.session });
    if (answer.status === "FENCED") this.#owners[engine] = undefined;
    return { ...answer, replicationId: undefined };
  }

  async #read({ engine, execution, pick }: Command): Promise<unknown> {
    const { store, clock } = this.#subject;
    const owner = await this.#owner(engine);
    const [fence] = owner.fences;
    const of = { namespace: "default", id: `x${execution}` };
    return {
      execution: await store.readExecution(of),
      history: await store.readHistory({ ...of, afterRevision: pick, limit: 2 }),
      list: await store.listExecutions({
        namespace: "default",
        limit: 3,
        ...(pick > 5 ? { states: ["running"] } : {}),
      }),
      jobs: await store.jobs({ limit: 50 }),
      demand: await store.demand(pick > 5 ? { session: owner.session } : {}),
      shards: await store.shards(),
      sessions: await store.sessions(),
      shard: fence === undefined ? undefined : await store.loadShard({ fence: fenceOf(owner, fence.shard), limit: 2 }),
      expired:
        pick === 0 && fence !== undefined
          ? await store.expire({ fence, endedBeforeMs: clock.now() - 1000, limit: 1 })
          : undefined,
    };
  }

  /** Secrets as numbers, in the order in which the store first showed them. */
  #labelled(answer: unknown): unknown {
    return JSON.parse(
      JSON.stringify(answer ?? null, (key, value: unknown) => {
        if (typeof value !== "string" || !SECRETS.has(key)) return value;
        const label = this.#labels.get(value) ?? `#${this.#labels.size}`;
        this.#labels.set(value, label);
        return label;
      }),
    ) as unknown;
  }
}

const SECRETS = new Set(["session", "nonce", "token", "entry"]);

export async function traceOf(subject: Subject, history: readonly Command[]): Promise<unknown[]> {
  const trace = new Trace(subject);
  await subject.store.open({ shards: SHARDS });
  for (const command of history) await trace.run(command);
  return trace.answers;
}
