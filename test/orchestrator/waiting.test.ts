import { expect, it } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { Executions } from "../../orchestrator/executions.ts";
import { openOwner, turnOf } from "../../store/fixtures.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import type { RunRequest, RunResponse } from "../../transport/api/execution.ts";
import { Pipe } from "../../transport/pipe.ts";
import { ANONYMOUS } from "../../transport/transport.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { definitionOf, digestOf, normalForm } from "../../workflow/load.ts";
import { nextTurn } from "../../base/turn.ts";

const document = {
  apiVersion: "hodei.dev/v1",
  kind: "Workflow",
  metadata: { name: "greet", version: "1.0.0" },
  spec: { steps: { hello: { run: "true" } } },
};
const definition = definitionOf(document);
const digest = digestOf(definition);
const context = (signal: AbortSignal) => ({ signal, peer: "test", identity: ANONYMOUS });

type End = Extract<HistoryEvent, { type: "executionEnded" }>;
type Ended = End["state"];

/** Executions over a store of which the reads are counted; starts and ends are written as the owner would. */
async function rig({ hints = true } = {}) {
  const clock = new ManualClock();
  const memory = createMemoryStore({ clock, random: seededRandom(1) });
  await memory.open({ shards: 8 });
  const owner = await openOwner(memory, "a", [0], 3_600_000);
  const reads: string[] = [];
  const store: Store = {
    ...memory,
    readHistory: (request) => (reads.push("history"), memory.readHistory(request)),
    readExecution: (request) => (reads.push("execution"), memory.readExecution(request)),
    watch: (topic, onHint) => (hints ? memory.watch(topic, onHint) : () => {}),
  };
  const uid = "uid-x";
  const start = { namespace: "default", id: "x", uid, definition: { name: "greet", version: "1.0.0", digest } };
  const more = { lock: { entries: {} }, input: {}, labels: {}, requestDigest: "", runNumber: 1 };
  const write = async (expectedRevision: number, events: HistoryEvent[], state?: Ended): Promise<void> => {
    const head = state === undefined ? { digest } : { digest, state, endedAtMs: clock.now() };
    const texts = events.map((event) => JSON.stringify(event));
    const definitions = expectedRevision === 0 ? { definitions: { [digest]: normalForm(definition) } } : {};
    await memory.turn(turnOf(owner, "x", { expectedRevision, head, events: texts, ...definitions }));
  };
  const begin = () => write(0, [{ atMs: clock.now(), type: "executionStarted", start: { ...start, ...more } }]);
  const never = async (): Promise<never> => {
    throw new Error("nothing is routed here");
  };
  const starter = {
    start: async () => {
      await begin();
      return { id: "x", uid, workflow: "greet", version: "1.0.0", digest, created: true };
    },
  };
  const router = { call: never, ownerOf: never };
  const executions = new Executions({ store, starter, router, clock, random: seededRandom(2) });
  return {
    clock,
    reads,
    executions,
    begin,
    commit: (revision: number) => write(revision, []),
    end: (revision: number, end: Pick<End, "state" | "output" | "error"> = { state: "succeeded", output: {} }) =>
      write(revision, [{ atMs: clock.now(), type: "executionEnded", ...end }], end.state),
  };
}

const settled = () => new Promise<void>((resolve) => nextTurn(resolve));

function runOne(executions: Executions, brief = false): { answers: RunResponse[]; done: Promise<void> } {
  const requests = new Pipe<RunRequest>();
  const answers: RunResponse[] = [];
  const stream = {
    messages: requests.messages,
    send: async (message: RunResponse) => void answers.push(message),
    end: () => {},
    cancel: () => {},
  };
  const start = { id: "x", workflow: "greet", range: "", inputJson: "{}", labels: {} };
  requests.push({ requestId: 1, start, wait: true, brief });
  requests.end();
  return { answers, done: executions.run(stream, context(new AbortController().signal)) };
}

it("reads an execution that it has started once: when it has ended, whatever was committed before", async () => {
  const { executions, reads, commit, end } = await rig();
  const { answers, done } = runOne(executions);
  await settled();
  for (const revision of [1, 2, 3]) await commit(revision);
  await settled();
  expect(answers.map(({ kind }) => kind)).toEqual(["started"]);
  await end(4);
  await done;
  expect(answers[1]).toMatchObject({ kind: "ended", ended: { id: "x", state: "succeeded" } });
  expect(reads).toEqual(["execution"]);
});

it("reads no more than the head and the last commit for one who asks for the output alone", async () => {
  const { executions, reads, commit, end } = await rig();
  const { answers, done } = runOne(executions, true);
  await settled();
  await commit(1);
  await end(2, { state: "succeeded", output: { n: 1 } });
  await done;
  const ended = { id: "x", state: "succeeded", revision: 3, outputJson: '{"n":1}', inputJson: "", steps: [] };
  expect(answers).toMatchObject([{ kind: "ended", ended }]);
  expect(reads).toEqual(["history", "history"]);
});

it("tells one who asks for the output alone of the start when the end takes its time", async () => {
  const { executions, end, clock } = await rig();
  const { answers, done } = runOne(executions, true);
  await settled();
  await clock.advance(99);
  expect(answers).toEqual([]);
  await clock.advance(101);
  expect(answers).toMatchObject([{ kind: "started", started: { id: "x", created: true } }]);
  await clock.advance(1_000);
  expect(answers).toHaveLength(1);
  await end(1);
  await done;
  expect(answers.map(({ kind }) => kind)).toEqual(["started", "ended"]);
});

it("gives one who asks for the output alone everything when there is none", async () => {
  const { executions, end } = await rig();
  const { answers, done } = runOne(executions, true);
  await settled();
  const error = { code: "JOB_FAILED", message: "exit 1" } as const;
  await end(1, { state: "failed", error });
  await done;
  const ended = { state: "failed", error, inputJson: "{}", steps: [{ id: "hello" }] };
  expect(answers).toMatchObject([{ kind: "ended", ended }]);
});

it("finds the end within ten seconds when every hint is lost", async () => {
  const { executions, end, clock } = await rig({ hints: false });
  const { answers, done } = runOne(executions);
  await settled();
  await end(1);
  await settled();
  expect(answers.map(({ kind }) => kind)).toEqual(["started"]);
  await clock.advance(10_000);
  await done;
  expect(answers[1]).toMatchObject({ kind: "ended", ended: { state: "succeeded" } });
});

it("answers at once for one that has ended already, and again after a retry only when that has ended", async () => {
  const { executions, begin, end, commit } = await rig();
  await begin();
  await end(1);
  const { signal } = new AbortController();
  expect(await executions.wait({ id: "x" }, context(signal))).toMatchObject({ state: "succeeded" });
  await commit(2);
  let again: string | undefined;
  const waiting = executions.wait({ id: "x" }, context(signal)).then(({ state }) => (again = state));
  await settled();
  expect(again).toBeUndefined();
  await end(3);
  await waiting;
  expect(again).toBe("succeeded");
});
