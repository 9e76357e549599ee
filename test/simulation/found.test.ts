import { describe, expect, it } from "vitest";
import { HodeiClient } from "../../sdk/client.ts";
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

  it("a start that is repeated after the store lost it is not answered from memory", async () => {
    let found: unknown;
    const waits = { steps: { a: { wait: { signal: "go" }, timeout: { total: "10s" } } } };
    const metadata = { name: "waits", version: "1.0.0" };
    const source = JSON.stringify({ apiVersion: "hodei.dev/v1", kind: "Workflow", metadata, spec: waits });
    const run: Workload["run"] = async (site) => {
      const client = new HodeiClient(site.client("ann"));
      await client.register(source);
      await site.clock.sleep(1_500 - site.clock.monotonic());
      await client.start("waits", {}, { id: "x1" });
      await site.clock.sleep(5_000 - site.clock.monotonic());
      await client.start("waits", {}, { id: "x1" });
      await site.clock.sleep(3_000);
    };
    await scripted(
      async ({ cluster, faults, advance }) => {
        await advance(4_950);
        // Before the engine hears of it with its next renewal.
        faults.rollBack(3_950);
        await advance(3_000);
        found = await cluster.bareStore.store.readExecution({ namespace: "default", id: "x1" });
      },
      { ...IDLE, run },
    );
    expect(found).toMatchObject({ status: "OK", head: { id: "x1" } });
  });
});

const IDLE: Workload = { words: [], handlers: () => new Map(), run: async () => undefined };
const SMALL = { orchestrators: 1, engines: 1, workers: [], shards: 4, hosts: 1, skewMs: 0, drift: 0 };

async function scripted(script: (scripted: Scripted) => Promise<void>, workload = IDLE): Promise<void> {
  const result = await runSeed(1, { workload: () => workload, shape: { ...SMALL, fleet: undefined }, script });
  expect(result.violations).toEqual([]);
}
