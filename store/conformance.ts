import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { seededRandom, type Random } from "../base/random.ts";
import { isHodeiError } from "../workflow/errors.ts";
import { fenceOf, GIB, jobOf, op, openOwner, reportOf, SHARDS, slotOf, TTL_MS, turnOf } from "./fixtures.ts";
import type { Owner, TurnOver } from "./fixtures.ts";
import { createMemoryStore } from "./memory.ts";
import { commands, traceOf } from "./random-commands.ts";
import {
  ADOPTION_MS,
  AGEING_MS,
  LOG_BOUNDS,
  type Assignment,
  type ExecutionHead,
  type Hint,
  type InboxOutcome,
  type Store,
  type WorkerSlot,
} from "./store.ts";

/** `reopen` is for durable stores: closes as a crash would and opens the same data again. */
export type Opened = { store: Store; reopen?: () => Promise<Store> };
export type OpenStore = (options: { clock: ManualClock; random: Random }) => Promise<Opened>;

type World = Opened & { clock: ManualClock; owner: Owner };

/** Every promise of the port, as a test that any adapter must pass. `durable` ones must give `reopen`. */
export function storeConformance(name: string, open: OpenStore, { durable = false } = {}): void {
  const world = async (): Promise<World> => {
    const clock = new ManualClock();
    const opened = await open({ clock, random: seededRandom(7) });
    await opened.store.open({ shards: SHARDS });
    return { ...opened, clock, owner: await openOwner(opened.store, "a", [0, 1, 2]) };
  };
  const rooms: Record<string, (world: MakeWorld) => void> = {
    "the cluster, sessions and shards": ownership,
    turn: turns,
    "cancel, revoke, withdraw": cancels,
    outcomes,
    claims,
    "order of claims": order,
    waking,
    workspaces,
    adoption,
    reads,
    registry,
    logs,
    "worker requests": workerRequests,
    "the model": () => likeTheModel(open),
    ...(durable ? { durability } : {}),
  };
  for (const [room, tests] of Object.entries(rooms)) {
    describe(`${name}: ${room}`, () => {
      tests(world);
    });
  }
}

type MakeWorld = () => Promise<World>;

/** Commits and expects it to be taken; answers what was claimed. */
async function commit(store: Store, owner: Owner, id: string, over: TurnOver = {}): Promise<Assignment[]> {
  const answer = await store.turn(turnOf(owner, id, over));
  if (answer.status !== "OK") throw new Error(`turn of ${id}: ${JSON.stringify(answer)}`);
  return answer.assignments;
}

async function claimOne(store: Store, session: string, slot: WorkerSlot): Promise<Assignment | undefined> {
  return (await claimAll(store, session, [slot]))[0];
}

async function claimAll(store: Store, session: string, workers: WorkerSlot[], gone?: string[]): Promise<Assignment[]> {
  const answer = await store.claim({ opId: op(), session, workers, ...(gone === undefined ? {} : { gone }) });
  if ("status" in answer) throw new Error("fenced");
  return answer.assignments;
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("nothing there");
  return value;
}

async function inboxOf(store: Store, owner: Owner): Promise<InboxOutcome[]> {
  return (await store.readInbox({ fences: owner.fences, limit: 100 })).entries;
}

async function renew(store: Store, session: string): ReturnType<typeof renewed> {
  return renewed(await store.renewSession({ session }));
}
async function renewed(answer: Awaited<ReturnType<Store["renewSession"]>>) {
  if (answer.status === "FENCED") throw new Error("fenced");
  return answer;
}

const stepsOf = (assignments: Assignment[]): string[] => assignments.map(({ job }) => job.step);

/** Records hints until stopped; wait with `settle`. */
function listen(store: Store, session: string): Hint[] {
  const hints: Hint[] = [];
  store.watch({ kind: "session", session }, (hint) => hints.push(hint));
  return hints;
}
/** Time goes by while the engine of the world renews its lease. */
async function pass({ clock, store, owner }: World, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= TTL_MS / 2) {
    await clock.advance(Math.min(left, TTL_MS / 2));
    await renew(store, owner.session);
  }
}
const settle = (clock: ManualClock): Promise<void> => clock.advance(0);

async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (isHodeiError(error)) return error.code;
    throw error;
  }
  throw new Error("was not refused");
}

function ownership(world: MakeWorld): void {
  it("keeps the shard count of its creation and refuses another", async () => {
    const { store } = await world();
    expect(await refusal(store.open({ shards: SHARDS + 1 }))).toBe("INVALID_ARGUMENT");
    expect((await store.open({ shards: SHARDS })).shards).toBe(SHARDS);
  });

  it("answers the same replication id every time", async () => {
    const { store, owner } = await world();
    const { replicationId } = await store.open({ shards: SHARDS });
    expect(replicationId).not.toBe("");
    expect((await renew(store, owner.session)).replicationId).toBe(replicationId);
  });

  it("ends a session when its lease runs out by the store's clock, not before", async () => {
    const { store, clock, owner } = await world();
    await clock.advance(TTL_MS - 1);
    expect((await store.renewSession({ session: owner.session })).status).toBe("OK");
    await clock.advance(TTL_MS);
    expect(await store.renewSession({ session: owner.session })).toEqual({ status: "FENCED" });
    expect(await store.sessions()).toEqual([]);
  });

  it("ends the older session of an engine that opens a new one", async () => {
    const { store, owner } = await world();
    const again = await openOwner(store, "a", [0]);
    expect(await store.renewSession({ session: owner.session })).toEqual({ status: "FENCED" });
    expect(again.fences.map(({ shard }) => shard)).toEqual([0]);
  });

  it("answers a repeated openSession with the same session", async () => {
    const { store } = await world();
    const engine = { name: "b", address: "b:1", pid: 1, version: "1", startedAtMs: 0 };
    const request = { opId: op(), engine, ttlMs: TTL_MS };
    const first = await store.openSession(request);
    expect((await store.openSession(request)).session).toBe(first.session);
    expect(await store.sessions()).toHaveLength(2);
  });

  it("gives a shard to one owner, with a higher epoch and a fresh nonce each time", async () => {
    const { store, owner } = await world();
    const other = await openOwner(store, "b", [0, 3]);
    expect(other.fences.map(({ shard }) => shard)).toEqual([3]);
    await store.releaseShards({ fences: [fenceOf(owner)] });
    const answer = await store.acquireShards({ opId: op(), session: other.session, shards: [0] });
    const [taken] = "acquired" in answer ? answer.acquired : [];
    expect(taken?.epoch).toBe(fenceOf(owner).epoch + 1);
    expect(taken?.nonce).not.toBe(fenceOf(owner).nonce);
    expect(present(taken).nonce).toMatch(/^[0-9a-f]{32}$/);
  });

  it("answers a repeated acquire with the first fences", async () => {
    const { store } = await world();
    const other = await openOwner(store, "b", []);
    const request = { opId: op(), session: other.session, shards: [4, 5] };
    const first = await store.acquireShards(request);
    expect(await store.acquireShards(request)).toEqual(first);
  });

  it("gives a repeated acquire nothing that the first one did not get, though it is free by now", async () => {
    const { store, owner } = await world();
    const other = await openOwner(store, "b", []);
    const request = { opId: op(), session: other.session, shards: [0] };
    expect(await store.acquireShards(request)).toEqual({ acquired: [] });
    await store.releaseShards({ fences: [fenceOf(owner)] });
    // Late, after the asker has had its answer and asks under another id: nobody would know of this grant.
    expect(await store.acquireShards(request)).toEqual({ acquired: [] });
    expect(await store.acquireShards({ ...request, opId: op() })).toMatchObject({ acquired: [{ shard: 0 }] });
  });

  it("grants a shard anew to the session that has it already and asks, since it does not know of it", async () => {
    const { store, owner } = await world();
    const request = { opId: op(), session: owner.session, shards: [0] };
    const answer = await store.acquireShards(request);
    const before = fenceOf(owner);
    expect(answer).toMatchObject({ acquired: [{ shard: 0, session: owner.session, epoch: before.epoch + 1 }] });
    expect(await store.turn(turnOf(owner, "x"))).toEqual({ status: "FENCED" });
    const fence = "acquired" in answer ? present(answer.acquired[0]) : before;
    expect(await store.turn(turnOf(owner, "x", { fence }))).toMatchObject({ status: "OK" });
  });

  it("does not release a shard under another nonce", async () => {
    const { store, owner } = await world();
    await store.releaseShards({ fences: [{ ...fenceOf(owner), nonce: "0".repeat(32) }] });
    expect((await store.shards())[0]).toMatchObject({ shard: 0, owner: "a", session: owner.session });
  });

  it("lists every shard, free ones too", async () => {
    const { store } = await world();
    const records = await store.shards();
    expect(records).toHaveLength(SHARDS);
    expect(records[7]).toEqual({ shard: 7, epoch: 0 });
  });

  it("refuses a shard that is not there, naming the field", async () => {
    const { store, owner } = await world();
    const request = { opId: op(), session: owner.session, shards: [SHARDS] };
    await expect(store.acquireShards(request)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "shards" });
  });

  it("frees all shards of a session that ends", async () => {
    const { store, owner } = await world();
    await store.endSession({ session: owner.session });
    const other = await openOwner(store, "b", [0, 1, 2]);
    expect(other.fences).toHaveLength(3);
  });

  it("gives a named lease to one holder until it is released or runs out", async () => {
    const { store, clock } = await world();
    const ask = async (holder: string, release = false): Promise<string | undefined> =>
      (await store.lease({ name: "leader", holder, ttlMs: 1000, release })).holder;
    expect(await ask("x")).toBe("x");
    expect(await ask("y")).toBe("x");
    await clock.advance(999);
    expect(await ask("y")).toBe("x");
    await clock.advance(1);
    expect(await ask("y")).toBe("y");
    expect(await ask("y", true)).toBeUndefined();
    expect(await ask("x")).toBe("x");
  });

  it("refuses every fenced call of an owner whose epoch is right and whose nonce is not", async () => {
    const { store, owner } = await world();
    expect(await fencedCalls(store, owner, { ...fenceOf(owner), nonce: "f".repeat(32) })).toBe(5);
    const { epoch } = fenceOf(owner);
    expect(await fencedCalls(store, owner, { ...fenceOf(owner), epoch: epoch + 1 })).toBe(5);
  });

  it("refuses every fenced call of an owner whose shard has moved", async () => {
    const { store, owner } = await world();
    await store.releaseShards({ fences: [fenceOf(owner)] });
    await openOwner(store, "b", [0]);
    expect(await fencedCalls(store, owner, fenceOf(owner))).toBe(5);
  });

  it("refuses every call of a session that has ended", async () => {
    const { store, owner } = await world();
    await store.endSession({ session: owner.session });
    expect(await fencedCalls(store, owner, fenceOf(owner))).toBe(5);
    const { session } = owner;
    expect(await store.claim({ opId: op(), session, workers: [] })).toEqual({ status: "FENCED" });
    expect(await store.adopt({ opId: op(), session, worker: "w", jobs: [] })).toEqual({ status: "FENCED" });
    expect(await store.acquireShards({ opId: op(), session, shards: [5] })).toEqual({ status: "FENCED" });
    expect(await store.reportAndClaim(reportOf(session, { job: jobOf("x", "s"), token: "t" }))).toEqual({
      status: "FENCED",
    });
    const want = { id: "r", engine: "a", namespace: "default", template: "t" };
    expect(await store.workerRequests.reserve({ opId: op(), session, want, maximum: 1 })).toEqual({ status: "FENCED" });
    expect(await store.workerRequests.update({ session, id: "r", state: "gone" })).toEqual({ status: "FENCED" });
  });
}

