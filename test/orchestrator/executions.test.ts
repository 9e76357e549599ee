import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RUNS_IN_FLIGHT } from "../../orchestrator/run.ts";
import type { LogsRequest, LogsResponse, RunResponse, StartRequest } from "../../transport/api/execution.ts";
import type { Channel } from "../../transport/transport.ts";
import { eventually, type Fleet, startFleet } from "./fleet.ts";
import { jobOf } from "./small-engine.ts";

let fleet: Fleet;
let client: Channel;
beforeEach(async () => {
  fleet = await startFleet(2);
  client = fleet.client();
  await client.call("workflow", "register", {
    source: `
apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: greet, version: 1.0.0 }
spec: { steps: { hello: { run: echo hello }, bye: { needs: [hello], run: echo bye } } }
`,
  });
});
afterEach(() => fleet.stop());

const request = (id: string, labels: Record<string, string> = {}): StartRequest => ({
  id,
  workflow: "greet",
  range: "",
  inputJson: '{"a":1}',
  labels,
});
const start = (id: string, labels: Record<string, string> = {}) =>
  client.call("execution", "start", request(id, labels));
const signal = (id: string, name: string, payload: object = {}, messageId = "") =>
  client.call("execution", "signal", { id, name, payloadJson: JSON.stringify(payload), messageId });
const finish = (id: string) => signal(id, "finish", { done: id });
const collect = async <Item>(items: AsyncIterable<Item>): Promise<Item[]> => {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
};
const typeOf = (entry: { eventJson: string }): string => (JSON.parse(entry.eventJson) as { type: string }).type;

