import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { all, Cluster, count } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const run = (more: Record<string, unknown> = {}): Record<string, unknown> => ({ run: "true", ...more });

describe("an engine with a worker", () => {
  it("runs a step and hands its outputs to the next", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("two", {
      steps: { a: run(), b: run({ needs: ["a"], env: { X: "${{ steps.a.outputs.x }}" } }) },
      output: { y: "${{ steps.b.outputs.x }}" },
    });
    const worker = await cluster.worker(node, {
      run: (job) => ({ kind: "succeeded", outputs: { x: `${job.work.env["X"] ?? ""}${job.step}` } }),
    });
    await cluster.start("x1", "two");
    const events = await cluster.ended("x1");
    expect(events.at(-1)).toMatchObject({ state: "succeeded", output: { y: "ab" } });
    expect(count(events, "attemptEnded")).toBe(2);
    await worker.until(() => worker.acked.length === 2);
    expect(node.engine.view()).toMatchObject({ activeExecutions: 0, workers: 1, capacity: 4 });
  });

  it("answers the same start with the same execution, and another request under its id with ALREADY_EXISTS", async () => {
    cluster = new Cluster();
    await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    await cluster.start("x1", "one");
    await cluster.start("x1", "one");
    await expect(cluster.start("x1", "one", { other: true })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    expect(count(await cluster.history("x1"), "executionStarted")).toBe(1);
  });

  it("a child that is started again after its end tells its parent once more", async () => {
    const committed: string[] = [];
    const inner = createMemoryStore({ clock: systemClock, random: seededRandom(3) });
    const store: Store = {
      ...inner,
      turn: async (request) => {
        committed.push(...request.outbox.map(({ text }) => text));
        return await inner.turn(request);
      },
    };
    cluster = new Cluster({ store });
    await cluster.engine("e1", { gateway: { startChild: async () => undefined, deliver: async () => undefined } });
    await cluster.assign();
    cluster.register("short", { steps: { pause: { sleep: "1ms" } } });
    const parent = { executionId: "p", uid: "uid-p", step: "s", iteration: "0", depth: 0 };
    await cluster.start("p/s/0", "short", {}, { parent });
    await cluster.ended("p/s/0");
    expect(committed).toHaveLength(1);
    await cluster.start("p/s/0", "short", {}, { parent });
    expect(committed).toEqual([committed[0], committed[0]]);
    expect(JSON.parse(committed[0] ?? "")).toMatchObject({ kind: "childEnded", target: "p", state: "succeeded" });
  });

  it("refuses a message for an unknown execution, and one for a shard of another engine", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    const cancel = { kind: "cancel", id: "m1", reason: "r", by: "me" } as const;
    await expect(cluster.deliver("nobody", cancel)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await cluster.assign(new Map([[node, []]]));
    const request = { namespace: "default", id: "x", messageJson: JSON.stringify(cancel) };
    await expect(node.channel.call("engine", "deliver", request)).rejects.toMatchObject({ code: "NOT_OWNER" });
  });

  it("names the owner's address with NOT_OWNER", async () => {
    cluster = new Cluster();
    const first = await cluster.engine("e1");
    const second = await cluster.engine("e2");
    await cluster.assign(new Map([[first, all()]]));
    const request = {
      namespace: "default",
      id: "x",
      messageJson: JSON.stringify({ kind: "pause", id: "m", by: "me" }),
    };
    const refused = second.channel.call("engine", "deliver", request);
    await expect(refused).rejects.toMatchObject({ code: "NOT_OWNER", facts: { owner: first.server.address } });
  });

  it("cancels a running job through its worker, and a queued one without", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("both", { steps: { a: run(), b: run({ agent: { label: "nowhere" } }) } });
    const worker = await cluster.worker(node, { run: () => undefined });
    await cluster.start("x1", "both");
    await worker.until(() => worker.assigned.length === 1);
    await cluster.deliver("x1", { kind: "cancel", id: "c1", reason: "enough", by: "me" });
    const events = await cluster.ended("x1");
    expect(events.at(-1)).toMatchObject({ state: "cancelled" });
    expect(worker.assigned.map((job) => job.step)).toEqual(["a"]);
  });

  it("fires a sleep, and retries after its backoff", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("nap", {
      steps: {
        nap: { sleep: "20ms" },
        a: run({ needs: ["nap"], retry: { maxAttempts: 2, initialInterval: "10ms", maxInterval: "10ms" } }),
      },
    });
    let attempts = 0;
    await cluster.worker(node, {
      run: () =>
        ++attempts === 1
          ? { kind: "failed", failure: { class: "user", message: "first time" } }
          : { kind: "succeeded", outputs: {} },
    });
    await cluster.start("x1", "nap");
    expect((await cluster.ended("x1")).at(-1)).toMatchObject({ state: "succeeded" });
    expect(attempts).toBe(2);
  });

  it("fails a job that nobody could ever run with the failing clauses, when its queue timeout is over", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("gpu", { steps: { a: run({ agent: { label: "gpu" }, timeout: { queue: "50ms" } }) } });
    await cluster.worker(node);
    await cluster.start("x1", "gpu");
    const end = (await cluster.ended("x1")).at(-1);
    expect(end).toMatchObject({ state: "failed", error: { code: "NO_MATCHING_WORKER" } });
    expect(JSON.stringify(end)).toContain("gpu");
  });

  it("reports a job lost that its worker does not accept, and gives it out again", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    const deaf = await cluster.worker(node, { accept: false });
    await cluster.start("x1", "one");
    await deaf.until(() => deaf.assigned.length === 1);
    await cluster.worker(node);
    const goodbye = deaf.send({ kind: "goodbye", reason: "test" });
    await goodbye;
    const events = await cluster.ended("x1");
    expect(events.at(-1)).toMatchObject({ state: "succeeded" });
    const lost = events.find((event) => event.type === "attemptEnded" && event.outcome.kind === "lost");
    expect(lost).toBeDefined();
  });

  it("opens a 10,000-way forEach in windows and completes it", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    const items = Array.from({ length: 10_000 }, (_, index) => index);
    cluster.register("wide", { steps: { a: run({ forEach: "${{ input.items }}" }) }, input: { type: "object" } });
    await cluster.worker(node, { slots: 64 });
    await cluster.start("x1", "wide", { items });
    const events = await cluster.ended("x1", 120_000);
    expect(events.at(-1)).toMatchObject({ state: "succeeded" });
    expect(count(events, "attemptEnded")).toBe(10_000);
  }, 130_000);
});
