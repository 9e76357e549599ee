import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StartRequest } from "../../transport/api/execution.ts";
import type { Channel } from "../../transport/transport.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { LIMITS } from "../../workflow/limits.ts";
import { type Fleet, startFleet } from "./fleet.ts";

let fleet: Fleet;
let client: Channel;
beforeEach(async () => {
  fleet = await startFleet(2);
  client = fleet.client();
});
afterEach(() => fleet.stop());

const publish = (name: string, version: string, spec: object = {}) =>
  client.call("workflow", "register", {
    source: JSON.stringify({
      apiVersion: "hodei.dev/v1",
      kind: "Workflow",
      metadata: { name, version },
      spec: { steps: { work: { run: "true" } }, ...spec },
    }),
  });
const WHO = {
  input: {
    type: "object",
    required: ["who"],
    properties: { who: { type: "string" }, times: { type: "integer", default: 2 } },
    additionalProperties: false,
  },
};
const request = (over: Partial<StartRequest> = {}): StartRequest => ({
  id: "one",
  workflow: "greet",
  range: "",
  inputJson: '{"who":"sea"}',
  labels: {},
  ...over,
});
const start = (over: Partial<StartRequest> = {}) => client.call("execution", "start", request(over));
const allStarts = () => fleet.engines.flatMap((engine) => engine.starts);

