import { describe, expect, it } from "vitest";
import type { Workload } from "./run.ts";
import { runSeed, type Scripted } from "./world.ts";

/** Bugs that seeds have found, each as the shortest script that shows it. */
describe("what the simulator found", () => {
  it("an engine that came back after its host had vanished gets shards again", async () => {
    let owners: (string | undefined)[] = [];
    await scripted(async ({ cluster, faults, advance }) => {
      await advance(2_000);
      // Nobody is told that the first process is gone: the orchestrator's event stream stays half open.
      faults.crash("engine-1", { backMs: 70, silently: true });
      await advance(3_000);
      faults.crash("engine-1", { backMs: 2_000 });
      await advance(20_000);
      owners = (await cluster.bareStore.store.shards()).map(({ owner }) => owner);
    });
    expect(owners).toEqual(Array.from({ length: 4 }, () => "engine-1"));
  });
});

const IDLE: Workload = { words: [], handlers: () => new Map(), run: async () => undefined };
const SMALL = { orchestrators: 1, engines: 1, workers: [], shards: 4, hosts: 1, skewMs: 0, drift: 0 };

async function scripted(script: (scripted: Scripted) => Promise<void>): Promise<void> {
  const result = await runSeed(1, { workload: () => IDLE, shape: { ...SMALL, fleet: undefined }, script });
  expect(result.violations).toEqual([]);
}
