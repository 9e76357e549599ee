import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { createEngine, type Engine } from "../../engine/engine.ts";
import { createOrchestrator, type Orchestrator } from "../../orchestrator/orchestrator.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { createStaticDiscovery } from "../../transport/discovery/static.ts";
import { createLocalNetwork, createLocalTransport } from "../../transport/local.ts";
import type { Channel, Server } from "../../transport/transport.ts";
import { eventually } from "./fleet.ts";

/** The whole cluster in one process, workers apart: what runs here needs none (sub-workflows, waits, sleeps). */
const SHARDS = 32;

type Member = { engine: Engine; server: Server };

let store: Store;
let orchestrator: Orchestrator;
let client: Channel;
let members: Member[];
let front: Server;

async function startCluster(count: number): Promise<void> {
  const clock = systemClock;
  const random = seededRandom(11);
  store = createMemoryStore({ clock, random });
  const transport = createLocalTransport({ clock, network: createLocalNetwork() });
  const discovery = createStaticDiscovery();
  orchestrator = createOrchestrator({
    store,
    transport,
    discovery,
    clock,
    random,
    logger: silentLogger,
    version: "test",
    loadBalancer: "consistent-hash",
    shards: SHARDS,
    joinDebounceMs: 0,
  });
  await orchestrator.start();
  members = [];
  for (let index = 1; index <= count; index++) {
    let address = "";
    const engine = createEngine({
      name: `engine-${index}`,
      address: () => address,
      store,
      shards: SHARDS,
      gateway: orchestrator.gateway,
      clock,
      random,
      logger: silentLogger,
      version: "test",
      pid: process.pid,
    });
    const server = await transport.serve({ address: "127.0.0.1:0", services: engine.services });
    ({ address } = server);
    await engine.start();
    members.push({ engine, server });
  }
  discovery.set(members.map(({ engine, server }) => ({ name: engine.name, address: server.address })));
  await orchestrator.ready(AbortSignal.timeout(10_000));
  front = await transport.serve({ address: "127.0.0.1:0", services: orchestrator.services });
  client = transport.connect({ address: front.address });
}

afterEach(async () => {
  await front.stop(0);
  await Promise.all(members.map(({ engine }) => engine.stop()));
  await Promise.all(members.map(({ server }) => server.stop(0)));
  await orchestrator.stop();
  await store.close();
});

const publish = (name: string, version: string, spec: object) =>
  client.call("workflow", "register", {
    source: JSON.stringify({ apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name, version }, spec }),
  });
const start = (id: string, workflow: string, input: object = {}) =>
  client.call("execution", "start", { id, workflow, range: "", inputJson: JSON.stringify(input), labels: {} });
const wait = (id: string) => client.call("execution", "wait", { id });
const ECHO = {
  input: { type: "object", required: ["n"], properties: { n: { type: "integer" } } },
  steps: { pause: { sleep: "1ms" } },
  output: { n: "${{ input.n }}" },
};
const FAN_OUT = {
  steps: { each: { forEach: [1, 2, 3, 4, 5, 6, 7, 8], workflow: "echo@^1", input: { n: "${{ item }}" } } },
  output: { sum: "${{ steps.each.iterations.map(one, one.outputs.n) }}" },
};

describe("an orchestrator before real engines", () => {
  it("runs children on other engines than their parent's, and gives their outputs back", async () => {
    await startCluster(3);
    await publish("echo", "1.0.0", ECHO);
    await publish("fan", "1.0.0", FAN_OUT);
    await start("parent", "fan");
    const parent = await wait("parent");
    expect(parent).toMatchObject({ state: "succeeded", outputJson: '{"sum":[1,2,3,4,5,6,7,8]}' });
    const { executions } = await client.call("execution", "list", {
      states: [],
      labels: {},
      parent: "parent",
      limit: 0,
    });
    expect(executions).toHaveLength(8);
    const owners = await store.shards();
    expect(new Set(executions.map(({ shard }) => owners[shard]?.owner)).size).toBeGreaterThan(1);
  });

  it("keeps a running parent on what it has locked while its child's workflow moves on", async () => {
    await startCluster(2);
    await publish("echo", "1.0.0", ECHO);
    await publish("slow", "1.0.0", {
      steps: { hold: { wait: { signal: "go" } }, call: { needs: ["hold"], workflow: "echo@^1", input: { n: 1 } } },
    });
    await start("parent", "slow");
    await publish("echo", "1.1.0", { ...ECHO, output: { ...ECHO.output, more: true } });
    await client.call("execution", "signal", { id: "parent", name: "go", payloadJson: "{}", messageId: "" });
    await wait("parent");
    expect(await client.call("execution", "get", { id: "parent/call/0" })).toMatchObject({ version: "1.0.0" });
  });

  it("fails a parent whose child was refused, saying why", async () => {
    await startCluster(2);
    await publish("echo", "1.0.0", { ...ECHO, input: { type: "object", required: ["m"] } });
    await publish("fan", "1.0.0", FAN_OUT);
    await start("parent", "fan");
    const parent = await wait("parent");
    expect(parent.state).toBe("failed");
    expect(JSON.stringify(parent.steps)).toContain("input.m is required");
  });

  it("carries on with an execution whose engine died", async () => {
    await startCluster(3);
    await publish("waits", "1.0.0", { steps: { hold: { wait: { signal: "go" } } } });
    await Promise.all(Array.from({ length: 12 }, (_, n) => start(`run-${n}`, "waits")));
    const dead = members.shift();
    await dead?.server.stop(0);
    await eventually(async () => (await store.shards()).every(({ owner }) => owner && owner !== dead?.engine.name));
    const signals = Array.from({ length: 12 }, (_, n) =>
      client.call("execution", "signal", { id: `run-${n}`, name: "go", payloadJson: "{}", messageId: `go-${n}` }),
    );
    await Promise.all(signals);
    const ended = await Promise.all(Array.from({ length: 12 }, (_, n) => wait(`run-${n}`)));
    expect(ended.map(({ state }) => state)).toEqual(Array.from({ length: 12 }, () => "succeeded"));
    await dead?.engine.stop();
  });

  it("drains an engine: its executions go on elsewhere", async () => {
    await startCluster(2);
    await publish("waits", "1.0.0", { steps: { hold: { wait: { signal: "go" } } } });
    await Promise.all(Array.from({ length: 6 }, (_, n) => start(`run-${n}`, "waits")));
    await client.call("cluster", "drainEngine", { name: "engine-1" });
    await eventually(async () => (await store.shards()).every(({ owner }) => owner === "engine-2"));
    for (let n = 0; n < 6; n++) {
      await client.call("execution", "signal", { id: `run-${n}`, name: "go", payloadJson: "{}", messageId: "" });
    }
    expect((await wait("run-5")).state).toBe("succeeded");
  });

  it("says why an execution has no job", async () => {
    await startCluster(1);
    await publish("waits", "1.0.0", { steps: { hold: { wait: { signal: "go" } } } });
    await start("one", "waits");
    const { lines } = await client.call("job", "why", { id: "one" });
    expect(lines.join("\n")).toContain("hodei signal one go");
  });

  it("reports a single job that no worker can run, and cancels it", async () => {
    await startCluster(1);
    await client.call("job", "submit", { id: "job-1", command: ["true"], label: "gpu", env: {}, labels: {} });
    const { lines } = await client.call("job", "why", { id: "job-1" });
    expect(lines.join("\n")).toContain("No connected worker can run it");
    await client.call("execution", "cancel", { id: "job-1", reason: "enough", messageId: "" });
    expect(await wait("job-1")).toMatchObject({ state: "cancelled" });
  });
});
