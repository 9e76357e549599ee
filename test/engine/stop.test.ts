import { afterEach, describe, expect, it } from "vitest";
import type { Platform, Pod } from "../../platform/platform.ts";
import { LIMITS } from "../../workflow/limits.ts";
import { Cluster, FakeWorker, GIB } from "./harness.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const total = { cpuMillis: 64_000, memoryBytes: 256 * GIB, gpu: 0, storageBytes: 256 * GIB };
const nothing = { handlers: [], services: [], hardware: {}, models: {}, custom: {} };
const offer = { labels: ["linux"], ...nothing, ephemeral: false, namespace: "*", total };
const warm = { template: { id: "local", offer, slots: 4, env: {} }, warm: 1, maxEphemeral: 0 };

/** One pod at a time, in which lives a worker that never ends its jobs; deleting the pod kills it where it stands. */
class OnePod implements Platform {
  readonly name = "process";
  readonly worker = Promise.withResolvers<FakeWorker>();
  #pod: Pod | undefined;
  readonly #watchers = new Set<(pod: Pod) => void>();

  async create({ name, request, labels, env }: Parameters<Platform["create"]>[0]): Promise<Pod> {
    this.#pod = { name, uid: `uid-${name}`, request, labels, createdAtMs: 0, phase: "running" };
    this.worker.resolve(new FakeWorker({ id: env["WORKER_ID"] ?? "", requestId: request, run: () => undefined }));
    return this.#pod;
  }
  async list(): Promise<Pod[]> {
    return this.#pod === undefined ? [] : [this.#pod];
  }
  async delete(): Promise<void> {
    const pod = this.#pod;
    this.#pod = undefined;
    (await this.worker.promise).close();
    if (pod !== undefined) for (const watcher of this.#watchers) watcher({ ...pod, phase: "gone" });
  }
  watch(onChange: (pod: Pod) => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }
  async logs(): Promise<string> {
    return "";
  }
}

describe("an engine that is stopped while its workers run jobs", () => {
  it("has said before it ends that they are lost, at nobody's expense, however often that happens", async () => {
    cluster = new Cluster();
    cluster.register("long", { steps: { a: { run: "sleep 1000" } } });
    const lives = LIMITS.infrastructureAttempts + 2;
    for (let life = 1; life <= lives; life++) {
      const platform = new OnePod();
      const node = await cluster.engine("e1", { platform, fleet: warm });
      await cluster.assign();
      if (life === 1) await cluster.start("x1", "long");
      const worker = await platform.worker.promise;
      await worker.connect(node.channel);
      // Soon: what the last life had not said would be known only 45 s after it.
      await worker.until(() => worker.assigned.some(({ attempt }) => attempt === life));
      await node.engine.stop();
      cluster.nodes.splice(0);
    }
    const ends = (await cluster.history("x1")).flatMap((event) => (event.type === "attemptEnded" ? event.outcome : []));
    expect(ends.length).toBeGreaterThanOrEqual(lives - 1);
    for (const outcome of ends) expect(outcome).toMatchObject({ kind: "lost", spends: false });
  });
});