/** How many of the five fenced calls were refused; none of them may have written. */
async function fencedCalls(store: Store, owner: Owner, fence: Owner["fences"][number]): Promise<number> {
  const answers = [
    await store.turn(turnOf(owner, "new", { fence, events: ["{}"] })),
    await store.loadShard({ fence, limit: 1 }),
    await store.readExecution({ namespace: "default", id: "new", fence }),
    await store.expire({ fence, endedBeforeMs: Number.MAX_SAFE_INTEGER, limit: 1 }),
  ];
  const { fenced } = await store.readInbox({ fences: [fence], limit: 1 });
  expect(await store.readHistory({ namespace: "default", id: "new", afterRevision: 0, limit: 1 })).toBeUndefined();
  const refused = answers.filter((answer) => answer !== undefined && "status" in answer && answer.status === "FENCED");
  return refused.length + fenced.length;
}

function turns(world: MakeWorld): void {
  it("creates an execution and appends commits under rising revisions", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { events: ["1", "2"], definitions: { d: "{}" } });
    await commit(store, owner, "x", { expectedRevision: 1, events: ["3"] });
    const record = await store.readExecution({ namespace: "default", id: "x" });
    expect(record).toMatchObject({ events: ["1", "2", "3"], definitions: { d: "{}" }, head: { revision: 2 } });
    const history = await store.readHistory({ namespace: "default", id: "x", afterRevision: 0, limit: 1 });
    expect(history).toMatchObject({ commits: [{ revision: 1, events: ["1", "2"] }], more: true });
  });

  it("refuses to create an id that exists, open or finished", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x");
    expect(await store.turn(turnOf(owner, "x"))).toEqual({ status: "CONFLICT", revision: 1, outcomes: [] });
    await commit(store, owner, "x", { expectedRevision: 1, head: { state: "succeeded", endedAtMs: 2000 } });
    expect(await store.turn(turnOf(owner, "x"))).toEqual({ status: "CONFLICT", revision: 2, outcomes: [] });
  });

  it("answers CONFLICT with the revision when the head has moved on, and writes nothing", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { events: ["1"] });
    const late = turnOf(owner, "x", { expectedRevision: 4, events: ["2"], enqueue: [jobOf("x", "s")] });
    expect(await store.turn(late)).toEqual({ status: "CONFLICT", revision: 1, outcomes: [] });
    expect(await store.jobs({ limit: 10 })).toEqual([]);
    expect(await store.readExecution({ namespace: "default", id: "x" })).toMatchObject({ events: ["1"] });
  });

  it("answers a repeated operation with the first answer, assignments and all, and writes once", async () => {
    const { store, owner } = await world();
    const request = turnOf(owner, "x", { events: ["1"], enqueue: [jobOf("x", "s")], claimFor: [slotOf("w")] });
    const first = await store.turn(request);
    const again = await store.turn(request);
    expect(first).toMatchObject({ status: "OK", revision: 1 });
    expect(again).toEqual({ ...first, status: "DUPLICATE" });
    expect(await store.readExecution({ namespace: "default", id: "x" })).toMatchObject({ events: ["1"] });
  });

  it("refuses an operation id that belongs to another kind of call", async () => {
    const { store, owner } = await world();
    const request = turnOf(owner, "x");
    await store.turn(request);
    const run = store.registry.nextRunNumber({ opId: request.opId, namespace: "default", name: "greet" });
    await expect(run).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "opId" });
  });

  it("answers EARLY for a timer that is not due, and takes it once when it is", async () => {
    const { store, clock, owner } = await world();
    await commit(store, owner, "x", { timers: [{ id: "t", atMs: clock.now() + 500 }] });
    await clock.advance(499);
    const fire = (): TurnOver => ({ expectedRevision: 1, fire: ["t"], events: ["fired"] });
    expect(await store.turn(turnOf(owner, "x", fire()))).toEqual({ status: "EARLY", byMs: 1 });
    await clock.advance(1);
    await commit(store, owner, "x", fire());
    const again = turnOf(owner, "x", { ...fire(), expectedRevision: 2 });
    expect(await store.turn(again)).toMatchObject({ status: "CONFLICT", revision: 2 });
  });

  it("moves a timer that is set again and forgets one that is cleared", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", {
      timers: [
        { id: "a", atMs: 5 },
        { id: "b", atMs: 6 },
      ],
    });
    await commit(store, owner, "x", { expectedRevision: 1, timers: [{ id: "a", atMs: 9 }], clearTimers: ["b"] });
    expect(await store.readExecution({ namespace: "default", id: "x" })).toMatchObject({
      timers: [{ id: "a", atMs: 9 }],
    });
  });

  it("keeps outbox entries in order until they are done, also of a finished execution", async () => {
    const { store, owner } = await world();
    const entry = (id: string) => ({ id, target: "y", namespace: "default", text: id });
    await commit(store, owner, "x", { outbox: [entry("2"), entry("1")] });
    const end = { state: "succeeded" as const, endedAtMs: 2000 };
    await commit(store, owner, "x", { expectedRevision: 1, outbox: [entry("3")], outboxDone: ["2"], head: end });
    const page = await store.loadShard({ fence: fenceOf(owner), limit: 10 });
    expect(page).toMatchObject({ executions: [{ head: { id: "x" }, outbox: [entry("1"), entry("3")] }] });
    await commit(store, owner, "x", { expectedRevision: 2, outboxDone: ["1", "3"], head: end });
    expect(await store.loadShard({ fence: fenceOf(owner), limit: 10 })).toMatchObject({ executions: [] });
  });

  it("answers the newest snapshot and only the events after it", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { events: ["1"], snapshot: "S1" });
    await commit(store, owner, "x", { expectedRevision: 1, events: ["2"], snapshot: "S2" });
    await commit(store, owner, "x", { expectedRevision: 2, events: ["3"] });
    const record = await store.readExecution({ namespace: "default", id: "x" });
    expect(record).toMatchObject({ snapshot: { text: "S2", revision: 2 }, events: ["3"] });
  });

  it("removes the jobs and timers of an execution that ends, and stops the running ones", async () => {
    const { store, clock, owner } = await world();
    const enqueue = [jobOf("x", "a"), jobOf("x", "b")];
    const timers = [{ id: "t", atMs: 1 }];
    const [running] = await commit(store, owner, "x", { enqueue, timers, claimFor: [slotOf("w")] });
    const hints = listen(store, owner.session);
    await commit(store, owner, "x", { expectedRevision: 1, head: { state: "failed", endedAtMs: 1 } });
    await settle(clock);
    const { job, token } = present(running);
    expect(hints).toContainEqual({ kind: "cancel", jobId: job.id, token, worker: "w" });
    expect(await store.jobs({ limit: 10 })).toEqual([]);
    expect(await store.reportAndClaim(reportOf(owner.session, { job, token }))).toMatchObject({ status: "STALE" });
    expect(await store.readExecution({ namespace: "default", id: "x" })).toMatchObject({ timers: [] });
  });

  it("opens a finished execution again (retry)", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { events: ["1"], head: { state: "failed", endedAtMs: 1 } });
    const over = { expectedRevision: 1, events: ["2"], enqueue: [jobOf("x", "s")], claimFor: [slotOf("w")] };
    expect(await commit(store, owner, "x", over)).toHaveLength(1);
    expect(await store.loadShard({ fence: fenceOf(owner), limit: 10 })).toMatchObject({
      executions: [{ head: { id: "x", revision: 2, state: "running" } }],
    });
  });

  it("refuses a head or a job of another execution or shard, naming the field", async () => {
    const { store, owner } = await world();
    const foreign = turnOf(owner, "x", { enqueue: [jobOf("y", "s")] });
    await expect(store.turn(foreign)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "enqueue" });
    const moved = turnOf(owner, "x", { fence: fenceOf(owner, 1) });
    await expect(store.turn(moved)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "head.shard" });
  });

  it("refuses a job id that is open, unless the job leaves in the same commit", async () => {
    const { store, owner } = await world();
    const job = jobOf("x", "s");
    await commit(store, owner, "x", { enqueue: [job] });
    expect(await refusal(store.turn(turnOf(owner, "x", { expectedRevision: 1, enqueue: [job] })))).toBe(
      "INVALID_ARGUMENT",
    );
    await commit(store, owner, "x", { expectedRevision: 1, revoke: [job.id], enqueue: [job] });
    expect(await store.jobs({ limit: 9 })).toHaveLength(1);
  });

  it("refuses more than 256 jobs in one commit", async () => {
    const { store, owner } = await world();
    const enqueue = Array.from({ length: 257 }, (_, at) => jobOf("x", "s", { iteration: String(at) }));
    expect(await refusal(store.turn(turnOf(owner, "x", { enqueue })))).toBe("TOO_LARGE");
  });

  it("gives no job of a paused or cancelled execution, and the old ones first when it goes on", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [jobOf("x", "old")] });
    await commit(store, owner, "y", { enqueue: [jobOf("y", "young")] });
    await commit(store, owner, "x", { expectedRevision: 1, head: { gate: "paused" } });
    await commit(store, owner, "x", { expectedRevision: 2, head: { gate: "paused" }, enqueue: [jobOf("x", "held")] });
    expect(await store.demand({})).toMatchObject([{ waiting: 1 }]);
    await commit(store, owner, "x", { expectedRevision: 3 });
    const given = await claimAll(store, owner.session, [slotOf("w", { free: { slots: 9 } })]);
    expect(stepsOf(given)).toEqual(["old", "young", "held"]);
    await commit(store, owner, "x", { expectedRevision: 4, head: { gate: "cancelled" }, enqueue: [jobOf("x", "no")] });
    expect(await claimOne(store, owner.session, slotOf("w"))).toBeUndefined();
  });
}

