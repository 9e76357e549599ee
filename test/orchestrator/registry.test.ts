import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ANONYMOUS, type Channel } from "../../transport/transport.ts";
import { type Fleet, startFleet } from "./fleet.ts";

let fleet: Fleet;
let client: Channel;
beforeEach(async () => {
  fleet = await startFleet(1);
  client = fleet.client();
});
afterEach(() => fleet.stop());

type Shape = { input?: object; output?: object; steps?: object };

const source = (name: string, version: string, shape: Shape = {}): string =>
  JSON.stringify({
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name, version },
    spec: { steps: { work: { run: "true" } }, ...shape },
  });
const calling = (range: string) => ({ steps: { call: { workflow: range } } });
const publish = (name: string, version: string, shape: Shape = {}) =>
  client.call("workflow", "register", { source: source(name, version, shape) });
const plan = (name: string, version: string, shape: Shape = {}) =>
  client.call("workflow", "plan", { source: source(name, version, shape) });
const who = (required: string[] = []) => ({
  input: { type: "object", required, properties: { who: { type: "string" } } },
});

describe("register", () => {
  it("publishes once: the same version and content again is answered as the first time", async () => {
    const first = await publish("lib", "1.0.0");
    const again = await publish("lib", "1.0.0");
    expect(first.created).toBe(true);
    expect(again).toEqual({ ...first, created: false });
  });

  it("refuses another content under a published version, and lists what is published", async () => {
    await publish("lib", "1.0.0");
    await expect(publish("lib", "1.0.0", { steps: { work: { run: "false" } } })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      message: expect.stringContaining("lib@1.0.0 is published already"),
      hint: expect.stringContaining("published is 1.0.0"),
    });
  });

  it("is judged anew when a version was deleted between the list and its text", async () => {
    await publish("lib", "1.0.0");
    const { registry } = fleet.store;
    const body = registry.body.bind(registry);
    registry.body = async (request) => {
      registry.body = body;
      await client.call("workflow", "delete", { name: "lib", version: "1.0.0" });
      return await body(request);
    };
    // Another orchestrator, which has no text in its memory.
    const { workflow } = fleet.another({ name: "second" }).services;
    const context = { signal: new AbortController().signal, peer: "", identity: ANONYMOUS };
    const answer = await workflow.register({ source: source("lib", "1.0.1") }, context);
    expect(answer).toMatchObject({ version: "1.0.1", created: true });
  });

  it("lets 1.4.3 follow 1.5.0, but not 1.4.4", async () => {
    for (const version of ["1.4.2", "1.5.0", "1.4.3", "1.4.4"]) await publish("lib", version);
    await expect(publish("lib", "1.4.1")).rejects.toMatchObject({ code: "VERSION_NOT_NEWER" });
  });

  it("refuses an under-bumped version with each reason and where it is", async () => {
    await publish("lib", "1.0.0", who());
    await expect(publish("lib", "1.0.1", who(["who"]))).rejects.toMatchObject({
      code: "VERSION_UNDER_BUMPED",
      message: expect.stringContaining("it needs a major one"),
      violations: [{ path: expect.stringContaining("input"), message: expect.stringContaining("needs major") }],
    });
    expect(await publish("lib", "2.0.0", who(["who"]))).toMatchObject({ created: true });
  });

  it("refuses a sub-workflow that nothing published satisfies, and names the step", async () => {
    await publish("lib", "1.0.0");
    await expect(publish("app", "1.0.0", calling("lib@^2"))).rejects.toMatchObject({
      code: "NO_SUCH_VERSION",
      violations: [{ path: "spec.steps.call", message: expect.stringContaining('no version of "lib" fits "^2"') }],
    });
    await expect(publish("app", "1.0.0", calling("lob@^1"))).rejects.toMatchObject({
      violations: [{ message: expect.stringContaining('did you mean "lib"') }],
    });
  });

  it("accepts a workflow that calls itself", async () => {
    expect(await publish("loop", "1.0.0", calling("loop@^1"))).toMatchObject({ created: true });
  });

  it("refuses a version that a dependent's range accepts and that breaks it", async () => {
    await publish("lib", "1.0.0", who());
    await publish("careful", "1.0.0", calling("lib@^1"));
    await publish("open", "1.0.0", calling("lib@>=1"));
    await expect(publish("lib", "2.0.0", who(["who"]))).rejects.toMatchObject({
      code: "DEPENDENT_BROKEN",
      message: expect.stringContaining("would break open@1.0.0"),
      violations: [{ path: "open@1.0.0", message: 'asks for ">=1", which would now mean 2.0.0' }],
    });
  });

  it("accepts a major version whose callers see no difference", async () => {
    await publish("lib", "1.0.0", { steps: { work: { run: "true" }, extra: { run: "true" } } });
    await publish("open", "1.0.0", calling("lib@>=1"));
    expect(await publish("lib", "2.0.0")).toMatchObject({ created: true });
  });

  it("accepts a patch of an old line that a wide range accepts but does not choose", async () => {
    await publish("lib", "1.0.0");
    await publish("lib", "2.0.0", { output: { more: 1 } });
    await publish("open", "1.0.0", calling("lib@>=1"));
    expect(await plan("lib", "1.0.1")).toMatchObject({
      action: "create",
      dependents: [{ name: "open", accepts: true, breaks: false }],
    });
  });

  it("settles concurrent publishers: each version is there once", async () => {
    const versions = Array.from({ length: 8 }, (_, minor) => `1.${minor}.0`);
    await Promise.all(versions.map((version) => publish("lib", version)));
    const { workflows } = await client.call("workflow", "list", {});
    expect(workflows[0]?.versions.map(({ version }) => version)).toEqual(versions.toReversed());
  });

  it("keeps namespaces apart", async () => {
    await publish("lib", "1.0.0");
    const other = await fleet.client("other").call("workflow", "list", {});
    expect(other.workflows).toEqual([]);
  });
});

