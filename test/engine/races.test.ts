import { afterEach, describe, expect, it } from "vitest";
import { type Clock, ManualClock, systemClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import type { ClusterEvent } from "../../transport/api/cluster.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { all, Cluster, type Node } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const run = (more: Record<string, unknown> = {}): Record<string, unknown> => ({ run: "true", ...more });

type Around = (call: () => Promise<unknown>) => Promise<unknown>;

/** A store some of whose calls are stopped on their way; the others go through. */
function slowed(
  arounds: Partial<Record<"adopt" | "claim" | "jobs" | "turn", Around>>,
  clock: Clock = systemClock,
): { inner: Store; store: Store } {
  const inner = createMemoryStore({ clock, random: seededRandom(3) });
  const by = new Map<string | symbol, Around>(Object.entries(arounds));
  const store = new Proxy(inner, {
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver);
      const around = by.get(key);
      if (around === undefined || typeof value !== "function") return value;
      return (...args: unknown[]) => around(() => Promise.resolve(Reflect.apply(value, target, args)));
    },
  });
  return { inner, store };
}

/** Resolves when the engine has told of it, be it before this call. */
async function told(node: Node, kind: ClusterEvent["kind"]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const late = systemClock.after(10_000, () => reject(new Error(`no ${kind}`)));
    const stop = node.engine.onEvent((event) => event.kind === kind && found());
    const found = (): void => {
      late.cancel();
      stop();
      resolve();
    };
    if (node.events.some((event) => event.kind === kind)) found();
  });
}

/** How the attempts ended, in order. */
function attempts(events: readonly HistoryEvent[]): string[] {
  return events.flatMap((event) => (event.type === "attemptEnded" ? `#${event.attempt} ${event.outcome.kind}` : []));
}

describe("a worker that has moved to another engine", () => {
  it("is not lost when the first one has not heard of it for 45 s, though that one owns the execution", async () => {
    const clock = new ManualClock();
    cluster = new Cluster({ clock });
    const first = await cluster.engine("e1");
    const second = await cluster.engine("e2");
    await cluster.assign(new Map([[first, all()]]));
    cluster.register("one", { steps: { a: run({ timeout: { run: "1h" } }) } });
    const gate = Promise.withResolvers<void>();
    const worker = await cluster.worker(first, {
      run: async () => {
        await gate.promise;
        return { kind: "succeeded", outputs: {} };
      },
    });
    await cluster.start("x1", "one");
    await worker.until(() => worker.running.size === 1);
    worker.close();
    await worker.connect(second.channel);
    for (let n = 0; n < 12; n++) {
      await clock.advance(5_000);
      await worker.send({ kind: "heartbeat", cpuPercent: 0, memoryBytes: 0, jobs: [] });
    }
    expect(first.events.some((event) => event.kind === "WorkerFailed")).toBe(true);
    gate.resolve();
    await worker.until(() => worker.acked.length === 1);
    await clock.advance(5_000);
    expect(attempts(await cluster.history("x1"))).toEqual(["#1 succeeded"]);
  });
});

describe("an outcome that was accepted while its owner was busy", () => {
  it("is folded before the timeout that waits in front of it", async () => {
    const clock = new ManualClock();
    const held = Promise.withResolvers<void>();
    const committing = Promise.withResolvers<void>();
    let slow = false;
    const turn: Around = async (call) => {
      if (slow) committing.resolve();
      if (slow) await held.promise;
      return await call();
    };
    const { inner, store } = slowed({ turn }, clock);
    cluster = new Cluster({ clock, store: inner });
    const owner = await cluster.engine("e1", { store });
    const other = await cluster.engine("e2");
    await cluster.assign(new Map([[owner, all()]]));
    cluster.register("short", { steps: { a: run({ timeout: { total: "2s" } }), b: { wait: { signal: "go" } } } });
    const gate = Promise.withResolvers<void>();
    const worker = await cluster.worker(other, {
      run: async () => {
        await gate.promise;
        return { kind: "succeeded", outputs: {} };
      },
    });
    await cluster.start("x1", "short");
    await worker.until(() => worker.running.size === 1);
    slow = true;
    const signalled = cluster.deliver("x1", { kind: "signal", id: "s1", name: "go", payload: {}, by: "" });
    await committing.promise;
    await clock.advance(4_000);
    gate.resolve();
    await worker.until(() => worker.acked.length === 1);
    await clock.advance(100);
    slow = false;
    held.resolve();
    await signalled;
    expect(attempts(await cluster.ended("x1"))).toEqual(["#1 succeeded"]);
  });
});