function cancels(world: MakeWorld): void {
  const running = async (): Promise<World & { given: Assignment }> => {
    const made = await world();
    const enqueue = [jobOf("x", "s")];
    const [given] = await commit(made.store, made.owner, "x", { enqueue, claimFor: [slotOf("w")] });
    return { ...made, given: present(given) };
  };

  it("removes a queued job that is cancelled", async () => {
    const { store, owner } = await world();
    const job = jobOf("x", "s");
    await commit(store, owner, "x", { enqueue: [job] });
    await commit(store, owner, "x", { expectedRevision: 1, cancel: [job.id, "default/x/unknown/0#1"] });
    expect(await claimOne(store, owner.session, slotOf("w"))).toBeUndefined();
    expect(await store.jobs({ limit: 1 })).toEqual([]);
  });

  it("asks a claimed job to stop and still takes its outcome", async () => {
    const { store, clock, owner, given } = await running();
    const hints = listen(store, owner.session);
    const { job, token } = given;
    await commit(store, owner, "x", { expectedRevision: 1, cancel: [job.id] });
    await settle(clock);
    expect(hints).toEqual([{ kind: "cancel", jobId: job.id, token, worker: "w" }]);
    expect((await renew(store, owner.session)).revoked).toEqual([{ jobId: job.id, token }]);
    const report = reportOf(owner.session, given, { outcome: { kind: "cancelled" } });
    expect(await store.reportAndClaim(report)).toMatchObject({ status: "OK" });
    expect((await renew(store, owner.session)).revoked).toEqual([]);
    expect(await inboxOf(store, owner)).toMatchObject([{ token, outcome: { kind: "cancelled" } }]);
  });

  it("removes a claimed job that is revoked: its result is stale, its holder is told until it reports", async () => {
    const { store, clock, owner, given } = await running();
    const hints = listen(store, owner.session);
    const { job, token } = given;
    await commit(store, owner, "x", {
      expectedRevision: 1,
      revoke: [job.id],
      enqueue: [jobOf("x", "s", { attempt: 2 })],
    });
    await settle(clock);
    expect(hints).toContainEqual({ kind: "cancel", jobId: job.id, token, worker: "w" });
    expect((await renew(store, owner.session)).revoked).toEqual([{ jobId: job.id, token }]);
    const report = reportOf(owner.session, given, { claimFor: [slotOf("w")] });
    expect(await store.reportAndClaim(report)).toMatchObject({
      status: "STALE",
      assignments: [{ job: { attempt: 2 } }],
    });
    expect((await renew(store, owner.session)).revoked).toEqual([]);
    expect(await inboxOf(store, owner)).toEqual([]);
  });

  it.each(["cancel", "revoke", "withdraw"] as const)(
    "refuses to %s a job that has an outcome, and answers it",
    async (how) => {
      const { store, owner, given } = await running();
      await store.reportAndClaim(reportOf(owner.session, given));
      const answer = await store.turn(turnOf(owner, "x", { expectedRevision: 1, [how]: [given.job.id] }));
      expect(answer).toMatchObject({ status: "CONFLICT", revision: 1, outcomes: [{ jobId: given.job.id }] });
      const [outcome] = await inboxOf(store, owner);
      const take = [present(outcome).entry];
      await commit(store, owner, "x", { expectedRevision: 1, [how]: [given.job.id], take });
      expect(await store.jobs({ limit: 1 })).toEqual([]);
    },
  );

  it("withdraws a job that is still queued and refuses one that is claimed, naming it", async () => {
    const { store, owner, given } = await running();
    const queued = jobOf("x", "queued");
    await commit(store, owner, "x", { expectedRevision: 1, enqueue: [queued] });
    const both = turnOf(owner, "x", { expectedRevision: 2, withdraw: [queued.id, given.job.id] });
    expect(await store.turn(both)).toEqual({
      status: "CONFLICT",
      revision: 2,
      outcomes: [],
      claimed: [given.job.id],
    });
    await commit(store, owner, "x", { expectedRevision: 2, withdraw: [queued.id] });
    expect(await store.jobs({ limit: 9 })).toMatchObject([{ job: { id: given.job.id }, state: "claimed" }]);
  });

  it("touches no job of another execution", async () => {
    const { store, owner, given } = await running();
    await commit(store, owner, "y", { cancel: [given.job.id], revoke: [given.job.id], withdraw: [given.job.id] });
    expect(await store.jobs({ limit: 9 })).toMatchObject([{ job: { id: given.job.id }, state: "claimed" }]);
    expect((await renew(store, owner.session)).revoked).toEqual([]);
  });
}

function outcomes(world: MakeWorld): void {
  const running = async (): Promise<World & { given: Assignment; other: Owner }> => {
    const made = await world();
    const other = await openOwner(made.store, "b", [3]);
    await commit(made.store, made.owner, "x", { enqueue: [jobOf("x", "s"), jobOf("x", "t")] });
    return { ...made, other, given: present(await claimOne(made.store, other.session, slotOf("w"))) };
  };

  it("puts the first outcome into the inbox, wakes the owner and claims for the freed worker", async () => {
    const { store, clock, owner, other, given } = await running();
    const hints = listen(store, owner.session);
    await clock.advance(100);
    const report = reportOf(other.session, given, {
      facts: { enqueuedAtMs: 1, startedAtMs: 42 },
      claimFor: [slotOf("w")],
    });
    const answer = await store.reportAndClaim(report);
    await settle(clock);
    expect(answer).toMatchObject({ status: "OK", assignments: [{ job: { step: "t" }, worker: "w" }] });
    expect(hints).toEqual([{ kind: "inbox", shard: 0 }]);
    expect((await renew(store, owner.session)).inbox).toEqual([0]);
    expect(await inboxOf(store, owner)).toMatchObject([
      {
        jobId: given.job.id,
        outcome: { kind: "succeeded" },
        facts: { worker: "w", engine: "b", startedAtMs: 42, enqueuedAtMs: clock.now() - 100 },
        job: { executionId: "x", step: "s", attempt: 1 },
      },
    ]);
  });

  it("takes no second outcome under the same token, before and after the owner has folded the first", async () => {
    const { store, owner, other, given } = await running();
    await store.reportAndClaim(reportOf(other.session, given));
    const failed = { kind: "failed" as const, failure: { class: "user" as const, message: "no" } };
    const second = (): ReturnType<Store["reportAndClaim"]> =>
      store.reportAndClaim(reportOf(other.session, given, { outcome: failed }));
    expect(await second()).toMatchObject({ status: "DUPLICATE" });
    const [outcome] = await inboxOf(store, owner);
    expect(outcome?.outcome.kind).toBe("succeeded");
    await commit(store, owner, "x", { expectedRevision: 1, take: [present(outcome).entry] });
    expect(await second()).toMatchObject({ status: "DUPLICATE" });
    expect(await inboxOf(store, owner)).toEqual([]);
  });

  it("answers a repeated report with the first answer", async () => {
    const { store, other, given } = await running();
    const report = reportOf(other.session, given, { claimFor: [slotOf("w")] });
    const first = await store.reportAndClaim(report);
    expect(await store.reportAndClaim(report)).toEqual({ ...first, status: "DUPLICATE" });
  });

  it("answers STALE to an unknown token, and claims all the same", async () => {
    const { store, other, given } = await running();
    const wrong = reportOf(other.session, { ...given, token: "0" }, { claimFor: [slotOf("v")] });
    expect(await store.reportAndClaim(wrong)).toMatchObject({ status: "STALE", assignments: [{ job: { step: "t" } }] });
  });

  it("takes a result from any session, but lost only from the one that holds the job", async () => {
    const { store, owner, other, given } = await running();
    const lost = { kind: "lost" as const, reason: "gone" };
    expect(await store.reportAndClaim(reportOf(owner.session, given, { outcome: lost }))).toMatchObject({
      status: "STALE",
    });
    expect(await store.reportAndClaim(reportOf(other.session, given, { outcome: lost }))).toMatchObject({
      status: "OK",
    });
    expect(await store.reportAndClaim(reportOf(owner.session, given))).toMatchObject({ status: "STALE" });
  });

  it("settles an outcome that reached the owner directly, under the current token only", async () => {
    const { store, owner, other, given } = await running();
    const settling = (token: string) =>
      turnOf(owner, "x", { expectedRevision: 1, settle: [{ jobId: given.job.id, token }] });
    expect(await store.turn(settling("0"))).toEqual({ status: "CONFLICT", revision: 1, outcomes: [] });
    expect(await store.turn(settling(given.token))).toMatchObject({ status: "OK" });
    expect(await store.jobs({ limit: 9 })).toMatchObject([{ job: { step: "t" } }]);
    expect(await store.reportAndClaim(reportOf(other.session, given))).toMatchObject({ status: "DUPLICATE" });
  });

  it("refuses to settle a job whose other outcome waits, and answers it", async () => {
    const { store, owner, other, given } = await running();
    await store.reportAndClaim(reportOf(other.session, given));
    const late = turnOf(owner, "x", { expectedRevision: 1, settle: [{ jobId: given.job.id, token: given.token }] });
    expect(await store.turn(late)).toMatchObject({ status: "CONFLICT", outcomes: [{ token: given.token }] });
  });

  it("takes only entries that are there and are of this execution", async () => {
    const { store, owner, other, given } = await running();
    await store.reportAndClaim(reportOf(other.session, given));
    const [outcome] = await inboxOf(store, owner);
    const take = [present(outcome).entry];
    expect(await store.turn(turnOf(owner, "y", { take }))).toMatchObject({ status: "CONFLICT" });
    await commit(store, owner, "x", { expectedRevision: 1, take });
    expect(await store.turn(turnOf(owner, "x", { expectedRevision: 2, take }))).toMatchObject({ status: "CONFLICT" });
  });

  it("reads the inbox in the order of arrival, at most the limit", async () => {
    const { store, owner, other, given } = await running();
    const second = present(await claimOne(store, other.session, slotOf("w")));
    await store.reportAndClaim(reportOf(other.session, second));
    await store.reportAndClaim(reportOf(other.session, given));
    expect((await inboxOf(store, owner)).map(({ token }) => token)).toEqual([second.token, given.token]);
    const { entries } = await store.readInbox({ fences: owner.fences, limit: 1 });
    expect(entries.map(({ token }) => token)).toEqual([second.token]);
  });
}

