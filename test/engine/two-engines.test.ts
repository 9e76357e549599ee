import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { all, Cluster, count, FakeWorker, type Node } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const run = (more: Record<string, unknown> = {}): Record<string, unknown> => ({ run: "true", ...more });

/** Two engines with half the shards each; the harness routes by these shares. */
async function pair(): Promise<[Node, Node]> {
  cluster = new Cluster();
  const first = await cluster.engine("e1");
  const second = await cluster.engine("e2");
  await share(first, second);
  return [first, second];
}

async function share(first: Node, second: Node): Promise<void> {
  const even = all().filter((shard) => shard % 2 === 0);
  const odd = all().filter((shard) => shard % 2 === 1);
  for (const shard of even) cluster.owners.set(shard, first);
  for (const shard of odd) cluster.owners.set(shard, second);
  await cluster.assign(
    new Map([
      [first, even],
      [second, odd],
    ]),
  );
}

/** An id whose shard belongs to that engine. */
function idOn(node: Node, prefix: string): string {
  for (let n = 0; ; n++) if (cluster.owners.get(cluster.shardOf(`${prefix}${n}`)) === node) return `${prefix}${n}`;
}

function ended(events: readonly HistoryEvent[]): HistoryEvent | undefined {
  return events.at(-1);
}

describe("two engines", () => {
  it("a worker of one runs the jobs of the other, and its outcome comes through the inbox", async () => {
    const [first, second] = await pair();
    cluster.register("one", { steps: { a: run(), b: run({ needs: ["a"] }) } });
    const worker = await cluster.worker(second);
    const id = idOn(first, "x");
    await cluster.start(id, "one");
    const events = await cluster.ended(id);
    expect(ended(events)).toMatchObject({ state: "succeeded" });
    expect(worker.assigned).toHaveLength(2);
    await worker.until(() => worker.acked.length === 2);
  });

  it("a child runs on the other engine than its parent, and its output comes back", async () => {
    const [first, second] = await pair();
    cluster.register("child", { steps: { a: run() }, output: { text: "${{ steps.a.outputs.text }}" } });
    cluster.register("parent", {
      steps: { c: { workflow: "child" } },
      output: { text: "${{ steps.c.outputs.text }}" },
    });
    await cluster.worker(first, { run: () => ({ kind: "succeeded", outputs: { text: "hi" } }) });
    let id = idOn(first, "p");
    for (let n = 0; cluster.owners.get(cluster.shardOf(`${id}/c/0`)) !== second; n++) id = idOn(first, `p${n}-`);
    await cluster.start(id, "parent");
    expect(ended(await cluster.ended(id))).toMatchObject({ state: "succeeded", output: { text: "hi" } });
    expect(ended(await cluster.ended(`${id}/c/0`))).toMatchObject({ state: "succeeded" });
    expect(count(await cluster.history(`${id}/c/0`), "executionStarted")).toBe(1);
  });

  it.each(["the same engine", "the other engine"])(
    "a worker that was away when its job was cancelled is told as soon as it is back at %s",
    async (where) => {
      const clock = new ManualClock();
      cluster = new Cluster({ clock });
      const [first, second] = [await cluster.engine("e1"), await cluster.engine("e2")];
      await share(first, second);
      cluster.register("one", { steps: { a: run() } });
      const worker = await cluster.worker(first, { run: () => undefined });
      const id = idOn(first, "x");
      await cluster.start(id, "one");
      await worker.until(() => worker.running.size === 1);
      worker.close();
      await cluster.deliver(id, { kind: "cancel", id: "c1", reason: "enough", by: "me" });
      await worker.connect((where.startsWith("the same") ? first : second).channel);
      // The clock stands still: no renewal says it.
      expect(ended(await cluster.ended(id, 5_000))).toMatchObject({ state: "cancelled" });
    },
  );

  it("cancelling a parent cancels its child on the other engine", async () => {
    const [first, second] = await pair();
    cluster.register("child", { steps: { a: { wait: { signal: "never" } } } });
    cluster.register("parent", { steps: { c: { workflow: "child" } } });
    let id = idOn(first, "p");
    for (let n = 0; cluster.owners.get(cluster.shardOf(`${id}/c/0`)) !== second; n++) id = idOn(first, `p${n}-`);
    await cluster.start(id, "parent");
    await cluster.until(`${id}/c/0`, (events) => count(events, "iterationWaiting") === 1);
    await cluster.deliver(id, { kind: "cancel", id: "c1", reason: "enough", by: "me" });
    expect(ended(await cluster.ended(`${id}/c/0`))).toMatchObject({ state: "cancelled" });
    expect(ended(await cluster.ended(id))).toMatchObject({ state: "cancelled" });
  });

  it("a child that is refused for good fails its parent's step", async () => {
    const [first] = await pair();
    cluster.register("child", { steps: { a: run() } });
    cluster.register("parent", { steps: { c: { workflow: "child" } } });
    const id = idOn(first, "p");
    cluster.refuse = "child";
    await cluster.start(id, "parent");
    const end = ended(await cluster.ended(id));
    expect(end).toMatchObject({ state: "failed" });
    expect(JSON.stringify(end)).toContain("no more children");
  });

  it("a shard handed over goes on where it stood: timers, signals, jobs", async () => {
    const [first, second] = await pair();
    cluster.register("flow", {
      steps: { nap: { sleep: "60ms" }, w: { wait: { signal: "go" } }, a: run({ needs: ["nap", "w"] }) },
    });
    const worker = await cluster.worker(first);
    const id = idOn(first, "x");
    await cluster.start(id, "flow");
    for (const shard of all()) cluster.owners.set(shard, second);
    await cluster.assign(
      new Map([
        [first, []],
        [second, all()],
      ]),
    );
    await cluster.deliver(id, { kind: "signal", id: "s1", name: "go", payload: 1, by: "me" });
    expect(ended(await cluster.ended(id))).toMatchObject({ state: "succeeded" });
    expect(worker.assigned).toHaveLength(1);
    expect(first.engine.view()).toMatchObject({ shards: 0, activeExecutions: 0 });
  });

  it("a drained engine sends its workers elsewhere, jobs and all; the job is not run again", async () => {
    cluster = new Cluster();
    const second = await cluster.engine("e2");
    const first = await cluster.engine("e1", { redirect: () => [second.server.address] });
    await share(first, second);
    cluster.register("one", { steps: { a: run() } });
    const gate = Promise.withResolvers<void>();
    const worker = await cluster.worker(first, {
      run: async () => {
        await gate.promise;
        return { kind: "succeeded", outputs: {} };
      },
    });
    const id = idOn(first, "x");
    await cluster.start(id, "one");
    await worker.until(() => worker.assigned.length === 1);
    const drained = first.channel.call("engine", "drain", {});
    await worker.until(() => worker.received.some((message) => message.kind === "drain"));
    expect(worker.received.find((message) => message.kind === "drain")).toEqual({
      kind: "drain",
      redirect: [second.server.address],
    });
    await worker.connect(second.channel);
    for (const shard of all()) cluster.owners.set(shard, second);
    await drained;
    await cluster.assign(new Map([[second, all()]]));
    gate.resolve();
    expect(ended(await cluster.ended(id))).toMatchObject({ state: "succeeded" });
    expect(worker.assigned).toHaveLength(1);
    expect(first.engine.view()).toMatchObject({ state: "draining", shards: 0 });
  });
});

