import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import type { FleetOptions } from "../../engine/fleet/options.ts";
import type { Platform, Pod, PodSpec } from "../../platform/platform.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { Outcome } from "../../workflow/job.ts";
import { all, Cluster, FakeWorker, GIB, type Node } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const run = (more: Record<string, unknown> = {}): Record<string, unknown> => ({ run: "true", ...more });

/** A platform whose pods are what the test makes of them. */
class TestPlatform implements Platform {
  readonly name = "process";
  readonly pods = new Map<string, Pod>();
  readonly specs: PodSpec[] = [];
  readonly deleted: string[] = [];
  onCreate: (spec: PodSpec, pod: Pod) => void = () => {};
  failure: HodeiError | undefined;
  readonly #watchers = new Set<(pod: Pod) => void>();

  async create(spec: PodSpec): Promise<Pod> {
    this.specs.push(spec);
    if (this.failure) throw this.failure;
    const { name, request, labels } = spec;
    const pod: Pod = { name, uid: `uid-${name}`, request, labels, createdAtMs: 0, phase: "running" };
    this.pods.set(pod.uid, pod);
    this.onCreate(spec, pod);
    return pod;
  }
  async list(): Promise<Pod[]> {
    return [...this.pods.values()];
  }
  async delete({ uid }: { uid: string }): Promise<void> {
    this.deleted.push(uid);
    this.end(uid);
  }
  watch(onChange: (pod: Pod) => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }
  async logs(): Promise<string> {
    return "last words";
  }
  end(uid: string): void {
    const pod = this.pods.get(uid);
    if (!pod) return;
    this.pods.delete(uid);
    for (const watcher of this.#watchers) watcher({ ...pod, phase: "gone" });
  }
}

const template: FleetOptions["template"] = {
  id: "local",
  offer: {
    labels: ["linux"],
    handlers: [],
    services: [],
    hardware: {},
    models: {},
    custom: {},
    ephemeral: false,
    namespace: "*",
    total: { cpuMillis: 64_000, memoryBytes: 256 * GIB, gpu: 0, storageBytes: 256 * GIB },
  },
  slots: 4,
  env: { EXTRA: "1" },
};

async function fleet(options: Partial<FleetOptions>, platform: TestPlatform): Promise<Node> {
  cluster = new Cluster();
  const node = await cluster.engine("e1", { platform, fleet: { template, warm: 0, maxEphemeral: 0, ...options } });
  await cluster.assign();
  return node;
}

/** Pods that run a worker, as the process platform's do. */
function inhabit(platform: TestPlatform, node: () => Node, more: { silent?: boolean } = {}): FakeWorker[] {
  const workers: FakeWorker[] = [];
  platform.onCreate = (spec, pod) => {
    const ephemeral = spec.env["EPHEMERAL_MODE"] === "true";
    const worker = new FakeWorker({
      id: spec.env["WORKER_ID"] ?? "",
      requestId: spec.env["HODEI_WORKER_REQUEST"] ?? "",
      ephemeral,
      slots: ephemeral ? 1 : 4,
    });
    workers.push(worker);
    if (more.silent) return;
    void worker.connect(node().channel);
    if (!ephemeral) return;
    void worker
      .until(() => worker.acked.length > 0)
      .then(() => worker.send({ kind: "goodbye", reason: "ephemeral" }))
      .then(() => platform.end(pod.uid));
  };
  return workers;
}

async function event(node: Node, kind: string): Promise<Node["events"][number]> {
  for (let n = 0; n < 2_000; n++) {
    const found = node.events.find((each) => each.kind === kind);
    if (found) return found;
    await systemClock.sleep(5);
  }
  throw new Error(`no event ${kind}; there were ${node.events.map((each) => each.kind).join(", ")}`);
}

describe("the fleet", () => {
  it("leaves a worker alone that registered with another engine", async () => {
    const platform = new TestPlatform();
    cluster = new Cluster();
    const bounds = { template, maxEphemeral: 0, registerMs: 300 };
    const other = await cluster.engine("e2", { platform, fleet: { ...bounds, warm: 0 } });
    inhabit(platform, () => other);
    const node = await cluster.engine("e1", { platform, fleet: { ...bounds, warm: 1 } });
    await cluster.assign();
    await event(node, "EphemeralWorkerCreated");
    const states = async (): Promise<string[]> =>
      (await cluster.store.workerRequests.list({ engine: "e1", open: true })).map((request) => request.state);
    while (!(await states()).includes("registered")) await systemClock.sleep(5);
    // The second one never comes. That it is given up shows that the time is over for the first, too.
    platform.onCreate = () => {};
    const [first = ""] = platform.pods.keys();
    const silent = await cluster.engine("e3", { platform, fleet: { ...bounds, warm: 1 } });
    await event(silent, "EphemeralWorkerFailed");
    expect(platform.deleted).not.toContain(first);
  });

  it("does not hold it against the platform when a worker registered with another engine and ended at once", async () => {
    const platform = new TestPlatform();
    cluster = new Cluster();
    const bounds = { template, warm: 0, maxEphemeral: 2 };
    const nodes = [await cluster.engine("e1", { platform, fleet: bounds })];
    const workers = inhabit(platform, () => nodes[1] ?? nodes[0]!);
    nodes.push(await cluster.engine("e2", { platform, fleet: { ...bounds, maxEphemeral: 0 } }));
    await cluster.assign();
    cluster.register("eph", { steps: { a: run({ forEach: [1, 2, 3, 4, 5, 6], agent: { ephemeral: true } }) } });
    for (const id of ["x1", "x2", "x3", "x4"]) await cluster.start(id, "eph");
    await event(nodes[0]!, "EphemeralWorkerDestroyed");
    while (workers.length < 4) await systemClock.sleep(5);
    expect(nodes[0]!.events.map(({ kind }) => kind)).not.toContain("EphemeralWorkerFailed");
  });

  it("keeps the warm floor, and tells a worker how to connect", async () => {
    const platform = new TestPlatform();
    const workers = inhabit(platform, () => cluster.nodes[0] ?? node);
    const node = await fleet({ warm: 2 }, platform);
    await event(node, "EphemeralWorkerCreated");
    while (workers.length < 2) await systemClock.sleep(5);
    const [spec] = platform.specs;
    const [host, port] = node.server.address.split(":");
    expect(spec?.env).toMatchObject({ SERVER_HOST: host, SERVER_PORT: port, EPHEMERAL_MODE: "false", EXTRA: "1" });
    expect(spec?.labels).toMatchObject({ "template-id": "local", "worker-id": workers[0]?.id });
    // One that dies is replaced.
    const [uid] = [...platform.pods.keys()];
    platform.end(uid ?? "");
    await event(node, "EphemeralWorkerDestroyed");
    while (workers.length < 3) await systemClock.sleep(5);
  });

  it("makes one ephemeral worker per waiting job that asks for one, up to the bound, and closes their requests", async () => {
    const platform = new TestPlatform();
    const workers = inhabit(platform, () => cluster.nodes[0]!);
    const node = await fleet({ maxEphemeral: 2 }, platform);
    cluster.register("eph", { steps: { a: run({ forEach: [1, 2, 3, 4], agent: { ephemeral: true } }) } });
    await cluster.start("x1", "eph");
    const events = await cluster.ended("x1");
    expect(events.at(-1)).toMatchObject({ state: "succeeded" });
    expect(workers).toHaveLength(4);
    expect(workers.every((worker) => worker.assigned.length === 1)).toBe(true);
    await event(node, "EphemeralWorkerDestroyed");
    for (let open = 1; open > 0; await systemClock.sleep(5)) {
      open = (await cluster.store.workerRequests.list({ open: true })).length;
    }
    const requests = await cluster.store.workerRequests.list({});
    expect(requests.map((request) => request.state)).toEqual(["gone", "gone", "gone", "gone"]);
  });

  it("lets an ephemeral worker go whose job was cancelled before it came", async () => {
    const platform = new TestPlatform();
    const workers = inhabit(platform, () => cluster.nodes[0]!, { silent: true });
    const node = await fleet({ maxEphemeral: 1, idleMs: 200 }, platform);
    cluster.register("eph", { steps: { a: run({ agent: { ephemeral: true } }) } });
    await cluster.start("x1", "eph");
    while (workers.length < 1) await systemClock.sleep(5);
    await cluster.deliver("x1", { kind: "cancel", id: "c", reason: "", by: "test" });
    await cluster.ended("x1");
    void workers[0]!.connect(node.channel);
    const { worker } = await event(node, "WorkerShutdownRequested");
    expect(worker).toBe(workers[0]!.id);
  });

  it("leaves what the host cannot offer waiting, with its reason", async () => {
    const platform = new TestPlatform();
    await fleet({ maxEphemeral: 2 }, platform);
    cluster.register("gpu", { steps: { a: run({ agent: { label: "gpu" }, timeout: { queue: "150ms" } }) } });
    await cluster.start("x1", "gpu");
    const end = (await cluster.ended("x1")).at(-1);
    expect(end).toMatchObject({ error: { code: "NO_MATCHING_WORKER" } });
    expect(platform.specs).toHaveLength(0);
  });

  it("closes the request of a pod that ends before it registers, with its last words, and tries again later", async () => {
    const platform = new TestPlatform();
    inhabit(platform, () => cluster.nodes[0]!, { silent: true });
    const node = await fleet({ warm: 1 }, platform);
    await event(node, "EphemeralWorkerCreated");
    platform.end([...platform.pods.keys()][0] ?? "");
    const failed = await event(node, "EphemeralWorkerFailed");
    expect(failed.facts["log"]).toBe("last words");
    const [request] = await cluster.store.workerRequests.list({});
    expect(request).toMatchObject({ state: "gone" });
    // Not at once: a template that cannot start must not be started in a loop.
    await systemClock.sleep(100);
    expect(platform.specs).toHaveLength(1);
  });

  it("records a creation that failed and goes on", async () => {
    const platform = new TestPlatform();
    platform.failure = new HodeiError("RESOURCE_EXHAUSTED", "quota");
    const node = await fleet({ warm: 1 }, platform);
    const failed = await event(node, "EphemeralWorkerFailed");
    expect(failed.facts).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await cluster.store.workerRequests.list({ open: true })).toHaveLength(0);
  });

  it("gives the jobs of a pod that ended to another worker at once", async () => {
    const platform = new TestPlatform();
    const made: FakeWorker[] = [];
    platform.onCreate = (spec) => {
      const worker = new FakeWorker({
        id: spec.env["WORKER_ID"] ?? "",
        requestId: spec.env["HODEI_WORKER_REQUEST"] ?? "",
        run: () => (made.length === 1 ? undefined : { kind: "succeeded", outputs: {} }),
      });
      made.push(worker);
      void worker.connect(cluster.nodes[0]!.channel);
    };
    await fleet({ warm: 1 }, platform);
    cluster.register("one", { steps: { a: run() } });
    await cluster.start("x1", "one");
    while (made.length === 0) await systemClock.sleep(5);
    await made[0]!.until(() => made[0]!.running.size === 1);
    platform.end([...platform.pods.keys()][0] ?? "");
    const events = await cluster.ended("x1");
    expect(events.at(-1)).toMatchObject({ state: "succeeded" });
    expect(made).toHaveLength(2);
  });

  it("adopts the pods of its earlier life instead of making new ones", async () => {
    const platform = new TestPlatform();
    const workers = inhabit(platform, () => cluster.nodes.at(-1)!);
    const before = await fleet({ warm: 1, deleteOnStop: false }, platform);
    while (workers.length === 0) await systemClock.sleep(5);
    await workers[0]!.until(() => workers[0]!.received.length > 0);
    await before.engine.stop();
    const options = { template, warm: 1, maxEphemeral: 0 };
    const again = await cluster.engine("e1", { platform, fleet: options });
    await workers[0]!.connect(again.channel);
    await systemClock.sleep(100);
    expect(platform.specs).toHaveLength(1);
    expect(again.engine.view().workers).toBe(1);
  });

  it.each(["while the engine was away", "before it came back to the engine"])(
    "gives up at once, not after 45 s, what a worker held that died %s",
    async (when) => {
      const platform = new TestPlatform();
      const made: FakeWorker[] = [];
      platform.onCreate = (spec) => {
        const requestId = spec.env["HODEI_WORKER_REQUEST"] ?? "";
        const first = made.length === 0;
        const answer = first ? () => undefined : () => ({ kind: "succeeded", outputs: {} }) as const;
        const worker = new FakeWorker({ id: spec.env["WORKER_ID"] ?? "", requestId, run: answer });
        made.push(worker);
        void worker.connect(cluster.nodes.at(-1)!.channel);
      };
      const before = await fleet({ warm: 1, deleteOnStop: false }, platform);
      cluster.register("one", { steps: { a: run() } });
      await cluster.start("x1", "one");
      while (made.length === 0) await systemClock.sleep(5);
      await made[0]!.until(() => made[0]!.running.size === 1);
      const [uid = ""] = platform.pods.keys();
      await before.engine.stop();
      if (when.startsWith("while")) platform.end(uid);
      const after = await cluster.engine("e1", { platform, fleet: { template, warm: 1, maxEphemeral: 0 } });
      cluster.nodes.shift();
      await before.channel.close();
      await before.server.stop(0);
      await cluster.assign(new Map([[after, all()]]));
      platform.end(uid);
      const events = await cluster.ended("x1");
      const ends = events.flatMap((event) => (event.type === "attemptEnded" ? [event.outcome.kind] : []));
      expect(ends).toEqual(["lost", "succeeded"]);
    },
  );

  it("ends its workers while another engine, to which one is connected, still takes what that one finishes", async () => {
    const platform = new TestPlatform();
    const made: FakeWorker[] = [];
    const gate = Promise.withResolvers<Outcome>();
    platform.onCreate = (spec) => {
      const worker = new FakeWorker({ id: spec.env["WORKER_ID"] ?? "", run: () => gate.promise });
      made.push(worker);
    };
    const deletePod = platform.delete.bind(platform);
    // As SIGTERM does: it goes when its job is over and handed in.
    platform.delete = async (request) => {
      gate.resolve({ kind: "succeeded", outputs: {} });
      await made[0]!.until(() => made[0]!.acked.length > 0);
      await deletePod(request);
    };
    const maker = await fleet({ warm: 1 }, platform);
    const other = await cluster.engine("e2");
    while (made.length === 0) await systemClock.sleep(5);
    await made[0]!.connect(other.channel);
    cluster.register("pair", { steps: { a: run(), b: run({ needs: ["a"] }) } });
    await cluster.start("x1", "pair");
    await made[0]!.until(() => made[0]!.running.size === 1);
    await Promise.all([maker.engine.endWorkers(), other.engine.endWorkers()]);
    await Promise.all([maker.engine.stop(), other.engine.stop()]);
    const events = await cluster.history("x1");
    const ends = events.flatMap((event) => (event.type === "attemptEnded" ? [event.outcome.kind] : []));
    expect(ends).toEqual(["succeeded"]);
    expect(made[0]!.assigned).toHaveLength(1);
  });

  it("takes what a worker brings that comes back while the workers are ended", async () => {
    const platform = new TestPlatform();
    const made: FakeWorker[] = [];
    const gate = Promise.withResolvers<Outcome>();
    platform.onCreate = (spec) => {
      made.push(new FakeWorker({ id: spec.env["WORKER_ID"] ?? "", run: () => gate.promise }));
      void made[0]!.connect(cluster.nodes[0]!.channel);
    };
    const deletePod = platform.delete.bind(platform);
    platform.delete = async (request) => {
      await made[0]!.connect(cluster.nodes[0]!.channel);
      await made[0]!.until(() => made[0]!.acked.length > 0);
      await deletePod(request);
    };
    const node = await fleet({ warm: 1 }, platform);
    cluster.register("one", { steps: { a: run() } });
    await cluster.start("x1", "one");
    while (made.length === 0) await systemClock.sleep(5);
    await made[0]!.until(() => made[0]!.running.size === 1);
    made[0]!.close();
    gate.resolve({ kind: "succeeded", outputs: {} });
    await node.engine.endWorkers();
    const events = await cluster.history("x1");
    expect(events.at(-1)).toMatchObject({ type: "executionEnded", state: "succeeded" });
  });

  it("takes over the workers of an engine that it inherits from, and ends them with its own", async () => {
    const platform = new TestPlatform();
    const workers = inhabit(platform, () => cluster.nodes[0]!);
    const before = await fleet({ warm: 1, deleteOnStop: false }, platform);
    while (workers.length === 0) await systemClock.sleep(5);
    await before.engine.stop();
    const options = { template, warm: 0, maxEphemeral: 0, inherits: (engine: string) => engine === "e1" };
    const stranger = await cluster.engine("e2", { platform, fleet: { ...options, inherits: () => false } });
    await stranger.engine.stop();
    expect(platform.deleted).toEqual([]);
    const heir = await cluster.engine("e3", { platform, fleet: options });
    const [uid] = platform.pods.keys();
    await heir.engine.stop();
    expect(platform.deleted).toEqual([uid]);
    expect(await cluster.store.workerRequests.list({ open: true })).toEqual([]);
  });
});