describe("get and list", () => {
  it("show input, owner, steps and what became of it", async () => {
    await start("one", { team: "web" });
    const open = await client.call("execution", "get", { id: "one" });
    expect(open).toMatchObject({ id: "one", state: "running", inputJson: '{"a":1}', labels: { team: "web" } });
    expect(fleet.engines.map(({ name }) => name)).toContain(open.engine);
    expect(open.steps.map(({ id, state }) => `${id} ${state}`)).toEqual(["hello pending", "bye pending"]);
    await finish("one");
    const ended = await client.call("execution", "get", { id: "one" });
    expect(ended).toMatchObject({ state: "succeeded", outputJson: '{"done":"one"}' });
    expect(ended.engine).toBeUndefined();
  });

  it("filter by what people call a state, by label and by page", async () => {
    for (const id of ["a", "b", "c"]) await start(id, { half: id === "c" ? "second" : "first" });
    await client.call("execution", "pause", { id: "b", messageId: "" });
    await finish("c");
    const list = async (over: object) => {
      const all = { states: [], labels: {}, limit: 0, ...over };
      const { executions, nextPage } = await client.call("execution", "list", all);
      return { ids: executions.map(({ id }) => id).sort(), nextPage };
    };
    expect((await list({})).ids).toEqual(["a", "b", "c"]);
    expect((await list({ states: ["paused"] })).ids).toEqual(["b"]);
    expect((await list({ states: ["succeeded", "running"] })).ids).toEqual(["a", "c"]);
    expect((await list({ labels: { half: "first" } })).ids).toEqual(["a", "b"]);
    const first = await list({ limit: 2 });
    const rest = await list({ limit: 2, page: first.nextPage });
    expect([...first.ids, ...rest.ids].sort()).toEqual(["a", "b", "c"]);
    await expect(list({ states: ["stopped"] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "states" });
  });

  it("know nothing of another namespace's executions", async () => {
    await start("one");
    const other = fleet.client("other");
    await expect(other.call("execution", "get", { id: "one" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: 'there is no execution "one" in namespace other',
    });
    await expect(other.call("execution", "wait", { id: "one" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("wait", () => {
  it("answers when the execution ends, and at once when it has ended", async () => {
    await start("one");
    const waiting = client.call("execution", "wait", { id: "one" });
    await finish("one");
    expect(await waiting).toMatchObject({ id: "one", state: "succeeded" });
    expect(await client.call("execution", "wait", { id: "one" })).toMatchObject({ state: "succeeded" });
  });

  it("ends with the call's deadline, and can be taken up again", async () => {
    await start("one");
    await expect(client.call("execution", "wait", { id: "one" }, { deadlineMs: 20 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    await finish("one");
    expect(await client.call("execution", "wait", { id: "one" })).toMatchObject({ state: "succeeded" });
  });
});

describe("steering", () => {
  it("carries cancel, pause, resume and signals to the owner in the caller's name", async () => {
    await start("one");
    await client.call("execution", "pause", { id: "one", messageId: "p" });
    expect(await client.call("execution", "get", { id: "one" })).toMatchObject({ state: "paused" });
    await client.call("execution", "resume", { id: "one", messageId: "r" });
    await client.call("execution", "cancel", { id: "one", reason: "enough", messageId: "c" });
    const { entries } = await client.call("execution", "history", { id: "one", afterRevision: 1, limit: 0 });
    expect(entries.map((entry) => JSON.parse(entry.eventJson) as object)).toMatchObject([
      { type: "paused", id: "p", by: "ada" },
      { type: "resumed", id: "r", by: "ada" },
      { type: "cancelRequested", id: "c", by: "ada", reason: "enough" },
      { type: "executionEnded", state: "cancelled" },
    ]);
  });

  it("says that an execution is unknown or has ended", async () => {
    await expect(finish("none")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await start("one");
    await finish("one");
    await expect(finish("one")).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("refuses a signal without a name and a payload that is no JSON", async () => {
    await start("one");
    await expect(signal("one", "")).rejects.toMatchObject({ field: "name" });
    const bad = { id: "one", name: "go", payloadJson: "{", messageId: "" };
    await expect(client.call("execution", "signal", bad)).rejects.toMatchObject({ field: "payloadJson" });
  });
});

describe("watch", () => {
  it("gives the recorded events, then those to come, and ends with the execution", async () => {
    await start("one");
    await signal("one", "first");
    const watched = collect(client.stream("execution", "watch", { id: "one", afterRevision: 0 }));
    await signal("one", "second");
    await finish("one");
    const entries = await watched;
    expect(entries.map(typeOf)).toEqual([
      "executionStarted",
      "signalReceived",
      "signalReceived",
      "signalReceived",
      "executionEnded",
    ]);
    expect(entries.map(({ revision }) => revision)).toEqual([1, 2, 3, 4, 4]);
    const later = await collect(client.stream("execution", "watch", { id: "one", afterRevision: 3 }));
    expect(later.map(typeOf)).toEqual(["signalReceived", "executionEnded"]);
  });

  it("tells an unknown execution", async () => {
    const watched = collect(client.stream("execution", "watch", { id: "none", afterRevision: 0 }));
    await expect(watched).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("logs", () => {
  /** A job of `one`, claimed by hand, so that there is a token to write its log under. */
  const claimed = async () => {
    for (const engine of fleet.engines) engine.jobs = (handed, shard) => [jobOf(handed, shard)];
    await start("one");
    const owner = fleet.engines.find((engine) => engine.starts.length > 0);
    if (!owner) throw new Error("nobody started it");
    const { assignment, session } = await owner.claim();
    let offset = 0;
    return async (text: string) => {
      const data = new TextEncoder().encode(text);
      const { token, job } = assignment;
      const answer = await fleet.store.logs.append({ session, jobId: job.id, token, offset, data, dropped: 0 });
      expect(answer.status).toBe("OK");
      offset += data.length;
    };
  };
  const read = async (over: Partial<LogsRequest> = {}) =>
    await collect(client.stream("execution", "logs", { id: "one", follow: false, ...over }));
  const text = (chunks: LogsResponse[]) => chunks.map(({ data }) => new TextDecoder().decode(data)).join("");

  it("give what is held, and go on from a cursor", async () => {
    const write = await claimed();
    await write("one\n");
    const first = await read();
    await write("two\n");
    expect(text(first)).toBe("one\n");
    expect(text(await read({ after: first.at(-1)?.cursor ?? "" }))).toBe("two\n");
    expect(text(await read({ step: "bye" }))).toBe("");
  });

  it("follow until the execution ends, with the lines that come just after its result", async () => {
    const write = await claimed();
    await write("one\n");
    const followed = read({ follow: true });
    await write("two\n");
    await finish("one");
    await write("last\n");
    expect(text(await followed)).toBe("one\ntwo\nlast\n");
  });
});

describe("run", () => {
  it("starts many over one stream and answers each when started and when ended", async () => {
    const stream = client.duplex("execution", "run");
    const answers: RunResponse[] = [];
    const reading = (async () => {
      for await (const answer of stream.messages) {
        answers.push(answer);
        if (answer.kind === "started" && answer.requestId !== 2) await finish(answer.started.id);
      }
    })();
    for (const requestId of [1, 2, 3]) {
      await stream.send({ requestId, start: request(`run-${requestId}`), wait: requestId !== 2 });
    }
    await stream.send({ requestId: 4, start: { ...request("run-4"), workflow: "none" }, wait: true });
    stream.end();
    await reading;
    const of = (id: number) => answers.filter(({ requestId }) => requestId === id).map(({ kind }) => kind);
    expect([of(1), of(2), of(3), of(4)]).toEqual([["started", "ended"], ["started"], ["started", "ended"], ["error"]]);
    expect(answers.find(({ requestId }) => requestId === 4)).toMatchObject({ error: { code: "NOT_FOUND" } });
  });

  it("does not read on while its bound of starts is in flight", async () => {
    const stream = client.duplex("execution", "run");
    const started: string[] = [];
    let ended = 0;
    const reading = (async () => {
      for await (const answer of stream.messages) {
        if (answer.kind === "started") started.push(answer.started.id);
        if (answer.kind === "ended") ended++;
      }
    })();
    const most = RUNS_IN_FLIGHT + 50;
    const sending = (async () => {
      for (let requestId = 0; requestId < most; requestId++) {
        await stream.send({ requestId, start: request(`run-${requestId}`), wait: true });
      }
      stream.end();
    })();
    await eventually(() => started.length >= RUNS_IN_FLIGHT);
    expect(started).toHaveLength(RUNS_IN_FLIGHT);
    for (let n = 0; n < most; n++) {
      await eventually(() => started.includes(`run-${n}`));
      await finish(`run-${n}`);
    }
    await Promise.all([sending, reading]);
    expect(ended).toBe(most);
  });
});
