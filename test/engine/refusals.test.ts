import { afterEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import type { ClusterEvent } from "../../transport/api/cluster.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { Cluster, count, type Node } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const run = (more: Record<string, unknown> = {}): Record<string, unknown> => ({ run: "true", ...more });

/** A store where an adoption takes as long as `until` says. */
function slowToAdopt(until: () => Promise<void>): { inner: Store; store: Store } {
  const inner = createMemoryStore({ clock: systemClock, random: seededRandom(3) });
  const adopt: Store["adopt"] = async (request) => {
    await until();
    return await inner.adopt(request);
  };
  return { inner, store: { ...inner, adopt } };
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

describe("a worker that comes back", () => {
  it("is given nothing before its welcome, for it drops what comes earlier", async () => {
    const adopting = Promise.withResolvers<void>();
    let slow = false;
    const { inner, store } = slowToAdopt(async () => {
      if (slow) await adopting.promise;
    });
    cluster = new Cluster({ store: inner });
    const node = await cluster.engine("e1", { store });
    await cluster.assign();
    cluster.register("hold", { steps: { a: run() } });
    cluster.register("once", { steps: { a: run({ onLost: "fail" }) } });
    // With a job in hand it is still known when its stream breaks.
    const worker = await cluster.worker(node, { run: (job) => (job.executionId === "x1" ? undefined : DONE) });
    await cluster.start("x1", "hold");
    await worker.until(() => worker.running.size === 1);
    slow = true;
    const back = worker.connect(node.channel);
    await cluster.start("x2", "once");
    await cluster.until("x2", (events) => count(events, "iterationQueued") === 1);
    adopting.resolve();
    await back;
    expect(attempts(await cluster.ended("x2"))).toEqual(["#1 succeeded"]);
    const kinds = worker.received.map((message) => message.kind);
    expect(kinds.slice(0, 4)).toEqual(["welcome", "assign", "welcome", "assign"]);
  });
});

describe("a job of a workspace that its worker refuses", () => {
  it("goes to another worker: nothing of the workspace is with the first one", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("folder", { steps: { a: run({ workspace: "src" }), b: run({ needs: ["a"], workspace: "src" }) } });
    const unwilling = await cluster.worker(node, { refuse: () => "not today" });
    await cluster.start("x1", "folder");
    await unwilling.until(() => unwilling.assigned.length === 1);
    const willing = await cluster.worker(node, { run: () => DONE });
    const events = await cluster.ended("x1");
    expect(events.at(-1)).toMatchObject({ type: "executionEnded", state: "succeeded" });
    expect(willing.assigned.map(({ step }) => step)).toEqual(["a", "b"]);
  });
});

describe("a job that nobody here runs", () => {
  it("fails after so many refusals, with their words, and the workers stay of use", async () => {
    const clock = new ManualClock();
    cluster = new Cluster({ clock });
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("boxed", { steps: { a: run({ container: "postgres:13" }) } });
    cluster.register("plain", { steps: { a: run() } });
    await cluster.worker(node, {
      ephemeral: true,
      slots: 1,
      refuse: (job) =>
        job.work.kind === "run" && job.work.container !== undefined ? "this worker runs no containers" : undefined,
    });
    await cluster.start("x1", "boxed");
    // After each refusal the worker is left alone for a second.
    for (let n = 0; n < 4; n++) await clock.advance(1_000);
    const events = await cluster.history("x1");
    expect(attempts(events)).toEqual(["#1 rejected", "#2 rejected", "#3 rejected", "#4 rejected"]);
    const message = "workers refused it 4 times: this worker runs no containers";
    expect(events.at(-1)).toMatchObject({ state: "failed", error: { code: "JOB_REJECTED", message } });
    await clock.advance(1_000);
    await cluster.start("x2", "plain");
    expect((await cluster.ended("x2")).at(-1)).toMatchObject({ state: "succeeded" });
  });
});

describe("a worker that says it takes no more (slots: 0)", () => {
  it("is asked no more and spends nobody's budget, while its job goes on", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    const gate = Promise.withResolvers<void>();
    const leaving = await cluster.worker(node, {
      run: async () => {
        await gate.promise;
        return DONE;
      },
    });
    await cluster.start("x1", "one");
    await leaving.until(() => leaving.running.size === 1);
    await leaving.send({ kind: "hello", ...leaving.hello(), slots: 0 });
    await told(node, "WorkerDraining");
    await cluster.start("x2", "one");
    expect(leaving.assigned).toHaveLength(1);
    // It may break its stream meanwhile, and says the same then.
    leaving.options.slots = 0;
    await leaving.connect(node.channel);
    const other = await cluster.worker(node);
    expect(attempts(await cluster.ended("x2"))).toEqual(["#1 succeeded"]);
    expect(other.assigned).toHaveLength(1);
    gate.resolve();
    expect(attempts(await cluster.ended("x1"))).toEqual(["#1 succeeded"]);
  });
});

const DONE = { kind: "succeeded", outputs: {} } as const;