function claims(world: MakeWorld): void {
  it("gives a job once, under a token of 128 bits", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s")] });
    const given = await claimOne(store, owner.session, slotOf("w"));
    expect(given?.token).toMatch(/^[0-9a-f]{32}$/);
    expect(await claimOne(store, owner.session, slotOf("v"))).toBeUndefined();
    expect(await store.jobs({ limit: 9 })).toMatchObject([
      { state: "claimed", worker: "w", session: owner.session, token: given?.token },
    ]);
    expect((await store.sessions())[0]).toMatchObject({ claims: 1, shards: 3 });
  });

  it("answers a repeated claim with the first assignments", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s"), jobOf("x", "t")] });
    const request = { opId: op(), session: owner.session, workers: [slotOf("w")] };
    const first = await store.claim(request);
    expect(await store.claim(request)).toEqual(first);
  });

  it("fills a worker up to its free slots and resources, in the caller's order", async () => {
    const { store, owner } = await world();
    const steps = ["a", "b", "c", "d", "e"];
    await commit(store, owner, "x", { enqueue: steps.map((step) => jobOf("x", step)) });
    const given = await claimAll(store, owner.session, [
      slotOf("v", { free: { slots: 9, cpuMillis: 1000 } }),
      slotOf("w", { free: { slots: 1 } }),
      slotOf("u", { free: { slots: 0 } }),
      slotOf("t", { free: { slots: 9, memoryBytes: GIB } }),
    ]);
    expect(given.map(({ worker, job }) => worker + job.step)).toEqual(["va", "vb", "wc", "td"]);
  });

  it("gives a job only to a worker that meets its requirement and serves its namespace", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s", { requirement: { label: "gpu" } })] });
    expect(await claimOne(store, owner.session, slotOf("w"))).toBeUndefined();
    const elsewhere = slotOf("v", { offer: { labels: ["gpu"], namespace: "other" } });
    expect(await claimOne(store, owner.session, elsewhere)).toBeUndefined();
    expect(await claimOne(store, owner.session, slotOf("u", { offer: { labels: ["gpu"] } }))).toBeDefined();
  });

  it("finds the one job that matches behind a thousand that never will", async () => {
    const { store, owner } = await world();
    for (let at = 0; at < 4; at += 1) {
      const enqueue = Array.from({ length: 250 }, (_, each) =>
        jobOf(`x${at}`, "s", { iteration: String(each), requirement: { label: `no-${each}` } }),
      );
      await commit(store, owner, `x${at}`, { enqueue });
    }
    await commit(store, owner, "y", { enqueue: [jobOf("y", "s")] });
    expect((await claimOne(store, owner.session, slotOf("w")))?.job.executionId).toBe("y");
  });

  it("tells demand per class, who could serve it, and what keeps the nearest worker from it", async () => {
    const { store, clock, owner } = await world();
    const atMs = clock.now();
    const gpu = { requirement: { label: "gpu" } };
    await commit(store, owner, "x", { enqueue: [jobOf("x", "a", gpu), jobOf("x", "b", gpu), jobOf("x", "c")] });
    await clock.advance(10);
    await commit(store, owner, "y", { head: { shard: 1 }, enqueue: [jobOf("y", "a", { ...gpu, shard: 1 })] });
    await claimOne(store, owner.session, slotOf("w", { free: { cpuMillis: 0 } }));
    const other = await openOwner(store, "b", [4]);
    const all = await store.demand({});
    expect(all.find(({ requirement }) => requirement.label === "gpu")).toMatchObject({
      waiting: 3,
      oldestAtMs: atMs,
      servable: false,
      mismatches: [{ clause: "label gpu" }],
    });
    expect(all.find(({ requirement }) => requirement.label === undefined)).toMatchObject({
      waiting: 1,
      servable: true,
    });
    expect(await store.demand({ session: other.session })).toEqual([]);
    await store.releaseShards({ fences: [fenceOf(owner, 0)] });
    expect(await store.demand({ session: owner.session })).toMatchObject([{ waiting: 1 }]);
    expect(await store.jobs({ executionId: "x", namespace: "default", limit: 1 })).toMatchObject([
      { state: "queued", mismatches: [{ clause: "label gpu" }] },
    ]);
  });

  it("forgets signatures that a renewal no longer names", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s")] });
    await claimOne(store, owner.session, slotOf("w", { free: { slots: 1, cpuMillis: 0 } }));
    expect(await store.demand({})).toMatchObject([{ servable: true }]);
    await store.renewSession({ session: owner.session, signatures: [] });
    expect(await store.demand({})).toMatchObject([{ servable: false }]);
  });
}

function order(world: MakeWorld): void {
  /** One worker of one slot asks `times` times. */
  const drain = async ({ store, owner }: World, times: number, slot = slotOf("w")): Promise<string[]> => {
    const steps: string[] = [];
    for (let at = 0; at < times; at += 1) {
      const given = await claimOne(store, owner.session, slot);
      if (given !== undefined) steps.push(given.job.step);
    }
    return steps;
  };
  const many = (step: string, count: number, over: Parameters<typeof jobOf>[2] = {}) =>
    Array.from({ length: count }, (_, at) => jobOf("x", step, { iteration: String(at), ...over }));

  it("gives jobs of one class in the order they were enqueued", async () => {
    const made = await world();
    await commit(made.store, made.owner, "x", { enqueue: ["a", "b", "c"].map((step) => jobOf("x", step)) });
    expect(await drain(made, 4)).toEqual(["a", "b", "c"]);
  });

  it("gives high before normal before low", async () => {
    const made = await world();
    const enqueue = (["low", "normal", "high"] as const).map((priority) => jobOf("x", priority, { priority }));
    await commit(made.store, made.owner, "x", { enqueue });
    expect(await drain(made, 3)).toEqual(["high", "normal", "low"]);
  });

  it("starts a low job when it has waited for the ageing limit, whatever is in the high band", async () => {
    const made = await world();
    await commit(made.store, made.owner, "x", {
      enqueue: [...many("high", 90, { priority: "high" }), jobOf("x", "low", { priority: "low" })],
    });
    expect(await drain(made, 8)).toEqual(Array(8).fill("high"));
    await pass(made, AGEING_MS - 1);
    expect(await drain(made, 4)).toEqual(Array(4).fill("high"));
    await pass(made, 1);
    expect((await drain(made, 4)).filter((step) => step === "low")).toHaveLength(1);
  });

  it("gives aged low jobs one claim in four when everything is aged, so that none starves and high still leads", async () => {
    const made = await world();
    await commit(made.store, made.owner, "x", { enqueue: many("low", 20, { priority: "low" }) });
    await commit(made.store, made.owner, "x", { expectedRevision: 1, enqueue: many("high", 60, { priority: "high" }) });
    await pass(made, AGEING_MS);
    const steps = await drain(made, 40);
    expect(steps.filter((step) => step === "low")).toHaveLength(10);
  });

  it("serves the namespace with the fewest running jobs first", async () => {
    const made = await world();
    const { store, owner } = made;
    await commit(store, owner, "x", { enqueue: many("default", 6) });
    const namespace = "other";
    const jobs = ["other", "other"].map((step, at) => jobOf("x", step, { namespace, iteration: String(at) }));
    await commit(store, owner, "x", { head: { namespace }, enqueue: jobs });
    expect(await drain(made, 6)).toEqual(["default", "other", "default", "other", "default", "default"]);
  });

  it("serves the namespace that was served longest ago when both have as many running", async () => {
    const made = await world();
    const { store, owner } = made;
    const namespace = "other";
    await commit(store, owner, "x", { enqueue: many("default", 3) });
    const first = present(await claimOne(store, owner.session, slotOf("w")));
    await store.reportAndClaim(reportOf(owner.session, first));
    await commit(store, owner, "x", { head: { namespace }, enqueue: many("other", 1, { namespace }) });
    expect(await drain(made, 2)).toEqual(["other", "default"]);
  });

  it("counts as running what is claimed and has no outcome, before asking who was served longest ago", async () => {
    const made = await world();
    const { store, owner } = made;
    const namespace = "other";
    const jobs = many("other", 4, { namespace });
    await commit(store, owner, "x", { head: { namespace }, enqueue: jobs });
    const running = await claimAll(store, owner.session, [slotOf("v", { free: { slots: 2 } })]);
    await commit(store, owner, "x", { enqueue: many("default", 4) });
    expect(await drain(made, 2)).toEqual(["default", "default"]);
    for (const given of running) await store.reportAndClaim(reportOf(owner.session, given));
    expect(await drain(made, 2)).toEqual(["other", "other"]);
  });

  it("keeps a worker free for a large job that has waited for the ageing limit, and one worker only", async () => {
    const made = await world();
    const { store, owner } = made;
    const large = jobOf("x", "large", {
      requirement: { resources: { cpuMillis: 4000, memoryBytes: GIB, gpu: 0, storageBytes: 0 } },
    });
    await commit(store, owner, "x", { enqueue: [large, ...many("small", 30)] });
    const busy = (worker: string): WorkerSlot => slotOf(worker, { free: { slots: 1, cpuMillis: 1000 } });
    expect(await drain(made, 2, busy("w"))).toEqual(["small", "small"]);
    await pass(made, AGEING_MS);
    expect(await drain(made, 3, busy("w"))).toEqual([]);
    expect(await drain(made, 3, busy("v"))).toEqual(["small", "small", "small"]);
    expect(await drain(made, 2, slotOf("w", { free: { slots: 1 } }))).toEqual(["large", "small"]);
    expect(await drain(made, 1, busy("w"))).toEqual(["small"]);
  });

  it("keeps no worker for a class whose large job is cancelled, nor for a young one that follows", async () => {
    const made = await world();
    const { store, owner } = made;
    const requirement = { resources: { cpuMillis: 4000, memoryBytes: GIB, gpu: 0, storageBytes: 0 } };
    const large = jobOf("x", "large", { requirement });
    await commit(store, owner, "x", { enqueue: [large, ...many("small", 9)] });
    await pass(made, AGEING_MS);
    const busy = slotOf("w", { free: { slots: 1, cpuMillis: 1000 } });
    expect(await drain(made, 1, busy)).toEqual([]);
    const young = jobOf("x", "young", { requirement });
    await commit(store, owner, "x", { expectedRevision: 1, cancel: [large.id], enqueue: [young] });
    expect(await drain(made, 1, busy)).toEqual(["small"]);
  });

  it("gives the large job to whoever has room first, and then frees the worker that was kept", async () => {
    const made = await world();
    const { store, owner } = made;
    const large = jobOf("x", "large", {
      requirement: { resources: { cpuMillis: 4000, memoryBytes: GIB, gpu: 0, storageBytes: 0 } },
    });
    await commit(store, owner, "x", { enqueue: [large, ...many("small", 9)] });
    await pass(made, AGEING_MS);
    const busy = slotOf("w", { free: { slots: 1, cpuMillis: 1000 } });
    expect(await drain(made, 1, busy)).toEqual([]);
    expect(await drain(made, 4, slotOf("v"))).toContain("large");
    expect(await drain(made, 1, busy)).toEqual(["small"]);
  });

  it("keeps another worker for the large job when the session of the first one ends", async () => {
    const made = await world();
    const { store, owner } = made;
    const resources = { cpuMillis: 4000, memoryBytes: GIB, gpu: 0, storageBytes: 0 };
    await commit(store, owner, "x", {
      enqueue: [jobOf("x", "large", { requirement: { resources } }), ...many("s", 9)],
    });
    await pass(made, AGEING_MS);
    const busy = (worker: string): WorkerSlot => slotOf(worker, { free: { slots: 1, cpuMillis: 1000 } });
    const other = await openOwner(store, "b", []);
    expect(await claimAll(store, other.session, [busy("w")])).toEqual([]);
    await store.endSession({ session: other.session });
    expect(await drain(made, 2, busy("v"))).toEqual([]);
  });

  it("gives a kept worker nothing that it does not offer any more", async () => {
    const made = await world();
    const { store, owner } = made;
    const resources = { cpuMillis: 4000, memoryBytes: GIB, gpu: 0, storageBytes: 0 };
    const large = jobOf("x", "large", { requirement: { resources, label: "gpu" } });
    await commit(store, owner, "x", { enqueue: [large, ...many("small", 9)] });
    await pass(made, AGEING_MS);
    const able = slotOf("w", { offer: { labels: ["gpu"] }, free: { slots: 1, cpuMillis: 1000 } });
    expect(await drain(made, 1, able)).toEqual([]);
    expect(await drain(made, 1, slotOf("w", { free: { slots: 1 } }))).toEqual(["small"]);
  });
}