describe("a worker", () => {
  it("that lost its stream comes back with its job, which goes on", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    const gate = Promise.withResolvers<void>();
    const worker = await cluster.worker(node, {
      run: async () => {
        await gate.promise;
        return { kind: "succeeded", outputs: {} };
      },
    });
    await cluster.start("x1", "one");
    await worker.until(() => worker.running.size === 1);
    worker.close();
    gate.resolve();
    // The result was said into a broken stream: it is spooled and said again.
    await worker.connect(node.channel);
    expect(ended(await cluster.ended("x1"))).toMatchObject({ state: "succeeded" });
    expect(worker.assigned).toHaveLength(1);
    await worker.until(() => worker.spooled.size === 0);
  });

  it("is unhealthy after 15 s of silence and failed at 45 s; its job runs elsewhere and its late result is stale", async () => {
    const clock = new ManualClock();
    cluster = new Cluster({ clock });
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run({ timeout: { run: "1h" } }) } });
    const silent = await cluster.worker(node, { run: () => undefined });
    await cluster.start("x1", "one");
    await silent.until(() => silent.running.size === 1);
    await clock.advance(16_000);
    expect(node.engine.services).toBeDefined();
    const status = await node.channel.call("engine", "status", {});
    expect(status.workers[0]).toMatchObject({ id: "w0", state: "unhealthy" });
    expect(node.events.some((event) => event.kind === "WorkerUnhealthy")).toBe(true);
    await clock.advance(30_000);
    expect(node.events.some((event) => event.kind === "WorkerFailed")).toBe(true);
    const other = await cluster.worker(node);
    await clock.advance(60_000);
    const events = await cluster.history("x1");
    expect(ended(events)).toMatchObject({ state: "succeeded" });
    expect(other.assigned).toMatchObject([{ attempt: 2 }]);
    const job = silent.assigned[0]!;
    silent.spooled.set(job.jobId, {
      kind: "result",
      jobId: job.jobId,
      token: job.token,
      startedAtMs: 1,
      endedAtMs: 2,
      outcome: { kind: "succeeded", outputs: {} },
    });
    silent.running.clear();
    await silent.connect(node.channel);
    expect(silent.spooled.size).toBe(0);
    expect(count(await cluster.history("x1"), "executionEnded")).toBe(1);
  });

  it("of this host whose process is gone is lost at once", async () => {
    cluster = new Cluster();
    let alive = true;
    const node = await cluster.engine("e1", {
      hostEvidence: { bootId: "boot", pidNamespace: "ns", alive: () => alive },
    });
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    const host = { bootId: "boot", pidNamespace: "ns", pid: 4242, startTime: "1", hostname: "here" };
    const killed = await cluster.worker(node, { host, run: () => undefined });
    await cluster.start("x1", "one");
    await killed.until(() => killed.running.size === 1);
    const other = await cluster.worker(node);
    alive = false;
    killed.close();
    expect(ended(await cluster.ended("x1"))).toMatchObject({ state: "succeeded" });
    expect(other.assigned).toHaveLength(1);
  });

  it("with one slot never has more than one job in hand", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("wide", { steps: { a: run({ forEach: [1, 2, 3, 4, 5, 6] }) } });
    let most = 0;
    const worker = await cluster.worker(node, {
      slots: 1,
      run: () => {
        most = Math.max(most, worker.running.size);
        return { kind: "succeeded", outputs: {} };
      },
    });
    await cluster.start("x1", "wide");
    expect(ended(await cluster.ended("x1"))).toMatchObject({ state: "succeeded" });
    expect(most).toBe(1);
  });

  it("never hears of a claim whose answer was lost for good: it is reported lost, and the job given out again", async () => {
    const clock = new ManualClock();
    cluster = new Cluster({ clock });
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    await cluster.start("x1", "one");
    const [own] = await cluster.store.sessions();
    const offer = new FakeWorker({ id: "ghost" }).offer();
    const free = { ...offer.total, slots: 1 };
    const slot = { worker: "ghost", signature: "s", offer, free, workspaces: [] };
    await cluster.store.claim({ opId: "lost", session: own?.session ?? "", workers: [slot] });
    const worker = await cluster.worker(node);
    for (let n = 0; n < 4; n++) await clock.advance(20_000);
    // Silent for 80 s, but it has nothing of ours: it just comes again.
    await worker.connect(node.channel);
    await clock.advance(60_000);
    const events = await cluster.history("x1");
    expect(ended(events)).toMatchObject({ state: "succeeded" });
    expect(events.find((event) => event.type === "attemptEnded")).toMatchObject({ outcome: { kind: "lost" } });
    expect(worker.assigned).toMatchObject([{ attempt: 2 }]);
  });

  it("that drains gets no new job", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("one", { steps: { a: run() } });
    const leaving = await cluster.worker(node);
    await node.channel.call("engine", "drainWorker", { id: leaving.id });
    await leaving.until(() => leaving.received.some((message) => message.kind === "drain"));
    const other = await cluster.worker(node);
    await cluster.start("x1", "one");
    await cluster.ended("x1");
    expect([leaving.assigned.length, other.assigned.length]).toEqual([0, 1]);
  });
});

