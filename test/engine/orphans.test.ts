import { expect, it } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import type { Platform, Pod } from "../../platform/platform.ts";
import { createMemoryStore } from "../../store/memory.ts";
import { noMetrics } from "../../engine/metrics.ts";
import type { FleetContext } from "../../engine/fleet/launch.ts";
import { Orphans } from "../../engine/fleet/orphans.ts";

it("deletes a pod without an open request on its second sighting, and never one that has a request", async () => {
  const clock = new ManualClock();
  const random = seededRandom(1);
  const store = createMemoryStore({ clock, random });
  await store.open({ shards: 1 });
  const engine = { name: "e", address: "h:1", pid: 1, version: "0", startedAtMs: 0 };
  const { session } = await store.openSession({ opId: "s", engine, ttlMs: 10_000 });
  const want = { id: "wanted", engine: "e", namespace: "*", template: "t" };
  await store.workerRequests.reserve({ opId: "r", session, want, maximum: 5 });

  const pod = (request: string): Pod => {
    return { name: request, uid: `uid-${request}`, request, labels: {}, createdAtMs: 0, phase: "running" };
  };
  const pods = [pod("wanted"), pod("stray")];
  const deleted: string[] = [];
  const platform: Platform = {
    name: "process",
    create: () => Promise.reject(new Error("not here")),
    list: async () => pods,
    delete: async ({ uid }) => void deleted.push(uid),
    watch: () => () => {},
    logs: async () => "",
  };
  const offer = { labels: [], handlers: [], services: [], hardware: {}, models: {}, custom: {}, ephemeral: false };
  const total = { cpuMillis: 1, memoryBytes: 1, gpu: 0, storageBytes: 0 };
  const template = { id: "t", offer: { ...offer, namespace: "*", total }, slots: 1, env: {} };
  const context: FleetContext = {
    engine: "e",
    address: () => "h:1",
    session: () => session,
    store,
    platform,
    options: { template, warm: 0, maxEphemeral: 0 },
    clock,
    random,
    logger: silentLogger,
    emit: () => {},
    metrics: noMetrics,
    members: new Map(),
  };
  const orphans = new Orphans(context);
  await orphans.sweep();
  expect(deleted).toEqual([]);
  await orphans.sweep();
  expect(deleted).toEqual(["uid-stray"]);
});