function waking(world: MakeWorld): void {
  it("tells at a renewal of work for a worker whose kind has not asked for long, however many kinds there are", async () => {
    const { store, owner } = await world();
    const rare = slotOf("w", { offer: { labels: ["rare"] } });
    expect(await claimAll(store, owner.session, [rare])).toEqual([]);
    for (let at = 0; at < 1100; at += 1) {
      await claimAll(store, owner.session, [slotOf(`v${at}`, { offer: { labels: [`kind-${at}`] } })]);
    }
    const renew = (): ReturnType<Store["renewSession"]> => store.renewSession({ session: owner.session });
    expect(await renew()).toMatchObject({ work: false });
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s", { requirement: { label: "rare" } })] });
    expect(await renew()).toMatchObject({ work: true });
  });

  it("serves the caller's own workers first and then wakes one parked session", async () => {
    const { store, clock, owner } = await world();
    const [b, c] = [await openOwner(store, "b", []), await openOwner(store, "c", [])];
    const hints = [listen(store, b.session), listen(store, c.session)];
    await claimAll(store, b.session, [slotOf("vb")]);
    await claimAll(store, c.session, [slotOf("vc")]);
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s")], claimFor: [slotOf("w")] });
    await settle(clock);
    expect(hints).toEqual([[], []]);
    await commit(store, owner, "x", { expectedRevision: 1, enqueue: [jobOf("x", "t")] });
    await settle(clock);
    expect(hints).toEqual([[{ kind: "work" }], []]);
    await commit(store, owner, "x", { expectedRevision: 2, enqueue: [jobOf("x", "u")] });
    await settle(clock);
    expect(hints).toEqual([[{ kind: "work" }], [{ kind: "work" }]]);
  });

  it("wakes nobody whose workers cannot run the job", async () => {
    const { store, clock, owner } = await world();
    const hints = listen(store, owner.session);
    await claimAll(store, owner.session, [slotOf("w")]);
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s", { requirement: { label: "gpu" } })] });
    await settle(clock);
    expect(hints).toEqual([]);
    expect((await renew(store, owner.session)).work).toBe(false);
  });

  it("says in the renewal that work waits, in case the hint was lost", async () => {
    const { store, owner } = await world();
    await claimAll(store, owner.session, [slotOf("w")]);
    expect((await renew(store, owner.session)).work).toBe(false);
    await commit(store, owner, "x", { enqueue: [jobOf("x", "s")] });
    expect((await renew(store, owner.session)).work).toBe(true);
    await claimAll(store, owner.session, [slotOf("w")]);
    expect((await renew(store, owner.session)).work).toBe(false);
  });

  it("wakes a parked session when a paused execution goes on", async () => {
    const { store, clock, owner } = await world();
    await commit(store, owner, "x", { head: { gate: "paused" }, enqueue: [jobOf("x", "s")] });
    const hints = listen(store, owner.session);
    await claimAll(store, owner.session, [slotOf("w")]);
    await commit(store, owner, "x", { expectedRevision: 1 });
    await settle(clock);
    expect(hints).toEqual([{ kind: "work" }]);
  });

  it("hints that an execution, its logs and the registry changed, until the watch is stopped", async () => {
    const { store, clock, owner } = await world();
    const seen: string[] = [];
    const stop = store.watch({ kind: "execution", namespace: "default", id: "x" }, ({ kind }) => seen.push(kind));
    store.watch({ kind: "logs", namespace: "default", executionId: "x" }, () => seen.push("logs"));
    store.watch({ kind: "registry", namespace: "default" }, () => seen.push("registry"));
    const [given] = await commit(store, owner, "x", { enqueue: [jobOf("x", "s")], claimFor: [slotOf("w")] });
    await settle(clock);
    expect(seen).toEqual(["changed"]);
    const { job, token } = present(given);
    await store.logs.append({ session: owner.session, jobId: job.id, token, offset: 0, data: bytes("a"), dropped: 0 });
    await store.registry.write({ opId: op(), namespace: "default", expectedRevision: 0 });
    await settle(clock);
    expect(seen).toEqual(["changed", "logs", "registry"]);
    stop();
    await commit(store, owner, "x", { expectedRevision: 1 });
    await settle(clock);
    expect(seen).toEqual(["changed", "logs", "registry"]);
  });

  it("hints at the end of an execution to those who wait for that alone, again after a retry", async () => {
    const { store, clock, owner } = await world();
    const seen: string[] = [];
    const stop = store.watch({ kind: "end", namespace: "default", id: "x" }, ({ kind }) => seen.push(kind));
    const ended = { state: "failed", endedAtMs: 2000 } as const;
    await commit(store, owner, "x");
    await commit(store, owner, "y", { head: ended });
    await settle(clock);
    expect(seen).toEqual([]);
    await commit(store, owner, "x", { expectedRevision: 1, head: ended });
    await settle(clock);
    expect(seen).toEqual(["changed"]);
    expect((await store.readExecution({ namespace: "default", id: "x" }))?.status).toBe("OK");
    await commit(store, owner, "x", { expectedRevision: 2 });
    await settle(clock);
    expect(seen).toEqual(["changed"]);
    await commit(store, owner, "x", { expectedRevision: 3, head: ended });
    await settle(clock);
    expect(seen).toEqual(["changed", "changed"]);
    stop();
  });
}