describe("plan", () => {
  it("shows the needed bump, its reasons and the dependents without publishing", async () => {
    await publish("lib", "1.0.0", who());
    await publish("open", "1.0.0", calling("lib@>=1"));
    const planned = await plan("lib", "1.0.1", who(["who"]));
    expect(planned).toMatchObject({
      action: "refused",
      previousVersion: "1.0.0",
      requiredBump: "major",
      actualBump: "patch",
      changes: [{ bump: "major" }],
      dependents: [{ name: "open", range: ">=1", accepts: true, breaks: true }],
    });
    expect(planned.refusals.length).toBe(2);
    expect((await client.call("workflow", "list", {})).workflows[1]?.versions ?? []).toHaveLength(1);
  });

  it("says create for what would be new and unchanged for what is published", async () => {
    expect(await plan("lib", "1.0.0")).toMatchObject({ action: "create", requiredBump: "none" });
    await publish("lib", "1.0.0");
    expect(await plan("lib", "1.0.0")).toMatchObject({ action: "unchanged", refusals: [] });
  });
});

describe("channels", () => {
  it("point where they are promoted to, and back", async () => {
    await publish("lib", "1.0.0");
    await publish("lib", "1.1.0");
    const promote = (version: string) =>
      client.call("workflow", "promote", { name: "lib", version, channel: "stable" });
    expect(await promote("1.0.0")).toEqual({});
    expect(await promote("1.1.0")).toEqual({ previousVersion: "1.0.0" });
    expect(await promote("1.0.0")).toEqual({ previousVersion: "1.1.0" });
    expect(await client.call("workflow", "get", { name: "lib" })).toMatchObject({
      version: "1.0.0",
      channels: ["stable"],
    });
  });

  it("cannot be named like a version, nor point at one that is not there", async () => {
    await publish("lib", "1.0.0");
    const promote = (version: string, channel: string) =>
      client.call("workflow", "promote", { name: "lib", version, channel });
    await expect(promote("1.0.0", "1.x")).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "channel" });
    await expect(promote("3.0.0", "stable")).rejects.toMatchObject({ code: "NO_SUCH_VERSION" });
  });
});

describe("delete", () => {
  const remove = (name: string, version: string) => client.call("workflow", "delete", { name, version });

  it("names dependents, channels and open executions that still need the version", async () => {
    await publish("lib", "1.0.0");
    await publish("app", "1.0.0", calling("lib@^1"));
    await client.call("workflow", "promote", { name: "lib", version: "1.0.0", channel: "stable" });
    await client.call("execution", "start", { id: "open", workflow: "app", range: "", inputJson: "", labels: {} });
    await client.call("execution", "pause", { id: "open", messageId: "p" });
    await expect(remove("lib", "1.0.0")).rejects.toMatchObject({
      code: "STILL_NEEDED",
      message: expect.stringContaining("1 dependent, 1 channel, 1 open execution"),
      violations: [
        { path: "workflow app@1.0.0", message: 'depends on "^1", which would match nothing' },
        { path: "channel stable" },
        { path: "execution open", message: "of app is paused and holds it" },
      ],
    });
  });

  it("lets go of a version whose dependents have another to match", async () => {
    await publish("lib", "1.0.0");
    await publish("lib", "1.1.0");
    await publish("app", "1.0.0", calling("lib@^1"));
    expect(await remove("lib", "1.0.0")).toEqual({});
    await expect(remove("lib", "1.1.0")).rejects.toMatchObject({ code: "STILL_NEEDED" });
    await expect(remove("lib", "1.0.0")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
