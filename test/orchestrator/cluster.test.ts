import { afterEach, expect, it } from "vitest";
import type { ClusterEvent } from "../../transport/api/cluster.ts";
import { eventually, type Fleet, SHARDS, startFleet } from "./fleet.ts";

let fleet: Fleet;
afterEach(() => fleet.stop());

it("shows an engine that does not answer as unreachable, with what its session tells", async () => {
  fleet = await startFleet(2);
  await fleet.engines[1]?.die();
  const { engines } = await fleet.client().call("cluster", "engines", {});
  expect(engines).toMatchObject([
    { name: "engine-1", state: "ready", version: "test" },
    { name: "engine-2", state: "unreachable" },
  ]);
});

it("shows every shard with its owner and epoch", async () => {
  fleet = await startFleet(2);
  const { shards } = await fleet.client().call("cluster", "shards", {});
  expect(shards).toHaveLength(SHARDS);
  expect(shards.every(({ owner, epoch }) => owner.startsWith("engine-") && epoch === 1)).toBe(true);
});

it("merges what the engines report with what happens to them", async () => {
  fleet = await startFleet(2);
  const stop = new AbortController();
  const seen: ClusterEvent[] = [];
  const filter = { minSeverity: "info", kinds: ["WorkerConnected", "EngineLost"] } as const;
  const events = fleet.client().stream("cluster", "watchEvents", { ...filter, kinds: [...filter.kinds] }, stop);
  const reading = (async () => {
    for await (const event of events) seen.push(event);
  })().catch((error: unknown) => error);
  const report = (message: string): void => {
    const facts = {};
    const severity = "info";
    fleet.engines[0]?.report({
      atMs: 1,
      kind: "WorkerConnected",
      severity,
      message,
      engine: "engine-1",
      facts,
      missed: 0,
    });
  };
  // Live from the moment it is subscribed, which a stream does not tell: reported until it is heard.
  await eventually(() => {
    report("hello");
    return seen.length > 0;
  });
  await fleet.engines[1]?.die();
  await eventually(() => seen.some(({ kind }) => kind === "EngineLost"));
  expect(seen[0]).toMatchObject({ kind: "WorkerConnected", message: "hello", engine: "engine-1" });
  expect(seen.find(({ kind }) => kind === "EngineLost")).toMatchObject({ engine: "engine-2", severity: "error" });
  stop.abort();
  expect(await reading).toMatchObject({ code: "CANCELLED" });
});

it("refuses a severity that is none", async () => {
  fleet = await startFleet(1);
  const filter = JSON.parse('{"minSeverity":"loud","kinds":[]}') as { minSeverity: "info"; kinds: string[] };
  const events = fleet.client().stream("cluster", "watchEvents", filter);
  await expect(events[Symbol.asyncIterator]().next()).rejects.toMatchObject({ field: "minSeverity" });
});

it("tells what it is", async () => {
  fleet = await startFleet(1, { storeName: "memory" });
  expect(await fleet.client().call("cluster", "info", {})).toMatchObject({
    version: "test",
    shards: SHARDS,
    store: "memory",
  });
});