function workspaces(world: MakeWorld): void {
  const workspace = "uid-x/ws";
  const stage = (step: string, over: Parameters<typeof jobOf>[2] = {}) => jobOf("x", step, { workspace, ...over });
  /** Stage a has run on worker w of engine a, which holds the workspace. */
  const used = async (): Promise<World> => {
    const made = await world();
    const [given] = await commit(made.store, made.owner, "x", { enqueue: [stage("a")], claimFor: [slotOf("w")] });
    const { job, token } = present(given);
    await commit(made.store, made.owner, "x", { expectedRevision: 1, settle: [{ jobId: job.id, token }] });
    return made;
  };
  const full = (worker: string): WorkerSlot => slotOf(worker, { free: { slots: 0, cpuMillis: 0 } });

  it("binds to the worker of the first job and gives the others to it alone, without a free slot", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [stage("a"), stage("b")] });
    expect((await claimOne(store, owner.session, slotOf("w")))?.job.step).toBe("a");
    await commit(store, owner, "x", { expectedRevision: 1, enqueue: [stage("c")] });
    expect(await claimOne(store, owner.session, slotOf("v"))).toBeUndefined();
    expect(await store.demand({})).toEqual([]);
    expect((await renew(store, owner.session)).work).toBe(true);
    expect(stepsOf(await claimAll(store, owner.session, [full("w")]))).toEqual(["b", "c"]);
  });

  it("gives its worker no job that asks for what that worker does not offer", async () => {
    const { store, owner } = await used();
    const picky = stage("picky", { requirement: { label: "gpu" } });
    await commit(store, owner, "x", { expectedRevision: 2, enqueue: [picky, stage("b")] });
    expect(stepsOf(await claimAll(store, owner.session, [slotOf("w")]))).toEqual(["b"]);
    expect(await claimOne(store, owner.session, slotOf("v", { offer: { labels: ["gpu"] } }))).toBeUndefined();
    const better = slotOf("w", { offer: { labels: ["linux", "gpu"] } });
    expect(stepsOf(await claimAll(store, owner.session, [better]))).toEqual(["picky"]);
  });

  it("wakes the session of the worker that holds it", async () => {
    const { store, clock, owner } = await used();
    const hints = listen(store, owner.session);
    await commit(store, owner, "x", { expectedRevision: 2, enqueue: [stage("b")] });
    await settle(clock);
    expect(hints).toEqual([{ kind: "work" }]);
  });

  it("is released by the owner, or by the end of the execution, and its holder is told", async () => {
    const { store, clock, owner } = await used();
    const hints = listen(store, owner.session);
    await commit(store, owner, "x", { expectedRevision: 2, releaseWorkspaces: [workspace] });
    await settle(clock);
    expect(hints).toEqual([{ kind: "workspaceReleased", workspace, worker: "w" }]);
    await commit(store, owner, "x", { expectedRevision: 3, enqueue: [stage("b")], claimFor: [slotOf("v")] });
    await commit(store, owner, "x", { expectedRevision: 4, head: { state: "succeeded", endedAtMs: 1 } });
    await settle(clock);
    expect(hints).toContainEqual({ kind: "workspaceReleased", workspace, worker: "v" });
  });

  it("is lost with its worker once work was done in it: waiting and later jobs end as lost, naming it", async () => {
    const { store, owner } = await used();
    await commit(store, owner, "x", { expectedRevision: 2, enqueue: [stage("b"), stage("c")] });
    const [given] = await claimAll(store, owner.session, [full("w")]);
    await commit(store, owner, "x", { expectedRevision: 3, enqueue: [stage("d")] });
    const lost = { kind: "lost" as const, reason: "gone", spends: false as const };
    await store.reportAndClaim(reportOf(owner.session, present(given), { outcome: lost }));
    await commit(store, owner, "x", { expectedRevision: 4, enqueue: [stage("e")] });
    const entries = await inboxOf(store, owner);
    const found = entries.map(({ job, outcome }) => ({ step: job.step, ...outcome }));
    expect(found.find(({ step }) => step === "b")).toEqual({ step: "b", ...lost, workspace });
    expect(found.find(({ step }) => step === "d")).toMatchObject({ kind: "lost", workspace, spends: false });
    expect(found.find(({ step }) => step === "e")).toMatchObject({ kind: "lost", workspace, spends: false });
    const take = entries.map(({ entry }) => entry);
    await commit(store, owner, "x", { expectedRevision: 5, take, releaseWorkspaces: [workspace] });
    const [again] = await commit(store, owner, "x", {
      expectedRevision: 6,
      enqueue: [stage("b", { attempt: 2 })],
      claimFor: [slotOf("v")],
    });
    expect(again?.worker).toBe("v");
  });

  it("stays with its worker when a job of another workspace is lost there", async () => {
    const { store, owner } = await used();
    const other = stage("o", { workspace: "uid-x/other" });
    const over = { expectedRevision: 2, enqueue: [other], claimFor: [slotOf("w")] };
    const [given] = await commit(store, owner, "x", over);
    const outcome = { kind: "lost" as const, reason: "not accepted" };
    await store.reportAndClaim(reportOf(owner.session, present(given), { outcome }));
    await commit(store, owner, "x", { expectedRevision: 3, enqueue: [stage("b")] });
    expect(stepsOf(await claimAll(store, owner.session, [full("w")]))).toEqual(["b"]);
  });

  it("is lost when its session says that the worker is gone", async () => {
    const { store, owner } = await used();
    await claimAll(store, owner.session, [], ["w"]);
    await commit(store, owner, "x", { expectedRevision: 2, enqueue: [stage("b")] });
    expect(await inboxOf(store, owner)).toMatchObject([{ job: { step: "b" }, outcome: { kind: "lost", workspace } }]);
  });

  it("goes to another worker when its first job was lost or rejected before anything ran in it", async () => {
    for (const outcome of [
      { kind: "lost" as const, reason: "gone" },
      { kind: "rejected" as const, reason: "full" },
    ]) {
      const { store, owner } = await world();
      await commit(store, owner, "x", { enqueue: [stage("a"), stage("b")] });
      const given = present(await claimOne(store, owner.session, slotOf("w")));
      await store.reportAndClaim(reportOf(owner.session, given, { outcome }));
      expect((await inboxOf(store, owner))[0]?.outcome).toEqual(outcome);
      expect((await claimOne(store, owner.session, slotOf("v")))?.job.step).toBe("b");
    }
  });

  it("follows its worker to the session that adopts it, and is lost when none does in time", async () => {
    const { store, clock, owner } = await used();
    const other = await openOwner(store, "b", []);
    await store.endSession({ session: owner.session });
    expect(await store.adopt({ opId: op(), session: other.session, worker: "w", jobs: [] })).toEqual({
      adopted: [],
      stale: [],
    });
    const next = await openOwner(store, "a", [0]);
    await clock.advance(1);
    await commit(store, next, "x", { expectedRevision: 2, enqueue: [stage("b")] });
    expect((await renew(store, other.session)).work).toBe(true);
    await store.endSession({ session: other.session });
    for (let waited = 0; waited <= ADOPTION_MS; waited += 5000) {
      await clock.advance(5000);
      await renew(store, next.session);
    }
    expect(await inboxOf(store, next)).toMatchObject([{ job: { step: "b" }, outcome: { kind: "lost", workspace } }]);
  });
}

function adoption(world: MakeWorld): void {
  const running = async (): Promise<World & { given: Assignment; other: Owner }> => {
    const made = await world();
    const other = await openOwner(made.store, "b", [3]);
    await commit(made.store, made.owner, "x", { enqueue: [jobOf("x", "s")] });
    const given = present(await claimOne(made.store, other.session, slotOf("w")));
    return { ...made, other, given };
  };
  it("moves a running job to the session where its worker has come back", async () => {
    const { store, owner, other, given } = await running();
    const jobs = [{ jobId: given.job.id, token: given.token }];
    await store.endSession({ session: other.session });
    const request = { opId: op(), session: owner.session, worker: "w", jobs };
    const answer = { adopted: [given.token], stale: [] };
    expect(await store.adopt(request)).toEqual(answer);
    expect(await store.adopt(request)).toEqual(answer);
    const lost = { kind: "lost" as const, reason: "gone" };
    expect(await store.reportAndClaim(reportOf(owner.session, given, { outcome: lost }))).toMatchObject({
      status: "OK",
    });
  });

  it("answers tokens that are unknown, revoked or have an outcome as stale", async () => {
    const { store, owner, given } = await running();
    const adopt = (token: string) =>
      store.adopt({ opId: op(), session: owner.session, worker: "w", jobs: [{ jobId: given.job.id, token }] });
    expect(await adopt("0")).toMatchObject({ adopted: [], stale: ["0"] });
    await store.reportAndClaim(reportOf(owner.session, given));
    expect(await adopt(given.token)).toEqual({ adopted: [], stale: [given.token] });
  });

  it("tells two tokens of one job apart: a store that lost its tail gives the job to its worker once more", async () => {
    const { store, owner, other, given } = await running();
    await store.endSession({ session: other.session });
    const jobs = ["0", given.token].map((token) => ({ jobId: given.job.id, token }));
    const adopt = store.adopt({ opId: op(), session: owner.session, worker: "w", jobs });
    expect(await adopt).toEqual({ adopted: [given.token], stale: ["0"] });
  });

  it("hands over a claim whose job the worker lists under another token alone: it never got this one", async () => {
    const { store, owner, other, given } = await running();
    await store.endSession({ session: other.session });
    const jobs = [{ jobId: given.job.id, token: "0" }];
    const answer = await store.adopt({ opId: op(), session: owner.session, worker: "w", jobs });
    expect(answer).toEqual({ adopted: [], stale: ["0"], missing: [{ jobId: given.job.id, token: given.token }] });
  });

  it("tells the adopting session of a cancel that came before", async () => {
    const { store, clock, owner, other, given } = await running();
    await commit(store, owner, "x", { expectedRevision: 1, cancel: [given.job.id] });
    await store.endSession({ session: other.session });
    const hints = listen(store, owner.session);
    const jobs = [{ jobId: given.job.id, token: given.token }];
    await store.adopt({ opId: op(), session: owner.session, worker: "w", jobs });
    await settle(clock);
    expect(hints).toMatchObject([{ kind: "cancel", token: given.token }]);
    expect((await renew(store, owner.session)).revoked).toEqual(jobs);
  });

  it("names a job as abandoned to its owner only when its session has ended ADOPTION_MS ago", async () => {
    const made = await running();
    const { store, owner, other, given } = made;
    await store.endSession({ session: other.session });
    await pass(made, ADOPTION_MS - 1);
    expect((await renew(store, owner.session)).abandoned).toEqual([]);
    const lost = { kind: "lost" as const, reason: "gone" };
    const report = (): ReturnType<Store["reportAndClaim"]> =>
      store.reportAndClaim(reportOf(owner.session, given, { outcome: lost }));
    expect(await report()).toMatchObject({ status: "STALE" });
    await pass(made, 1);
    expect((await renew(store, owner.session)).abandoned).toEqual([{ jobId: given.job.id, token: given.token }]);
    expect(await report()).toMatchObject({ status: "OK" });
    expect((await renew(store, owner.session)).abandoned).toEqual([]);
    expect(await inboxOf(store, owner)).toMatchObject([{ outcome: lost, facts: { worker: "w" } }]);
  });

  it("takes an abandoned job's result, and its adoption, until the owner reports it lost", async () => {
    const made = await running();
    const { store, owner, other, given } = made;
    await store.endSession({ session: other.session });
    await pass(made, ADOPTION_MS + 1000);
    const jobs = [{ jobId: given.job.id, token: given.token }];
    expect(await store.adopt({ opId: op(), session: owner.session, worker: "w", jobs })).toMatchObject({ stale: [] });
    expect((await renew(store, owner.session)).abandoned).toEqual([]);
  });
}

