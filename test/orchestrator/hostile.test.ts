import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Channel } from "../../transport/transport.ts";
import { LIMITS } from "../../workflow/limits.ts";
import { type Fleet, startFleet } from "./fleet.ts";

/** What a client may not do to others by sending too much, too deep or nonsense. */

let fleet: Fleet;
let client: Channel;
beforeEach(async () => {
  fleet = await startFleet(1);
  client = fleet.client();
  const source = `
apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: hold, version: 1.0.0 }
spec: { steps: { w: { wait: { signal: finish } } } }
`;
  await client.call("workflow", "register", { source });
  await client.call("execution", "start", start("one"));
});
afterEach(() => fleet.stop());

const start = (id: string, over: object = {}) => ({
  id,
  workflow: "hold",
  range: "",
  inputJson: "{}",
  labels: {},
  ...over,
});
const filter = { states: [], labels: {}, limit: 0 };
const MEGABYTE = "x".repeat(1_000_000);

describe("a payload that nests too deeply", () => {
  // 30,000 levels fit into the bound of bytes, and overflow the stack of whatever walks them by recursion.
  const deep = "[".repeat(30_000) + "]".repeat(30_000);

  it("is refused with the field, for a signal", async () => {
    const signal = client.call("execution", "signal", { id: "one", name: "x", payloadJson: deep, messageId: "" });
    await expect(signal).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "payloadJson" });
  });

  it("is refused with the field, for an input", async () => {
    const started = client.call("execution", "start", start("two", { inputJson: `{"a":${deep}}` }));
    await expect(started).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "inputJson" });
  });
});

it("an input that defaults would make a thousand times larger is refused with the field", async () => {
  const item = { type: "object", properties: { text: { type: "string", default: "x".repeat(5000) } } };
  const input = { type: "object", properties: { list: { type: "array", items: item } } };
  const document = {
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name: "grows", version: "1.0.0" },
    spec: { input, steps: { w: { wait: { signal: "finish" } } } },
  };
  await client.call("workflow", "register", { source: JSON.stringify(document) });
  const inputJson = JSON.stringify({ list: Array.from({ length: 80_000 }, () => ({})) });
  const started = client.call("execution", "start", start("two", { workflow: "grows", inputJson }));
  await expect(started).rejects.toMatchObject({ code: "TOO_LARGE", field: "input" });
});

describe("what is longer than it can sensibly be is refused with the field", () => {
  const messageId = "";
  it.each([
    ["the id of an execution", () => client.call("execution", "get", { id: MEGABYTE }), "id"],
    ["the id of a job", () => client.call("job", "why", { id: MEGABYTE }), "id"],
    [
      "the reason of a cancel",
      () => client.call("execution", "cancel", { id: "one", reason: MEGABYTE, messageId }),
      "reason",
    ],
    [
      "the list of steps to retry",
      () => client.call("execution", "retry", { id: "one", steps: Array(LIMITS.steps + 1).fill("w"), messageId }),
      "steps",
    ],
    ["a range", () => client.call("execution", "start", start("two", { range: MEGABYTE })), "range"],
    ["the name of a workflow", () => client.call("workflow", "get", { name: MEGABYTE }), "name"],
    ["the version of a workflow", () => client.call("workflow", "get", { name: "hold", version: MEGABYTE }), "version"],
    [
      "a filter of labels",
      () =>
        client.call("execution", "list", {
          ...filter,
          labels: Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`k${at}`, "v"])),
        }),
      "labels",
    ],
    [
      "a filter of kinds of events",
      () =>
        client
          .stream("cluster", "watchEvents", { minSeverity: "debug", kinds: Array(1000).fill("x") })
          [Symbol.asyncIterator]()
          .next(),
      "kinds",
    ],
  ])("%s", async (_, call, field) => {
    await expect(call()).rejects.toMatchObject({ code: "TOO_LARGE", field });
  });
});

describe("a page that no list has named", () => {
  it.each(["garbage", "-1", "{}", "\0", " ", "NaN x", "1e3 x", "12"])("is refused: %j", async (page) => {
    const listed = client.call("execution", "list", { ...filter, page });
    await expect(listed).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "page" });
  });

  it("is told from one that a list has named", async () => {
    await client.call("execution", "start", start("two"));
    const { nextPage } = await client.call("execution", "list", { ...filter, limit: 1 });
    expect(nextPage).toBeDefined();
    const next = await client.call("execution", "list", { ...filter, page: nextPage ?? "" });
    expect(next.executions).toHaveLength(1);
  });
});

describe("an error names the field by the request's own word", () => {
  it("when the registry is asked for what is not there", async () => {
    const get = (name: string, version = "") => client.call("workflow", "get", { name, version });
    await expect(get("")).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "name" });
    await expect(get("none")).rejects.toMatchObject({ code: "NOT_FOUND", field: "name" });
    await expect(get("hold", "9")).rejects.toMatchObject({ code: "NO_SUCH_VERSION", field: "version" });
    const started = client.call("execution", "start", start("two", { range: "9" }));
    await expect(started).rejects.toMatchObject({ code: "NO_SUCH_VERSION", field: "range" });
    const deleted = client.call("workflow", "delete", { name: "hold", version: "" });
    await expect(deleted).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "version" });
  });

  it("and none where it is the whole that is wrong", async () => {
    const registered = client.call("workflow", "register", { source: "just words" });
    await expect(registered).rejects.toMatchObject({ code: "INVALID_DEFINITION", field: undefined });
  });
});

it.each(["cancel", "pause", "resume", "retry", "signal"] as const)(
  "%s of an unknown execution says what a read of it says",
  async (method) => {
    const read = await client.call("execution", "get", { id: "none" }).catch((error: unknown) => error);
    const all = { id: "none", reason: "", messageId: "", steps: [], name: "x", payloadJson: "" };
    await expect(client.call("execution", method, all)).rejects.toMatchObject({
      code: "NOT_FOUND",
      field: "id",
      message: (read as Error).message,
    });
  },
);

describe("submit refuses", () => {
  const submit = (command: string[], env: Record<string, string> = {}) =>
    client.call("job", "submit", { id: "job", command, env, labels: {} });

  it("a program that the shell would take for an option of its own", async () => {
    await expect(submit(["-c", "id"])).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "command" });
  });

  it("a variable that no process can be given", async () => {
    await expect(submit(["env"], { A: "a\0b" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "env.A" });
  });
});
