import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { executionJson } from "../../cmd/execution-view.ts";
import { describeError, UsageError } from "../../cmd/exit.ts";
import { createEventBus, ENGINE_EVENTS, type EngineEventKind } from "../../engine/events.ts";
import { EventHub, ORCHESTRATOR_EVENTS, type OrchestratorEventKind } from "../../orchestrator/events.ts";
import type { Channel } from "../../transport/transport.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { child, run, Scenario, sleep, task, wait } from "../../workflow/scenario.fixture.ts";
import { loadDefinition } from "../../workflow/load.ts";
import { type Fleet, startFleet } from "../orchestrator/fleet.ts";
import { mismatches, schemaOf } from "../schema.ts";

describe("what an orchestrator answers is what the schemas say", () => {
  let fleet: Fleet;
  let client: Channel;
  beforeAll(async () => {
    fleet = await startFleet(2);
    client = fleet.client();
    const source = `
apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: greet, version: 1.0.0 }
spec: { steps: { hello: { run: echo hello }, bye: { needs: [hello], run: echo bye } } }
`;
    await client.call("workflow", "register", { source });
    for (const id of ["open", "ended"])
      await client.call("execution", "start", { id, workflow: "greet", range: "", inputJson: '{"a":1}', labels: {} });
    const finish = { id: "ended", name: "finish", payloadJson: '{"done":true}', messageId: "" };
    await client.call("execution", "signal", finish);
  });
  afterAll(() => fleet.stop());

  it.each(["open", "ended"])("of an execution that is %s", async (id) => {
    expect(mismatches("execution", executionJson(await client.call("execution", "get", { id })))).toEqual([]);
  });

  it("of engines, shards and workers", async () => {
    const { engines } = await client.call("cluster", "engines", {});
    expect(engines).toHaveLength(2);
    expect(mismatches("engines", engines)).toEqual([]);
    const { shards } = await client.call("cluster", "shards", {});
    expect(shards.length).toBeGreaterThan(0);
    expect(mismatches("shards", shards)).toEqual([]);
    expect(mismatches("workers", (await client.call("fleet", "list", { limit: 0 })).workers)).toEqual([]);
  });

  it("of why", async () => {
    expect(mismatches("why", await client.call("job", "why", { id: "open" }))).toEqual([]);
  });
});

/** Executions that between them record every kind of event. */
function histories(): HistoryEvent[][] {
  const long = new Scenario({
    steps: {
      a: run({ workspace: "w", retry: { maxAttempts: 2, initialMs: 1000, maxMs: 1000, multiplier: 1, on: ["user"] } }),
      many: task({ forEach: [1, 2], failFast: true }),
      nap: sleep(1000),
      approve: wait({ signal: "go" }),
      sub: child({}),
    },
    finally: { last: run() },
    timeoutMs: 60_000,
  }).start();
  long.send({ kind: "pause", id: "p", by: "ada" });
  long.send({ kind: "resume", id: "r", by: "ada" });
  long.send({ kind: "signal", id: "s", name: "go", payload: { ok: true }, by: "ada" });
  outcome(long, "a", { kind: "failed", failure: { class: "user", message: "no", exitCode: 1 } });
  outcome(long, "many", { kind: "failed", failure: { class: "user", type: "Broken", message: "no" } });
  long.send({ kind: "cancel", id: "c", reason: "enough", by: "ada" });
  const childEnded = {
    kind: "childEnded",
    step: "sub",
    iteration: "0",
    childId: "x/sub/0",
    state: "cancelled",
  } as const;
  long.send(childEnded);
  for (const id of ["a", "many", "last"]) outcome(long, id, { kind: "cancelled" });

  const lost = new Scenario({ steps: { a: run({ workspace: "w" }) } }).start();
  outcome(lost, "a", { kind: "lost", reason: "gone", workspace: "u/w" });
  outcome(lost, "a", { kind: "failed", failure: { class: "user", message: "no" } });
  lost.send({ kind: "retry", id: "again", by: "ada", steps: [] });
  outcome(lost, "a", { kind: "succeeded", outputs: { x: "1" } });

  const late = new Scenario({ steps: { nap: sleep(100_000) }, timeoutMs: 1000 }).start();
  late.nowMs += 2000;
  late.send({ kind: "timer", timer: "execution" });
  return [long.history, lost.history, late.history];
}

/** Ends whatever attempts of the step are open. */
function outcome(scenario: Scenario, step: string, ended: Extract<HistoryEvent, { type: "attemptEnded" }>["outcome"]) {
  for (const job of [...scenario.jobs.values()].filter((one) => one.step === step)) {
    const { iteration, attempt } = job;
    const facts = { worker: "w-1", engine: "e-1", enqueuedAtMs: 1, claimedAtMs: 2, startedAtMs: 3, endedAtMs: 4 };
    scenario.jobs.delete(job.id);
    scenario.send({ kind: "outcome", step, iteration, attempt, outcome: ended, facts });
  }
}

describe("histories", () => {
  const recorded = histories();

  it("that the core records match their schema", () => {
    for (const events of recorded)
      expect(
        mismatches(
          "history",
          events.map((event, index) => ({ revision: index + 1, ...event })),
        ),
      ).toEqual([]);
  });

  it("hold every kind of event between them", () => {
    const kinds = new Set(recorded.flat().map((event) => event.type));
    const { items } = schemaOf("history");
    expect(items).toMatchObject({ properties: { type: { enum: expect.arrayContaining([...kinds]) } } });
    expect(kinds.size).toBe(19);
  });

  it("with an event of an unknown kind, or one that lacks a field, do not", () => {
    const [first] = recorded[0] ?? [];
    expect(mismatches("history", [{ revision: 1, ...first, type: "unheardOf" }])).not.toEqual([]);
    const lacking = mismatches("history", [{ revision: 1, atMs: 1, type: "paused", id: "x" }]).join();
    expect(lacking).toContain('"by"');
  });
});

describe("events", () => {
  it("of an orchestrator match their schema", async () => {
    const hub = new EventHub(systemClock);
    const stop = new AbortController();
    const seen = hub.subscribe({ minSeverity: "debug", kinds: [] }, stop.signal)[Symbol.asyncIterator]();
    for (const kind of Object.keys(ORCHESTRATOR_EVENTS) as OrchestratorEventKind[]) {
      hub.emit(kind, "words", { engine: "e-1", facts: { a: "b" } });
      expect(mismatches("events", (await seen.next()).value)).toEqual([]);
    }
    stop.abort();
  });

  it("of an engine match their schema", () => {
    const bus = createEventBus({ engine: "e-1", clock: systemClock });
    const seen: object[] = [];
    bus.listen((event) => seen.push(event));
    for (const kind of Object.keys(ENGINE_EVENTS) as EngineEventKind[]) bus.emit(kind, "words", { worker: "w-1" });
    expect(seen).toHaveLength(Object.keys(ENGINE_EVENTS).length);
    for (const event of seen) expect(mismatches("events", event)).toEqual([]);
  });
});

describe("errors", () => {
  it("match their schema", () => {
    expect(mismatches("error", JSON.parse(describeError(new UsageError("wrong", "limit"), true)))).toEqual([]);
    expect(mismatches("error", JSON.parse(describeError(new Error("unforeseen"), true)))).toEqual([]);
    expect(mismatches("error", JSON.parse(describeError(refused(), true)))).toEqual([]);
  });
});

function refused(): unknown {
  try {
    return loadDefinition("kind: Workflo\n", { file: "x.yaml" });
  } catch (error) {
    return error;
  }
}