function reads(world: MakeWorld): void {
  it("loads the open executions of a shard in pages, with timers and outbox", async () => {
    const { store, owner } = await world();
    const timers = [{ id: "t", atMs: 5 }];
    for (const id of ["c", "a", "b"]) await commit(store, owner, id, { timers });
    await commit(store, owner, "done", { head: { state: "succeeded", endedAtMs: 1 } });
    await commit(store, owner, "elsewhere", { head: { shard: 1 } });
    const first = await store.loadShard({ fence: fenceOf(owner), limit: 2 });
    if (first.status === "FENCED") throw new Error("fenced");
    expect(first.executions.map(({ head }) => head.id)).toEqual(["a", "b"]);
    expect(first.executions[0]).toMatchObject({ timers, outbox: [] });
    const second = await store.loadShard({ fence: fenceOf(owner), limit: 2, cursor: present(first.cursor) });
    expect(second).toMatchObject({ executions: [{ head: { id: "c" } }] });
    expect(second).not.toHaveProperty("cursor");
  });

  it("answers undefined for an execution that is not there", async () => {
    const { store } = await world();
    expect(await store.readExecution({ namespace: "default", id: "no" })).toBeUndefined();
    expect(await store.readHistory({ namespace: "default", id: "no", afterRevision: 0, limit: 1 })).toBeUndefined();
  });

  const listed = async (): Promise<World> => {
    const made = await world();
    const heads: (Partial<ExecutionHead> & { id: string })[] = [
      { id: "a", startedAtMs: 1, labels: { team: "x", env: "p" }, workflow: "w1" },
      { id: "b", startedAtMs: 2, gate: "paused", labels: { team: "x" }, uses: ["lib@1.0.0"] },
      { id: "c", startedAtMs: 2, gate: "cancelled" },
      { id: "d", startedAtMs: 3, state: "succeeded", endedAtMs: 9, labels: { team: "y" } },
      { id: "e", startedAtMs: 4, state: "failed", endedAtMs: 9, gate: "paused", uses: ["lib@1.0.0"] },
      {
        id: "f",
        startedAtMs: 5,
        parent: { executionId: "a", uid: "uid-a", step: "s", iteration: "0", depth: 1 },
        labels: { 'we"ird': "yes" },
      },
      { id: "g", startedAtMs: 6, namespace: "other" },
    ];
    for (const head of heads) await commit(made.store, made.owner, head.id, { head });
    return made;
  };
  const ids = async (store: Store, filter: Partial<Parameters<Store["listExecutions"]>[0]>): Promise<string> => {
    const { executions } = await store.listExecutions({ namespace: "default", limit: 100, ...filter });
    return executions.map(({ id }) => id).join("");
  };

  it("lists executions of a namespace, newest start first", async () => {
    const { store } = await listed();
    expect(await ids(store, {})).toBe("fedcba");
    expect(await ids(store, { namespace: "other" })).toBe("g");
    expect(await ids(store, { namespace: "none" })).toBe("");
  });

  it("filters by state, workflow, labels, time, what they use and parent", async () => {
    const { store } = await listed();
    expect(await ids(store, { states: ["running"] })).toBe("fa");
    expect(await ids(store, { states: ["paused", "cancelling"] })).toBe("cb");
    expect(await ids(store, { states: ["failed", "succeeded"] })).toBe("ed");
    expect(await ids(store, { states: [] })).toBe("");
    expect(await ids(store, { workflow: "w1" })).toBe("a");
    expect(await ids(store, { labels: { team: "x" } })).toBe("ba");
    expect(await ids(store, { labels: { team: "x", env: "p" } })).toBe("a");
    expect(await ids(store, { labels: { 'we"ird': "yes" } })).toBe("f");
    expect(await ids(store, { labels: { toString: "x" } })).toBe("");
    expect(await ids(store, { startedAfterMs: 2, startedBeforeMs: 5 })).toBe("ed");
    expect(await ids(store, { uses: "lib@1.0.0" })).toBe("eb");
    expect(await ids(store, { parent: "a" })).toBe("f");
  });

  it("pages without gaps or repeats while newer executions arrive", async () => {
    const { store, owner } = await listed();
    const seen: string[] = [];
    let page: string | undefined;
    do {
      const answer = await store.listExecutions({
        namespace: "default",
        limit: 2,
        ...(page === undefined ? {} : { page }),
      });
      seen.push(...answer.executions.map(({ id }) => id));
      page = answer.nextPage;
      await commit(store, owner, `new${seen.length}`, { head: { startedAtMs: 100 } });
    } while (page !== undefined);
    expect(seen).toEqual(["f", "e", "d", "c", "b", "a"]);
  });

  it("expires finished executions whose end is older, with history, at most the limit", async () => {
    const { store, owner } = await world();
    for (const [at, id] of ["a", "b", "c"].entries()) {
      await commit(store, owner, id, { events: ["1"], head: { state: "succeeded", endedAtMs: 100 + at } });
    }
    await store.registry.nextRunNumber({ opId: op(), namespace: "default", name: "tree/uid-a" });
    await commit(store, owner, "open");
    await commit(store, owner, "elsewhere", { head: { shard: 1, state: "succeeded", endedAtMs: 100 } });
    const expire = (limit: number) => store.expire({ fence: fenceOf(owner), endedBeforeMs: 102, limit });
    expect(await expire(1)).toEqual({ expired: 1 });
    expect(await expire(9)).toEqual({ expired: 1 });
    expect(await expire(9)).toEqual({ expired: 0 });
    const { executions } = await store.listExecutions({ namespace: "default", limit: 9 });
    expect(executions.map(({ id }) => id).sort()).toEqual(["c", "elsewhere", "open"]);
    expect(await store.readHistory({ namespace: "default", id: "a", afterRevision: 0, limit: 9 })).toBeUndefined();
    await commit(store, owner, "a", { events: ["again"] });
    const tree = { opId: op(), namespace: "default", name: "tree/uid-a" };
    expect(await store.registry.nextRunNumber(tree)).toBe(1);
    expect(await store.readExecution({ namespace: "default", id: "a" })).toMatchObject({ events: ["again"] });
  });

  it("lists open jobs by namespace, execution and id, oldest first", async () => {
    const { store, owner } = await world();
    await commit(store, owner, "x", { enqueue: [jobOf("x", "b"), jobOf("x", "a")] });
    await commit(store, owner, "y", { enqueue: [jobOf("y", "a")] });
    const found = async (filter: object): Promise<string[]> =>
      (await store.jobs({ limit: 9, ...filter })).map(({ job }) => job.executionId + job.step);
    expect(await found({})).toEqual(["xb", "xa", "ya"]);
    expect(await found({ namespace: "default", executionId: "x" })).toEqual(["xb", "xa"]);
    expect(await found({ jobId: jobOf("y", "a").id })).toEqual(["ya"]);
    expect(await found({ namespace: "other" })).toEqual([]);
    expect(await found({ limit: 1 })).toEqual(["xb"]);
  });
}