describe("start", () => {
  it.each([
    ["", "INVALID_ARGUMENT", "has no id"],
    ["a/b", "INVALID_ARGUMENT", 'holds "/", which is reserved'],
    ["a{b}", "INVALID_ARGUMENT", 'holds "{", which is reserved'],
    ["two words", "INVALID_ARGUMENT", "is not allowed"],
    ["x".repeat(129), "TOO_LARGE", "the bound is 128"],
  ])("refuses the id %j", async (id, code, message) => {
    await expect(start({ id })).rejects.toMatchObject({ code, message: expect.stringContaining(message), field: "id" });
  });

  it("fills defaults in and hands over everything locked", async () => {
    await publish("lib", "1.2.0");
    await publish("greet", "1.0.0", { ...WHO, steps: { call: { workflow: "lib@^1" } } });
    const started = await start();
    expect(started).toMatchObject({ id: "one", workflow: "greet", version: "1.0.0", created: true });
    const [handed] = allStarts();
    expect(JSON.parse(handed?.inputJson ?? "")).toEqual({ who: "sea", times: 2 });
    expect(JSON.parse(handed?.lockJson ?? "")).toMatchObject({ entries: { "lib ^1": { version: "1.2.0" } } });
    expect(Object.keys(handed?.definitions ?? {})).toHaveLength(2);
  });

  it("refuses an input that the schema refuses, with every path", async () => {
    await publish("greet", "1.0.0", WHO);
    await expect(start({ inputJson: '{"times":"x","why":1}' })).rejects.toMatchObject({
      code: "INVALID_INPUT",
      message: expect.stringContaining("greet@1.0.0"),
      violations: expect.arrayContaining([
        { path: "input.who", message: "is required" },
        { path: "input.times", message: expect.stringContaining("integer") },
      ]),
    });
    await expect(start({ inputJson: "[1]" })).rejects.toMatchObject({ code: "INVALID_INPUT", field: "input" });
    await expect(start({ inputJson: "{who" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "inputJson" });
    const inputJson = JSON.stringify({ who: "x".repeat(LIMITS.inputBytes) });
    await expect(start({ inputJson })).rejects.toMatchObject({ code: "TOO_LARGE", field: "inputJson" });
  });

  it("answers the same execution to the same request, and refuses the id to another one", async () => {
    await publish("greet", "1.0.0", WHO);
    const first = await start();
    expect(await start({ inputJson: ' { "who" : "sea" } ' })).toEqual({ ...first, created: false });
    await expect(start({ inputJson: '{"who":"sky"}' })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    await expect(start({ labels: { a: "b" } })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  });

  it("answers the same execution even when the default has moved to a version that refuses the input", async () => {
    await publish("greet", "1.0.0", WHO);
    const first = await start();
    await publish("greet", "2.0.0", {
      input: {
        ...WHO.input,
        required: ["who", "why"],
        properties: { ...WHO.input.properties, why: { type: "string" } },
      },
    });
    expect(await start()).toEqual({ ...first, created: false });
    await expect(start({ id: "two" })).rejects.toMatchObject({ code: "INVALID_INPUT" });
  });

  it("follows exact versions, ranges and channels, and says what there is when nothing fits", async () => {
    await publish("greet", "1.0.0");
    await publish("greet", "1.1.0");
    await client.call("workflow", "promote", { name: "greet", version: "1.0.0", channel: "stable" });
    const version = async (id: string, range: string) => (await start({ id, range })).version;
    expect(await version("a", "")).toBe("1.0.0");
    expect(await version("b", "^1")).toBe("1.1.0");
    expect(await version("c", "stable")).toBe("1.0.0");
    expect(await version("d", "1.1.0")).toBe("1.1.0");
    await expect(version("e", "^2")).rejects.toMatchObject({
      code: "NO_SUCH_VERSION",
      message: expect.stringContaining("published are 1.1.0, 1.0.0; channels stable=1.0.0"),
    });
    await expect(start({ workflow: "gret" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining('did you mean "greet"'),
    });
  });

  it("sees a promotion made through another orchestrator", async () => {
    await publish("greet", "1.0.0");
    await publish("greet", "1.1.0");
    expect((await start({ id: "before" })).version).toBe("1.1.0");
    const second = fleet.another({ name: "second" });
    await second.start();
    const context = {
      signal: new AbortController().signal,
      peer: "",
      identity: { namespace: "default", subject: "", role: "client" as const },
    };
    await second.services.workflow.promote({ name: "greet", version: "1.0.0", channel: "stable" }, context);
    expect((await start({ id: "after" })).version).toBe("1.0.0");
  });

  it("counts runs per workflow from 1", async () => {
    await publish("greet", "1.0.0");
    await start({ id: "a" });
    await start({ id: "b" });
    expect(
      allStarts()
        .map(({ runNumber }) => runNumber)
        .toSorted((a, b) => a - b),
    ).toEqual([1, 2]);
  });

  it("refuses labels and priorities that are none", async () => {
    await publish("greet", "1.0.0");
    await expect(start({ labels: { "a b": "c" } })).rejects.toMatchObject({ field: "labels.a b" });
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, ""]));
    await expect(start({ labels: many })).rejects.toMatchObject({ code: "TOO_LARGE", field: "labels" });
    const urgent = { ...request(), priority: "urgent" } as unknown;
    await expect(client.call("execution", "start", urgent as StartRequest)).rejects.toMatchObject({
      field: "priority",
    });
  });
});

describe("children", () => {
  /** A parent that calls lib, and what a parent reference to it looks like. */
  const parent = async (depth = 0) => {
    await publish("lib", "1.0.0", WHO);
    await publish("app", "1.0.0", { steps: { call: { workflow: "lib@^1" } } });
    const { uid } = await start({ id: "parent", workflow: "app" });
    const { digest } = await client.call("workflow", "get", { name: "lib", version: "1.0.0" });
    const ref = { executionId: "parent", uid, step: "call", iteration: "0", depth };
    return { ref, digest };
  };
  const child = (over: object = {}) => ({
    namespace: "default",
    id: "parent/call/0",
    workflow: "lib",
    version: "1.0.0",
    inputJson: '{"who":"sea"}',
    ...over,
  });

  it("start the version that their parent has locked, once", async () => {
    const { ref, digest } = await parent();
    await publish("lib", "1.1.0", WHO);
    await fleet.orchestrator.gateway.startChild({ ...child(), digest, parent: ref });
    await fleet.orchestrator.gateway.startChild({ ...child(), digest, parent: ref });
    const { entries } = await client.call("execution", "history", { id: "parent/call/0", afterRevision: 0, limit: 0 });
    expect(entries).toHaveLength(1);
    const event = JSON.parse(entries[0]?.eventJson ?? "") as HistoryEvent;
    expect(event).toMatchObject({
      start: { definition: { version: "1.0.0" }, input: { who: "sea", times: 2 }, parent: ref },
    });
  });

  it("still start when what their parent has locked was deleted from the registry", async () => {
    const { ref, digest } = await parent();
    const registry = await fleet.store.registry.read("default");
    const remove = { name: "lib", version: "1.0.0" };
    await fleet.store.registry.write({ opId: "x", namespace: "default", expectedRevision: registry.revision, remove });
    await fleet.orchestrator.gateway.startChild({ ...child(), digest, parent: ref });
    expect(await client.call("execution", "get", { id: "parent/call/0" })).toMatchObject({ version: "1.0.0" });
  });

  it("are refused for good with bad input, beyond the depth, or when the parent never locked them", async () => {
    const { ref, digest } = await parent();
    const { gateway } = fleet.orchestrator;
    const refused = (over: object) => gateway.startChild({ ...child(), digest, parent: ref, ...over });
    await expect(refused({ inputJson: "{}" })).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await expect(refused({ parent: { ...ref, depth: LIMITS.childDepth } })).rejects.toMatchObject({
      code: "DEPTH_EXCEEDED",
    });
    await expect(refused({ version: "9.0.0" })).rejects.toMatchObject({ code: "NO_SUCH_VERSION" });
    await expect(refused({ parent: { ...ref, uid: "gone" } })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("are counted by tree: one more than the bound is refused, a repeat is not counted", async () => {
    const { ref, digest } = await parent();
    const { gateway } = fleet.orchestrator;
    await gateway.startChild({ ...child(), digest, parent: ref });
    // The root and this child; what is left but one is counted without being run.
    for (let n = 2; n < LIMITS.treeSize - 1; n++) {
      await fleet.store.registry.nextRunNumber({ opId: `n${n}`, namespace: "default", name: `tree/${ref.uid}` });
    }
    const next = (iteration: string) =>
      gateway.startChild({ ...child({ id: `parent/call/${iteration}` }), digest, parent: { ...ref, iteration } });
    await gateway.startChild({ ...child(), digest, parent: ref });
    await next("1");
    await expect(next("2")).rejects.toMatchObject({ code: "TREE_TOO_LARGE" });
  });

  it("are to be tried again, not given up, while no engine takes them", async () => {
    const { ref, digest } = await parent();
    for (const engine of fleet.engines) await engine.die();
    const tried = fleet.orchestrator.gateway.startChild({ ...child(), digest, parent: ref });
    await expect(tried).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
