import { afterEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { faultyStore } from "./faulty-store.ts";
import { all, Cluster, count, FakeWorker } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const SPEC = {
  steps: {
    a: { run: "true" },
    b: { run: "true", needs: ["a"], forEach: [1, 2, 3] },
    c: { wait: { signal: "go" }, needs: ["b"] },
    d: { run: "true", needs: ["c"] },
  },
};

/** Each attempt's end stands in the history once, and so does the execution's. */
function expectOnce(events: readonly HistoryEvent[]): void {
  const attempts = events.flatMap((event) =>
    event.type === "attemptEnded" ? [`${event.step}/${event.iteration}#${event.attempt}`] : [],
  );
  expect(new Set(attempts).size).toBe(attempts.length);
  const ended = events.flatMap((event) =>
    event.type === "iterationEnded" ? [`${event.step}/${event.iteration}`] : [],
  );
  expect(new Set(ended).size).toBe(ended.length);
  expect(count(events, "executionStarted")).toBe(1);
  expect(count(events, "executionEnded")).toBe(1);
  expect(events.at(-1)).toMatchObject({ state: "succeeded" });
}

const GO = { kind: "signal", id: "s1", name: "go", payload: null, by: "me" } as const;
/** Start and assignment of an engine, before anything runs on it. */
const SETTING_UP = 12;

describe.each(["before", "after"] as const)("when a store call fails once (%s it was made)", (fault) => {
  it("the execution completes, with each completion once, whichever call it is", async () => {
    const calls = await attempt(Infinity, "before");
    expect(calls).toBeGreaterThan(10);
    for (let at = 2; at <= calls; at++) await attempt(at, fault);
  }, 120_000);

  async function attempt(at: number, kind: "before" | "after"): Promise<number> {
    const random = seededRandom(3);
    const inner = createMemoryStore({ clock: systemClock, random });
    const faulty = faultyStore(inner, at, kind);
    cluster = new Cluster({ store: inner });
    const node = await cluster.engine("e1", { store: faulty.store });
    await cluster.assign();
    await cluster.worker(node);
    cluster.register("flow", SPEC);
    await cluster.start("x1", "flow");
    await cluster.deliver("x1", GO);
    expectOnce(await cluster.ended("x1"));
    const made = faulty.calls();
    await cluster.stop();
    return made;
  }
});

describe("when the engine dies at a store call", () => {
  it("another engine takes over, the worker reconnects, and each completion stands once", async () => {
    for (let at = SETTING_UP; at <= SETTING_UP + 20; at++) {
      const inner = createMemoryStore({ clock: systemClock, random: seededRandom(3) });
      const { store } = faultyStore(inner, at, "dead");
      cluster = new Cluster({ store: inner });
      await cluster.engine("e1", { store });
      const first = cluster.nodes[0]!;
      // Each of these may wait for an answer that never comes.
      const dying = (step: Promise<unknown>): Promise<unknown> =>
        Promise.race([step.catch(() => undefined), systemClock.sleep(20)]);
      await dying(cluster.assign());
      const worker = new FakeWorker({ id: "w0" });
      await dying(worker.connect(first.channel));
      cluster.register("flow", SPEC);
      await dying(cluster.start("x1", "flow"));
      // The same name ends the dead one's session, as a restarted process does.
      const second = await cluster.engine("e1", { store: inner });
      cluster.owners.clear();
      for (const shard of all()) cluster.owners.set(shard, second);
      await cluster.assign(new Map([[second, all()]]));
      await worker.connect(second.channel);
      await cluster.start("x1", "flow");
      await cluster.deliver("x1", GO);
      const events = await cluster.ended("x1");
      expectOnce(events);
      expect(events.at(-1)).toMatchObject({ state: "succeeded" });
      for (const node of cluster.nodes.splice(0)) {
        if (node === second) await node.engine.stop();
        await node.server.stop(0);
      }
      worker.close();
    }
  }, 120_000);
});

describe("a stale owner", () => {
  it("is fenced after its lease, and answers NOT_OWNER; the new owner goes on", async () => {
    const clock = new ManualClock();
    const inner = createMemoryStore({ clock, random: seededRandom(3) });
    cluster = new Cluster({ clock, store: inner });
    const gate = { shut: false };
    const paused = stoppable(inner, gate);
    const first = await cluster.engine("e1", { store: paused });
    const second = await cluster.engine("e2");
    cluster.register("w", { steps: { c: { wait: { signal: "go" } } } });
    await cluster.assign(new Map([[first, all()]]));
    await cluster.start("x1", "w");
    gate.shut = true;
    // Taken only when the lease is over: 10 s after the last renewal.
    const taken = cluster.assign(new Map([[second, all()]]));
    await clock.advance(9_000);
    await taken;
    expect(second.engine.view().shards).toBe(0);
    expect(first.engine.view().shards).toBe(0);
    expect(first.events.some((event) => event.kind === "SessionLost")).toBe(true);
    await clock.advance(3_000);
    expect(second.engine.view().shards).toBe(all().length);
    const request = { namespace: "default", id: "x1", messageJson: JSON.stringify(GO) };
    gate.shut = false;
    await expect(first.channel.call("engine", "deliver", request)).rejects.toMatchObject({ code: "NOT_OWNER" });
    await second.channel.call("engine", "deliver", request);
    expect((await cluster.history("x1")).at(-1)).toMatchObject({ type: "executionEnded", state: "succeeded" });
  });
});

/** While the gate is shut every call fails as if the network were cut. */
function stoppable(store: Store, gate: { shut: boolean }): Store {
  return new Proxy(store, {
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver);
      if (typeof value !== "function" || name === "watch") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        if (gate.shut) throw new HodeiError("UNAVAILABLE", "the network is cut");
        return await Reflect.apply(value, target, args);
      };
    },
  });
}