function registry(world: MakeWorld): void {
  const definition = (version: string, over = {}) => ({
    name: "greet",
    version,
    digest: `sha256:${version}`,
    publishedAtMs: 1,
    dependencies: { lib: ["^1"] },
    body: `{"v":"${version}"}`,
    ...over,
  });
  const namespace = "default";

  it("publishes by compare-and-set and answers bodies by digest", async () => {
    const { store } = await world();
    const first = { opId: op(), namespace, expectedRevision: 0, put: definition("1.0.0") };
    expect(await store.registry.write(first)).toEqual({ status: "OK", revision: 1 });
    expect(await store.registry.write(first)).toEqual({ status: "DUPLICATE", revision: 1 });
    const late = { opId: op(), namespace, expectedRevision: 0, put: definition("1.1.0") };
    expect(await store.registry.write(late)).toEqual({ status: "CONFLICT", revision: 1 });
    const { body, ...record } = definition("1.0.0");
    expect(await store.registry.read(namespace)).toEqual({ revision: 1, definitions: [record], channels: {} });
    expect(await store.registry.body({ namespace, digest: "sha256:1.0.0" })).toBe(body);
    expect(await store.registry.body({ namespace: "other", digest: "sha256:1.0.0" })).toBeUndefined();
  });

  it("refuses a published version with another digest", async () => {
    const { store } = await world();
    await store.registry.write({ opId: op(), namespace, expectedRevision: 0, put: definition("1.0.0") });
    const put = definition("1.0.0", { digest: "sha256:other" });
    expect(await refusal(store.registry.write({ opId: op(), namespace, expectedRevision: 1, put }))).toBe(
      "ALREADY_EXISTS",
    );
  });

  it("moves channels of the workflows it names, and removes a version with its body", async () => {
    const { store } = await world();
    const write = (expectedRevision: number, over: object) =>
      store.registry.write({ opId: op(), namespace, expectedRevision, ...over });
    await write(0, { put: definition("1.0.0"), channels: { greet: { stable: "1.0.0" } } });
    await write(1, { channels: { other: { latest: "2.0.0" } } });
    expect((await store.registry.read(namespace)).channels).toEqual({
      greet: { stable: "1.0.0" },
      other: { latest: "2.0.0" },
    });
    await write(2, { remove: { name: "greet", version: "1.0.0" }, channels: { greet: {} } });
    expect(await store.registry.read(namespace)).toEqual({
      revision: 3,
      definitions: [],
      channels: { other: { latest: "2.0.0" } },
    });
    expect(await store.registry.body({ namespace, digest: "sha256:1.0.0" })).toBeUndefined();
  });

  it("counts runs per workflow from 1, once per operation", async () => {
    const { store } = await world();
    const opId = op();
    const next = (name: string, id = op()): Promise<number> =>
      store.registry.nextRunNumber({ opId: id, namespace, name });
    expect(await next("greet", opId)).toBe(1);
    expect(await next("greet", opId)).toBe(1);
    expect(await next("greet")).toBe(2);
    expect(await next("other")).toBe(1);
  });
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

function logs(world: MakeWorld): void {
  const running = async () => {
    const made = await world();
    const [given] = await commit(made.store, made.owner, "x", { enqueue: [jobOf("x", "s")], claimFor: [slotOf("w")] });
    const { job, token } = present(given);
    const append = (offset: number, data: Uint8Array, dropped = 0) =>
      made.store.logs.append({ session: made.owner.session, jobId: job.id, token, offset, data, dropped });
    const read = async (over = {}) =>
      made.store.logs.read({ namespace: "default", executionId: "x", limitBytes: 1 << 20, ...over });
    return { ...made, job, token, append, read };
  };

  it("appends at offsets, ignores repeats and cuts overlaps", async () => {
    const { append, read } = await running();
    expect(await append(0, bytes("hello"))).toEqual({ status: "OK", heldTo: 5 });
    expect(await append(0, bytes("hello"))).toEqual({ status: "OK", heldTo: 5 });
    expect(await append(3, bytes("lo world"))).toEqual({ status: "OK", heldTo: 11 });
    const { chunks, more } = await read();
    expect(chunks.map(({ data }) => text(data)).join("")).toBe("hello world");
    expect(chunks[0]).toMatchObject({ step: "s", iteration: "0", attempt: 1, offset: 0, dropped: 0 });
    expect(more).toBe(false);
  });

  it("marks a hole with the bytes that are missing", async () => {
    const { append, read } = await running();
    await append(0, bytes("ab"));
    expect(await append(10, bytes("cd"), 8)).toEqual({ status: "OK", heldTo: 12 });
    expect((await read()).chunks[1]).toMatchObject({ offset: 10, dropped: 8 });
    expect(await append(20, bytes(""), 8)).toEqual({ status: "OK", heldTo: 20 });
    expect((await read()).chunks[2]).toMatchObject({ offset: 20, dropped: 8, data: bytes("") });
  });

  it("holds an attempt's log to its bound and then counts what is dropped in one mark", async () => {
    const { append, read } = await running();
    const chunk = new Uint8Array(LOG_BOUNDS.chunkBytes).fill(120);
    const full = LOG_BOUNDS.attemptBytes / LOG_BOUNDS.chunkBytes;
    for (let at = 0; at < full + 2; at += 1) await append(at * chunk.length, chunk);
    const { chunks } = await read({ limitBytes: 1 << 30 });
    expect(chunks).toHaveLength(full + 1);
    expect(chunks.at(-1)).toMatchObject({ dropped: 2 * chunk.length, offset: (full + 2) * chunk.length });
    expect(await refusal(append(0, new Uint8Array(LOG_BOUNDS.chunkBytes + 1)))).toBe("TOO_LARGE");
  });

  it("pages by cursor in arrival order, by step, with at least one chunk", async () => {
    const { append, read } = await running();
    for (const [at, part] of ["aa", "bb", "cc"].entries()) await append(at * 2, bytes(part));
    const first = await read({ limitBytes: 4 });
    expect(first.chunks.map(({ data }) => text(data))).toEqual(["aa", "bb"]);
    expect(first.more).toBe(true);
    const second = await read({ after: first.next, limitBytes: 1 });
    expect(second.chunks.map(({ data }) => text(data))).toEqual(["cc"]);
    expect(second.more).toBe(false);
    expect((await read({ after: second.next })).next).toBe(second.next);
    expect((await read({ step: "other" })).chunks).toEqual([]);
    expect((await read({ executionId: "no" })).chunks).toEqual([]);
  });

  it("takes the last of a log after the result is folded, and nothing under an unknown token", async () => {
    const { store, owner, append, read, job, token } = await running();
    await append(0, bytes("a"));
    await commit(store, owner, "x", { expectedRevision: 1, settle: [{ jobId: job.id, token }] });
    expect(await append(1, bytes("b"))).toEqual({ status: "OK", heldTo: 2 });
    expect((await read()).chunks).toHaveLength(2);
    const stale = { session: owner.session, jobId: job.id, token: "0", offset: 2, data: bytes("c"), dropped: 0 };
    expect(await store.logs.append(stale)).toEqual({ status: "STALE", heldTo: 0 });
  });

  it("go with the execution when it expires", async () => {
    const { store, owner, append, read } = await running();
    await append(0, bytes("a"));
    await commit(store, owner, "x", { expectedRevision: 1, head: { state: "failed", endedAtMs: 5 } });
    await store.expire({ fence: fenceOf(owner), endedBeforeMs: 6, limit: 9 });
    expect((await read()).chunks).toEqual([]);
  });
}

function workerRequests(world: MakeWorld): void {
  const want = (id: string, over = {}) => ({
    id,
    engine: "a",
    namespace: "default",
    template: "t",
    pool: "p",
    ...over,
  });

  it("reserves no more places of a pool than its maximum, whoever asks", async () => {
    const { store, owner } = await world();
    const other = await openOwner(store, "b", []);
    const reserve = async (session: string, id: string, over = {}): Promise<string> =>
      (await store.workerRequests.reserve({ opId: op(), session, want: want(id, over), maximum: 2 })).status;
    const asked = [owner.session, other.session, owner.session].map((session, at) => reserve(session, `r${at}`));
    expect(await Promise.all(asked)).toEqual(["OK", "OK", "FULL"]);
    expect(await reserve(owner.session, "r0")).toBe("DUPLICATE");
    expect(await reserve(owner.session, "q", { pool: "q" })).toBe("OK");
    await store.workerRequests.update({ session: owner.session, id: "r0", state: "gone", reason: "idle" });
    expect(await reserve(other.session, "r3")).toBe("OK");
  });

  it("keeps what became of a request, and lists by engine and openness", async () => {
    const { store, owner } = await world();
    const { session } = owner;
    await store.workerRequests.reserve({ opId: op(), session, want: want("r"), maximum: 9 });
    await store.workerRequests.reserve({ opId: op(), session, want: want("s", { engine: "b" }), maximum: 9 });
    const launched = { session, id: "r", state: "launched" as const, platformId: "pod-1" };
    expect(await store.workerRequests.update(launched)).toEqual({ status: "OK" });
    expect(await store.workerRequests.update({ session, id: "r", state: "gone", reason: "done" })).toEqual({
      status: "OK",
    });
    expect(await store.workerRequests.update({ session, id: "?", state: "gone" })).toEqual({ status: "UNKNOWN" });
    expect(await store.workerRequests.list({ engine: "a" })).toMatchObject([
      { id: "r", state: "gone", platformId: "pod-1", reason: "done" },
    ]);
    expect((await store.workerRequests.list({ open: true })).map(({ id }) => id)).toEqual(["s"]);
  });
}

function durability(world: MakeWorld): void {
  it("finds everything again after a crash", async () => {
    const { store, owner, clock, reopen } = await world();
    const { replicationId } = await store.open({ shards: SHARDS });
    const claimFor = [slotOf("w", { free: { slots: 2 } })];
    const steps = ["queued", "claimed", "settled"].map((step, at) =>
      jobOf("x", step, { workspace: `uid-x/${step}`, priority: at === 0 ? "low" : "high" }),
    );
    const timers = [{ id: "t", atMs: 5 }];
    const outbox = [{ id: "o", target: "y", namespace: "default", text: "m" }];
    const create = turnOf(owner, "x", {
      events: ["1"],
      snapshot: "S",
      definitions: { d: "{}" },
      enqueue: steps,
      timers,
      outbox,
      claimFor,
    });
    const answer = await store.turn(create);
    if (answer.status !== "OK") throw new Error("not committed");
    const [claimed, reported] = answer.assignments;
    const { job, token } = present(claimed);
    await store.logs.append({
      session: owner.session,
      jobId: job.id,
      token,
      offset: 0,
      data: bytes("log"),
      dropped: 0,
    });
    await store.reportAndClaim(reportOf(owner.session, present(reported)));
    await commit(store, owner, "done", { events: ["1"], head: { state: "succeeded", endedAtMs: 1 } });
    const put = { name: "g", version: "1.0.0", digest: "d", publishedAtMs: 1, dependencies: {}, body: "{}" };
    await store.registry.write({ opId: op(), namespace: "default", expectedRevision: 0, put });
    await store.registry.nextRunNumber({ opId: op(), namespace: "default", name: "g" });
    const before = {
      jobs: await store.jobs({ limit: 9 }),
      list: await store.listExecutions({ namespace: "default", limit: 9 }),
    };

    const again = await present(reopen)();
    expect(await refusal(again.open({ shards: SHARDS + 1 }))).toBe("INVALID_ARGUMENT");
    expect((await again.open({ shards: SHARDS })).replicationId).toBe(replicationId);
    expect(await again.listExecutions({ namespace: "default", limit: 9 })).toEqual(before.list);
    expect(await again.jobs({ limit: 9 })).toMatchObject(
      before.jobs.map(({ job: { id }, state }) => ({ job: { id }, state })),
    );
    expect(await again.turn(create)).toEqual({ status: "FENCED" });
    const next = await openOwner(again, "a", [0]);
    expect(fenceOf(next).epoch).toBe(fenceOf(owner).epoch + 1);
    expect(await again.loadShard({ fence: fenceOf(next), limit: 9 })).toMatchObject({
      executions: [{ timers, outbox }],
    });
    const record = await again.readExecution({ namespace: "default", id: "x", fence: fenceOf(next) });
    expect(record).toMatchObject({ snapshot: { text: "S", revision: 1 }, events: [], definitions: { d: "{}" } });
    expect(await inboxOf(again, next)).toMatchObject([{ token: present(reported).token }]);
    expect(await again.logs.read({ namespace: "default", executionId: "x", limitBytes: 9 })).toMatchObject({
      chunks: [{ data: bytes("log") }],
    });
    expect(await again.registry.read("default")).toMatchObject({ revision: 1, definitions: [{ name: "g" }] });
    expect(await again.registry.nextRunNumber({ opId: op(), namespace: "default", name: "g" })).toBe(2);

    await clock.advance(1);
    const jobs = [{ jobId: job.id, token }];
    expect(await again.adopt({ opId: op(), session: next.session, worker: "w", jobs })).toMatchObject({ stale: [] });
    expect(await again.reportAndClaim(reportOf(next.session, { job, token }))).toMatchObject({ status: "OK" });
    expect((await claimOne(again, next.session, slotOf("v")))?.job.step).toBe("queued");
    expect(await again.reportAndClaim(reportOf(next.session, present(reported)))).toMatchObject({
      status: "DUPLICATE",
    });
  });

  it("remembers operations and settled tokens over a crash", async () => {
    const { store, owner, reopen } = await world();
    const [given] = await commit(store, owner, "x", { enqueue: [jobOf("x", "s")], claimFor: [slotOf("w")] });
    const { job, token } = present(given);
    const settled = turnOf(owner, "x", { expectedRevision: 1, settle: [{ jobId: job.id, token }] });
    await store.turn(settled);
    const opId = op();
    const request = { opId, namespace: "default", name: "g" };
    expect(await store.registry.nextRunNumber(request)).toBe(1);
    const again = await present(reopen)();
    const next = await openOwner(again, "a", [0]);
    expect(await again.registry.nextRunNumber(request)).toBe(1);
    expect(await again.turn({ ...settled, fence: fenceOf(next) })).toMatchObject({ status: "DUPLICATE", revision: 2 });
    expect(await again.reportAndClaim(reportOf(next.session, { job, token }))).toMatchObject({ status: "DUPLICATE" });
  });
}

function likeTheModel(open: OpenStore): void {
  /** What ends with the process in a durable store, for one that cannot be opened again. */
  const endAll = async (store: Store): Promise<Store> => {
    for (const { session } of await store.sessions()) await store.endSession({ session });
    return store;
  };

  it("gives the answers of the model, whatever is asked of both", async () => {
    await fc.assert(
      fc.asyncProperty(commands, async (history) => {
        const clock = new ManualClock();
        const { store, reopen } = await open({ clock, random: seededRandom(1) });
        const crash = reopen ?? (() => endAll(store));
        const modelClock = new ManualClock();
        const model = createMemoryStore({ clock: modelClock, random: seededRandom(2) });
        const subject = { store, clock, crash };
        const answers = await traceOf(subject, history);
        await subject.store.close();
        const expected = await traceOf({ store: model, clock: modelClock, crash: () => endAll(model) }, history);
        expect(answers).toEqual(expected);
      }),
      { numRuns: 15 },
    );
    // 15 stores, some opened again several times: thousands of syncs, each 0.2 ms on a quiet disk and 5 on a busy one.
  }, 90_000);
}
