import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SubmitRequest } from "../../transport/api/job.ts";
import type { Channel } from "../../transport/transport.ts";
import { type Fleet, startFleet } from "./fleet.ts";
import { jobOf } from "./small-engine.ts";

let fleet: Fleet;
let client: Channel;
beforeEach(async () => {
  fleet = await startFleet(1);
  client = fleet.client();
  for (const engine of fleet.engines) engine.jobs = (handed, shard) => [jobOf(handed, shard)];
});
afterEach(() => fleet.stop());

const submit = (over: Partial<SubmitRequest> = {}) =>
  client.call("job", "submit", { id: "one", command: ["echo", "it's"], env: {}, labels: {}, ...over });

describe("submit", () => {
  it("starts an execution of one step, without publishing anything", async () => {
    const submitted = await submit({ label: "linux", cpu: "2", memory: "4Gi", env: { WHO: "${{ sea }}" } });
    expect(submitted).toEqual({ executionId: "one", jobId: "default/one/job/0#1" });
    const view = await client.call("execution", "get", { id: "one" });
    expect(view).toMatchObject({ workflow: "job", version: "0.0.0", steps: [{ id: "job" }] });
    expect(JSON.parse(view.inputJson)).toEqual({ command: ["echo", "it's"], env: { WHO: "${{ sea }}" } });
    expect((await client.call("workflow", "list", {})).workflows).toEqual([]);
  });

  it("is the same job when it is repeated, and refuses its id to another", async () => {
    const first = await submit();
    expect(await submit()).toEqual(first);
    await expect(submit({ command: ["false"] })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  });

  it.each([
    [{ command: [] }, "command"],
    [{ cpu: "two" }, "cpu"],
    [{ memory: "4 apples" }, "memory"],
    [{ label: "linux &&" }, "label"],
    [{ env: { "a-b": "" } }, "env.a-b"],
  ])("refuses %j and names the field", async (over, field) => {
    await expect(submit(over)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field });
  });
});

describe("get and list", () => {
  it("show open jobs of the caller's namespace only", async () => {
    const { jobId } = await submit();
    expect(await client.call("job", "get", { id: jobId })).toMatchObject({ id: jobId, state: "queued", step: "job" });
    expect((await client.call("job", "list", { limit: 0 })).jobs).toHaveLength(1);
    const other = fleet.client("other");
    expect((await other.call("job", "list", { limit: 0 })).jobs).toEqual([]);
    await expect(other.call("job", "get", { id: jobId })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("why", () => {
  const why = async (id: string) => (await client.call("job", "why", { id })).lines.join("\n");

  it("tells that no worker is there, and what stands before the job", async () => {
    const { jobId } = await submit({ label: "linux" });
    await submit({ id: "two", label: "linux" });
    expect(await why(jobId)).toContain("Engine engine-1 owns it");
    expect(await why(jobId)).toContain("No connected worker can run it");
    expect(await why(jobId)).toContain("0 jobs go before it");
    expect(await why("two")).toContain("1 job goes before it");
  });

  it("tells the clause that the nearest worker does not meet", async () => {
    await submit({ label: "gpu" });
    const [engine] = fleet.engines;
    expect((await engine?.claim(["linux"]))?.assignment).toBeUndefined();
    expect(await why("one")).toMatch(/label gpu: /);
  });

  it("tells that a worker has it", async () => {
    await submit();
    await fleet.engines[0]?.claim();
    expect(await why("one")).toContain("was given to worker w1");
  });

  it("tells that it is paused, or has ended", async () => {
    await submit();
    await client.call("execution", "pause", { id: "one", messageId: "" });
    expect(await why("one")).toContain("`hodei resume one`");
    await client.call("execution", "cancel", { id: "one", reason: "", messageId: "" });
    expect(await why("default/one/job/0#1")).toBe("Execution one of job@0.0.0 is cancelled.");
    await expect(why("none")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
