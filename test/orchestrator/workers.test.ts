import { afterEach, describe, expect, it } from "vitest";
import type { WorkerView } from "../../transport/api/cluster.ts";
import type { TemplateView } from "../../transport/api/template.ts";
import { type Fleet, startFleet } from "./fleet.ts";

let fleet: Fleet;
afterEach(() => fleet.stop());

const worker = (id: string, namespace = "default"): WorkerView => ({
  id,
  name: id,
  engine: "engine-1",
  pid: 1,
  host: "here",
  state: "available",
  labels: [],
  handlers: [],
  ephemeral: false,
  slots: 1,
  namespace,
  jobs: [],
  cpuPercent: 0,
  memoryBytes: 0,
  connectedAtMs: 0,
  lastHeartbeatAtMs: 0,
});

const first = { limit: 0 };

describe("workers", () => {
  it("of all engines are listed, and one is read and drained where it is", async () => {
    fleet = await startFleet(2);
    const [one, two] = fleet.engines;
    one?.workers.push(worker("w2"));
    two?.workers.push(worker("w1"));
    const client = fleet.client();
    const { workers, unanswered } = await client.call("fleet", "list", first);
    expect(workers.map(({ id }) => id)).toEqual(["w1", "w2"]);
    expect(unanswered).toEqual([]);
    expect(await client.call("fleet", "get", { id: "w2" })).toEqual(worker("w2"));
    await client.call("fleet", "drain", { id: "w1" });
    expect([one?.drained, two?.drained]).toEqual([[], ["w1"]]);
    for (const method of ["get", "drain"] as const)
      await expect(client.call("fleet", method, { id: "w11" })).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: expect.stringContaining('did you mean "w1"'),
      });
  });

  it("come in pages that workers which come and go do not move", async () => {
    fleet = await startFleet(1);
    const [engine] = fleet.engines;
    engine?.workers.push(...["a", "b", "c", "d"].map((id) => worker(id)));
    const client = fleet.client();
    const { workers, nextPage } = await client.call("fleet", "list", { limit: 2 });
    expect([workers.map(({ id }) => id), nextPage]).toEqual([["a", "b"], "b"]);
    engine?.workers.shift();
    const rest = await client.call("fleet", "list", { limit: 2, page: "b" });
    expect(rest.workers.map(({ id }) => id)).toEqual(["c", "d"]);
    expect(rest.nextPage).toBeUndefined();
    await expect(client.call("fleet", "list", { limit: -1 })).rejects.toMatchObject({ field: "limit" });
  });

  it("of an engine that does not answer are told to be missing", async () => {
    fleet = await startFleet(2);
    fleet.engines[0]?.workers.push(worker("w1"));
    await fleet.engines[1]?.die();
    const client = fleet.client();
    expect(await client.call("fleet", "list", first)).toMatchObject({
      workers: [{ id: "w1" }],
      unanswered: ["engine-2"],
    });
    await expect(client.call("fleet", "get", { id: "w2" })).rejects.toMatchObject({
      message: expect.stringContaining("engine-2 did not answer"),
    });
  });

  it("and jobs of another namespace are not shown, and not drained", async () => {
    fleet = await startFleet(1);
    const jobs = ["blue/x/a/0#1", "red/y/a/0#1"];
    fleet.engines[0]?.workers.push(worker("w1", "blue"), worker("w2", "red"), { ...worker("w3", "*"), jobs });
    const red = fleet.client("red");
    const { workers } = await red.call("fleet", "list", first);
    expect(workers).toMatchObject([{ id: "w2" }, { id: "w3", jobs: ["red/y/a/0#1"] }]);
    await expect(red.call("fleet", "drain", { id: "w1" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(fleet.engines[0]?.drained).toEqual([]);
  });
});

const template = (id: string, engine: string, namespace = "default"): TemplateView => ({
  id,
  origin: "local",
  environment: {},
  maxConcurrentJobs: 5,
  timeouts: { registerMs: 1, idleMs: 2, stopMs: 3 },
  offer: {
    labels: ["linux"],
    handlers: [],
    services: [],
    hardware: {},
    models: {},
    custom: {},
    ephemeral: false,
    namespace,
    total: { cpuMillis: 1000, memoryBytes: 1, gpu: 0, storageBytes: 0 },
  },
  engines: [engine],
});

describe("templates", () => {
  it("are those that the engines have, each once, of the caller's namespace", async () => {
    fleet = await startFleet(3);
    const [one, two, three] = fleet.engines;
    one?.templates.push(template("local", "engine-1"), template("hidden", "engine-1", "blue"));
    two?.templates.push(template("local", "engine-2"));
    await three?.die();
    const client = fleet.client();
    const both = { ...template("local", "engine-1"), engines: ["engine-1", "engine-2"] };
    expect(await client.call("template", "list", {})).toEqual({ templates: [both], unanswered: ["engine-3"] });
    expect(await client.call("template", "get", { id: "local" })).toEqual(both);
    for (const id of ["hidden", "loca"])
      await expect(client.call("template", "get", { id })).rejects.toMatchObject({ code: "NOT_FOUND", field: "id" });
  });
});