describe("an engine that takes over while other shards are still being read", () => {
  it("sends what was waiting before what comes now: a cancel does not overtake the start of its child", async () => {
    const reading = Promise.withResolvers<void>();
    const { inner } = slowed({});
    cluster = new Cluster({ store: inner });
    const refuse = async (): Promise<void> => Promise.reject(new HodeiError("UNAVAILABLE", "no orchestrator"));
    const first = await cluster.engine("e1", { gateway: { startChild: refuse, deliver: refuse } });
    await cluster.assign(new Map([[first, all()]]));
    cluster.register("sub", { steps: { a: run() } });
    cluster.register("outer", { steps: { c: { workflow: "sub" } } });
    await cluster.start("x1", "outer");
    await cluster.assign(new Map([[first, []]]));

    const own = cluster.shardOf("x1");
    const store: Store = {
      ...inner,
      loadShard: async (request) => {
        if (request.fence.shard !== own) await reading.promise;
        return await inner.loadShard(request);
      },
    };
    const sent: string[] = [];
    const both = Promise.withResolvers<void>();
    const note = async (kind: string): Promise<void> => {
      sent.push(kind);
      if (sent.length === 2) both.resolve();
    };
    const gateway = {
      startChild: () => note("start"),
      deliver: ({ messageJson }: { messageJson: string }) => note((JSON.parse(messageJson) as { kind: string }).kind),
    };
    const second = await cluster.engine("e2", { store, gateway });
    const assigned = second.channel.call("engine", "assign", { generation: 99, shards: all() });
    cluster.owners.set(own, second);
    await cluster.deliver("x1", { kind: "cancel", id: "c1", reason: "", by: "" });
    reading.resolve();
    await Promise.all([assigned, both.promise]);
    expect(sent).toEqual(["start", "cancel"]);
  });
});

describe("a claim whose worker went while the store answered", () => {
  it("costs nothing: not even an at-most-once step has been seen by anyone", async () => {
    const claiming = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    let slow = false;
    const { inner, store } = slowed({
      claim: async (call) => {
        const answer = await call();
        if (slow) {
          claiming.resolve();
          await answered.promise;
        }
        return answer;
      },
    });
    cluster = new Cluster({ store: inner });
    const node = await cluster.engine("e1", { store });
    await cluster.assign();
    cluster.register("once", { steps: { a: run({ onLost: "fail" }) } });
    await cluster.start("x1", "once");
    slow = true;
    const fleeting = await cluster.worker(node);
    await claiming.promise;
    fleeting.close();
    await told(node, "WorkerTerminated");
    slow = false;
    answered.resolve();
    await cluster.worker(node);
    expect(attempts(await cluster.ended("x1"))).toEqual(["#1 rejected", "#2 succeeded"]);
    expect(fleeting.assigned).toEqual([]);
  });
});

describe("the turn of an execution", () => {
  it("a queue timeout that cannot ask the store asks again; nobody is quarantined, and everyone is answered", async () => {
    let refusals = 0;
    const { inner, store } = slowed({
      jobs: async (call) => {
        if (refusals++ < 2) throw new HodeiError("UNAVAILABLE", "the store is away");
        return await call();
      },
    });
    cluster = new Cluster({ store: inner });
    const node = await cluster.engine("e1", { store });
    await cluster.assign();
    cluster.register("late", { steps: { a: run({ timeout: { queue: "30ms" } }) } });
    await cluster.start("x1", "late");
    expect((await cluster.ended("x1")).at(-1)).toMatchObject({ error: { code: "NO_MATCHING_WORKER" } });
    expect(refusals).toBeGreaterThan(2);
    expect(node.events.some((event) => event.kind === "ExecutionQuarantined")).toBe(false);
  });

  it("that throws half-way answers all that ride in it", async () => {
    const begun = Promise.withResolvers<void>();
    const signalled = Promise.withResolvers<void>();
    const { inner, store } = slowed({
      // Until it ends, messages and the queue timeout gather for the next turn.
      turn: async (call) => {
        const answer = await call();
        turns += 1;
        if (turns === 2) begun.resolve();
        if (turns === 2) await signalled.promise;
        return answer;
      },
      jobs: async () => {
        throw new Error("a defect");
      },
    });
    let turns = 0;
    cluster = new Cluster({ store: inner });
    const node = await cluster.engine("e1", { store });
    await cluster.assign();
    cluster.register("late", { steps: { a: run({ timeout: { queue: "20ms" } }), w: { wait: { signal: "go" } } } });
    await cluster.start("x1", "late");
    const first = cluster.deliver("x1", { kind: "pause", id: "p1", by: "me" });
    await begun.promise;
    const riding = cluster.deliver("x1", { kind: "resume", id: "p2", by: "me" });
    // Longer than the queue timeout: it has joined them.
    await systemClock.sleep(40);
    signalled.resolve();
    await first;
    await expect(riding).rejects.toThrow("a defect");
    await told(node, "ExecutionQuarantined");
  });

  it("that both queues and cancels a job does not wait for its last word", async () => {
    let turns = 0;
    const started = Promise.withResolvers<void>();
    const { inner, store } = slowed({
      turn: async (call) => {
        // The second turn takes its time, so that what comes meanwhile rides together in the third.
        if (++turns === 2) await started.promise;
        return await call();
      },
    });
    cluster = new Cluster({ store: inner });
    await cluster.engine("e1", { store });
    await cluster.assign();
    cluster.register("flow", { steps: { w: { wait: { signal: "go" } }, a: run({ needs: ["w"] }) } });
    await cluster.start("x1", "flow");
    const messages = [
      cluster.deliver("x1", { kind: "pause", id: "p1", by: "me" }),
      cluster.deliver("x1", { kind: "resume", id: "p2", by: "me" }),
      cluster.deliver("x1", { kind: "signal", id: "s", name: "go", payload: 1, by: "me" }),
      cluster.deliver("x1", { kind: "cancel", id: "c", reason: "enough", by: "me" }),
    ];
    started.resolve();
    await Promise.all(messages);
    expect((await cluster.ended("x1", 5_000)).at(-1)).toMatchObject({ state: "cancelled" });
    expect(turns).toBeLessThanOrEqual(4);
  });
});