describe("an execution that cannot be loaded", () => {
  it("is set aside alone; the engine serves the others", async () => {
    cluster = new Cluster();
    const node = await cluster.engine("e1");
    await cluster.assign();
    cluster.register("w", { steps: { a: { wait: { signal: "go" } } } });
    await cluster.start("bad", "w");
    await cluster.start("good", "w");
    // Reloaded from a history that makes no sense.
    const read = cluster.store.readExecution.bind(cluster.store);
    cluster.store.readExecution = async (request) => {
      const record = await read(request);
      if (request.id === "bad" && record?.status === "OK")
        record.events = ['{"type":"stepOpened","step":"a","atMs":1}'];
      return record;
    };
    await cluster.assign(new Map([[node, []]]));
    await cluster.assign();
    const go = { kind: "signal", id: "s1", name: "go", payload: null, by: "me" } as const;
    await expect(cluster.deliver("bad", go)).rejects.toMatchObject({ code: "INTERNAL" });
    await cluster.deliver("good", go);
    expect(ended(await cluster.ended("good"))).toMatchObject({ state: "succeeded" });
    const quarantined = node.events.filter((event) => event.kind === "ExecutionQuarantined");
    expect(quarantined).toMatchObject([{ executionId: "bad", severity: "critical" }]);
  });
});
