import { afterEach, describe, expect, it } from "vitest";
import { HodeiError } from "../../workflow/errors.ts";
import { LOAD_CAP } from "../../orchestrator/ring.ts";
import { eventually, type Fleet, SHARDS, startFleet } from "./fleet.ts";

let fleet: Fleet;
afterEach(() => fleet.stop());

const owners = async (): Promise<Map<string, number>> => {
  const load = new Map<string, number>();
  for (const { owner } of await fleet.store.shards()) if (owner) load.set(owner, (load.get(owner) ?? 0) + 1);
  return load;
};
const ownedBy = async (...names: string[]): Promise<boolean> => {
  const load = await owners();
  const all = [...load.values()].reduce((sum, count) => sum + count, 0) === SHARDS;
  return all && [...load.keys()].sort().join() === names.sort().join();
};
const GREET = `
apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: greet, version: 1.0.0 }
spec: { steps: { hello: { run: echo hello } } }
`;
const greet = (id: string) => ({ id, workflow: "greet", range: "", inputJson: "{}", labels: {} });

describe("the assignment of shards", () => {
  it("gives every shard to one of the engines, none of them beyond the cap", async () => {
    fleet = await startFleet(3);
    const load = await owners();
    expect([...load.keys()].sort()).toEqual(["engine-1", "engine-2", "engine-3"]);
    expect(Math.max(...load.values())).toBeLessThanOrEqual((LOAD_CAP * SHARDS) / 3);
  });

  it("moves shards to an engine that joins, and raises the generation", async () => {
    fleet = await startFleet(2);
    const before = fleet.engines[0]?.generations.at(-1) ?? 0;
    const joined = await fleet.join("engine-3");
    await eventually(() => ownedBy("engine-1", "engine-2", "engine-3"));
    expect(joined.generations.at(-1)).toBeGreaterThan(before);
    expect(fleet.engines[0]?.generations).toEqual(fleet.engines[0]?.generations.toSorted((a, b) => a - b));
  });

  it("replaces an engine that died at once, long before its lease of a minute ends", async () => {
    fleet = await startFleet(3);
    await fleet.engines[1]?.die();
    await eventually(() => ownedBy("engine-1", "engine-3"));
    expect(fleet.discovery.current()).toHaveLength(3);
  });

  it("keeps the engines when discovery finds none all of a sudden", async () => {
    fleet = await startFleet(2);
    fleet.discovery.set([]);
    const { engines } = await fleet.client().call("cluster", "engines", {});
    expect(engines.map(({ name, state }) => `${name} ${state}`)).toEqual(["engine-1 ready", "engine-2 ready"]);
    expect(await ownedBy("engine-1", "engine-2")).toBe(true);
  });

  it("takes the shards from an engine that discovery does not list any more", async () => {
    fleet = await startFleet(3);
    fleet.discovery.set(fleet.engines.slice(0, 2));
    await eventually(() => ownedBy("engine-1", "engine-2"));
    expect(fleet.engines[2]?.owned()).toEqual([]);
  });

  it("moves everything away from an engine that is drained", async () => {
    fleet = await startFleet(3);
    await fleet.client().call("cluster", "drainEngine", { name: "engine-2" });
    await eventually(() => ownedBy("engine-1", "engine-3"));
    const { engines } = await fleet.client().call("cluster", "engines", {});
    expect(engines.find(({ name }) => name === "engine-2")?.state).toBe("draining");
  });

  it("names the engines there are when another is to be drained", async () => {
    fleet = await startFleet(1);
    const drained = fleet.client().call("cluster", "drainEngine", { name: "engin-1" });
    await expect(drained).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining('did you mean "engine-1"'),
    });
  });

  it("is taken over by another orchestrator when the leader stops", async () => {
    fleet = await startFleet(2);
    const second = fleet.another({ name: "second" });
    await second.start();
    await fleet.orchestrator.stop();
    const joined = await fleet.join("engine-3");
    await eventually(() => ownedBy("engine-1", "engine-2", "engine-3"));
    expect(joined.generations.length).toBeGreaterThan(0);
  });
});

describe("routing", () => {
  it("starts each execution on the engine that owns its shard", async () => {
    fleet = await startFleet(3);
    const client = fleet.client();
    await client.call("workflow", "register", { source: GREET });
    await Promise.all(Array.from({ length: 30 }, (_, n) => client.call("execution", "start", greet(`run-${n}`))));
    for (const engine of fleet.engines) expect(engine.starts.length).toBeGreaterThan(0);
    const started = fleet.engines.flatMap((engine) => engine.starts.map(({ id }) => id));
    expect(started).toHaveLength(30);
  });

  it("waits out the move of a shard: starts during an engine's death all succeed", async () => {
    fleet = await startFleet(3);
    const client = fleet.client();
    await client.call("workflow", "register", { source: GREET });
    const starts = Array.from({ length: 30 }, (_, n) => client.call("execution", "start", greet(`run-${n}`)));
    await fleet.engines[0]?.die();
    const more = Array.from({ length: 30 }, (_, n) => client.call("execution", "start", greet(`more-${n}`)));
    expect(await Promise.all([...starts, ...more])).toHaveLength(60);
  });

  it("follows the hint of an engine that is not the owner any more", async () => {
    fleet = await startFleet(2);
    const client = fleet.client();
    await client.call("workflow", "register", { source: GREET });
    await client.call("execution", "start", greet("warm-up"));
    const [one, two] = fleet.engines;
    const owner = one?.starts.length === 1 ? one : two;
    const other = owner === one ? two : one;
    if (!owner || !other) throw new Error("two engines were started");
    const hint = new HodeiError("NOT_OWNER", "moved", { facts: { owner: other.address } });
    owner.refuse = hint;
    other.refuse = new HodeiError("PERMISSION_DENIED", "the other engine was called");
    await expect(client.call("execution", "pause", { id: "warm-up", messageId: "" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  it("says within the deadline that no engine owns the shard, and that repeating is safe", async () => {
    fleet = await startFleet(0);
    const client = fleet.client();
    await client.call("workflow", "register", { source: GREET });
    const start = client.call("execution", "start", greet("lonely"), { deadlineMs: 400 });
    await expect(start).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("no engine owns it now"),
      hint: expect.stringContaining("same id"),
    });
  });
});
