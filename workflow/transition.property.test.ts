import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Definition, Step } from "./definition.ts";
import { isHodeiError } from "./errors.ts";
import type { HistoryEvent } from "./event.ts";
import type { Execution } from "./execution.ts";
import type { Outcome } from "./job.ts";
import type { Json } from "./json.ts";
import { child, define, run, Scenario, sleep, task, wait, type StepPart } from "./scenario.fixture.ts";
import { transition } from "./transition.ts";

// Random graphs under random messages in random order, duplicates and late ones among them; then everything that is still
// open is answered. `Scenario` compares the folded history with the live state after each message.

const names = ["a", "b", "c", "d", "e", "f"];

const lists: Json[][] = [[], [1], [1, 2, 3], [{ v: 1 }, {}, { v: 2 }, { v: 3 }, { v: 4 }]];

const retried: string[][] = [["user"], ["user", "timeout"], []];

const modifiers = fc.record(
  {
    forEach: fc.constantFrom(...lists),
    maxParallel: fc.integer({ min: 1, max: 3 }),
    failFast: fc.boolean(),
    continueOnError: fc.boolean(),
    retry: fc.record({
      maxAttempts: fc.integer({ min: 1, max: 3 }),
      initialMs: fc.constantFrom(0, 1000),
      maxMs: fc.constant(4000),
      multiplier: fc.constant(2),
      on: fc.constantFrom(...retried),
    }),
    workspace: fc.constantFrom("src", "lib"),
    onLost: fc.constantFrom("retry" as const, "fail" as const, "rerun" as const),
    timeout: fc.record(
      { queueMs: fc.constant(5000), startMs: fc.constant(5), runMs: fc.constant(5), totalMs: fc.constant(9000) },
      { requiredKeys: ["queueMs", "startMs", "runMs"] },
    ),
    when: fc.constantFrom("true", "input.yes", "input.nothing", "1"),
  },
  { requiredKeys: ["failFast", "continueOnError", "onLost"] },
);

function part(needs: string[]): fc.Arbitrary<StepPart> {
  const kind = fc.constantFrom("run", "run", "run", "task", "child", "wait", "sleep");
  return fc.tuple(kind, modifiers, fc.subarray(needs)).map(([kindOf, extra, chosen]) => {
    const all = { ...extra, needs: chosen };
    if (kindOf === "task") return task({ ...all, input: extra.forEach === undefined ? {} : "${{ item.v }}" });
    if (kindOf === "child") return child(all);
    if (kindOf === "wait") return wait(all);
    return kindOf === "sleep" ? sleep(700, all) : run(all);
  });
}

function parts(prefix: string): fc.Arbitrary<Record<string, StepPart>> {
  const ids = names.map((name) => prefix + name);
  return fc
    .tuple(...ids.map((_, index) => part(ids.slice(0, index))), fc.integer({ min: prefix === "" ? 1 : 0, max: 6 }))
    .map((all) => {
      const count = all.at(-1) as number;
      return Object.fromEntries(ids.slice(0, count).map((id, index) => [id, all[index] as StepPart]));
    });
}

const definitions: fc.Arbitrary<Definition> = fc
  .record(
    { steps: parts(""), finally: parts("z"), timeoutMs: fc.constant(20_000) },
    { requiredKeys: ["steps", "finally"] },
  )
  .map((all) => define(all));

const outcomes: fc.Arbitrary<Outcome> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Outcome>({ kind: "succeeded", outputs: { v: 1 } }) },
  fc.constantFrom<Outcome>(
    { kind: "failed", failure: { class: "user", message: "boom" } },
    { kind: "failed", failure: { class: "user", message: "boom", permanent: true } },
    { kind: "failed", failure: { class: "infrastructure", message: "disk" } },
    { kind: "lost", reason: "gone" },
    { kind: "lost", reason: "gone" },
    { kind: "rejected", reason: "full" },
    { kind: "timeout", timeout: "start" },
    { kind: "timeout", timeout: "run" },
    { kind: "cancelled" },
  ),
);

type Action =
  | { do: "outcome"; pick: number; outcome: Outcome }
  | { do: "child"; pick: number; state: "succeeded" | "failed" | "cancelled" }
  | { do: "timer"; pick: number }
  | { do: "repeat"; pick: number }
  | { do: "signal" | "cancel" | "pause" | "resume" | "retry" | "continue" };

const pick = fc.nat({ max: 1000 });
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant("outcome" as const), pick, outcome: outcomes }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("child" as const),
      pick,
      state: fc.constantFrom("succeeded" as const, "failed" as const, "cancelled" as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("timer" as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("repeat" as const), pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("signal" as const, "continue" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("pause" as const, "resume" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("cancel" as const, "retry" as const) }) },
);

function act(of: Scenario, action: Action): void {
  of.nowMs += 100;
  of.random = (of.random * 7 + 0.13) % 1;
  try {
    switch (action.do) {
      case "outcome": {
        const job = [...of.jobs.values()][action.pick % (of.jobs.size || 1)];
        if (job !== undefined) of.endJob(job, action.outcome);
        return;
      }
      case "child": {
        const started = of.sent.filter((message) => message.kind === "startChild");
        const message = started[action.pick % (started.length || 1)];
        if (message === undefined) return;
        const { step, iteration, target: childId } = message;
        of.send({ kind: "childEnded", step, iteration, childId, state: action.state });
        return;
      }
      case "timer": {
        const timer = [...of.timers.keys()][action.pick % (of.timers.size || 1)];
        if (timer !== undefined) of.fire(timer);
        return;
      }
      case "repeat": {
        const again = of.taken[action.pick % of.taken.length];
        if (again !== undefined && again.message.kind !== "timer") of.send(again.message);
        return;
      }
      case "signal":
        of.signal("go", { v: 1 });
        return;
      case "continue":
        of.send({ kind: "continue" });
        return;
      default:
        of[action.do]();
    }
  } catch (error) {
    // A refusal changes nothing; anything else is a defect.
    if (!isHodeiError(error) || error.code === "INTERNAL") throw error;
    of.taken.pop();
  }
}

/** Answers everything that is open until the execution ends. */
function finish(of: Scenario): void {
  for (let turn = 0; of.state === "running"; turn++) {
    if (turn > 400) throw new Error(`does not end: ${JSON.stringify(of.execution)}`);
    if (of.execution.gate === "paused") act(of, { do: "resume" });
    const waiting = of.sent.findIndex(
      (message) =>
        message.kind === "startChild" &&
        of.iteration(message.step, message.iteration)?.state === "waiting" &&
        of.iteration(message.step, message.iteration)?.childId === message.target,
    );
    if (of.jobs.size > 0) act(of, { do: "outcome", pick: turn, outcome: { kind: "succeeded", outputs: {} } });
    else if (waiting >= 0) act(of, { do: "child", pick: startOf(of, waiting), state: "succeeded" });
    else if (of.timers.size > 0 && turn % 2 === 0) act(of, { do: "timer", pick: turn });
    else act(of, { do: "signal" });
  }
}

/** Position among the starts of children. */
function startOf(of: Scenario, index: number): number {
  return of.sent.slice(0, index).filter((message) => message.kind === "startChild").length;
}

function play([definition, moves]: [Definition, Action[]]): Scenario {
  const of = new Scenario(definition).start({ yes: true });
  for (const action of moves) {
    act(of, action);
    checkState(of.execution);
  }
  finish(of);
  return of;
}

const games = fc.tuple(definitions, fc.array(actions, { maxLength: 60 }));
const check = (property: (of: Scenario) => void): void => fc.assert(fc.property(games, (game) => property(play(game))));

function checkState(execution: Execution): void {
  for (const record of Object.values(execution.steps)) {
    for (const { state, workspace } of Object.values(record.iterations)) {
      // What is queued runs in the newest folder: rules need not look whether a loss is of an older one.
      if (state === "queued" && workspace !== undefined)
        expect(workspace.generation).toBe(execution.workspaces[workspace.name]?.generation);
    }
    const live = Object.values(record.iterations).filter((iteration) => iteration.state !== "rerun");
    const count = (...states: string[]): number => live.filter((iteration) => states.includes(iteration.state)).length;
    expect(record).toMatchObject({
      open: count("queued", "backoff", "waiting"),
      ended: count("succeeded", "failed", "cancelled"),
      failed: count("failed"),
      cancelled: count("cancelled"),
    });
    if (record.endedAtMs !== undefined) expect(record.open).toBe(0);
  }
}

/** The history cut where a retry set the execution running again. */
function epochs(history: HistoryEvent[]): HistoryEvent[][] {
  const cut: HistoryEvent[][] = [[]];
  for (const event of history) {
    if (event.type === "retried") cut.push([]);
    cut.at(-1)?.push(event);
  }
  return cut;
}

describe("any graph under any messages", () => {
  it("ends when everything is answered, with no timer set and no job left that was not told to stop", () => {
    check((of) => {
      expect([...of.timers.keys()]).toEqual([]);
      expect([...of.jobs.keys()].filter((id) => !of.cancelled.includes(id))).toEqual([]);
      expect(of.execution.phase).toBe("done");
      for (const step of Object.keys(of.definition.steps)) expect(of.step(step)).not.toMatch(/pending|open/);
    });
  });

  it("attempts of an iteration rise by one", () => {
    check((of) => {
      const last = new Map<string, number>();
      for (const event of of.history) {
        if (event.type !== "iterationQueued" && event.type !== "iterationWaiting") continue;
        if (event.attempt === undefined) continue;
        const key = `${event.step}/${event.iteration}`;
        expect(event.attempt).toBe((last.get(key) ?? 0) + 1);
        last.set(key, event.attempt);
      }
    });
  });

  it("an iteration ends at most once between two retries, and nothing comes of it afterwards", () => {
    check((of) => {
      for (const epoch of epochs(of.history)) {
        const ended = new Set<string>();
        for (const event of epoch) {
          if (!("iteration" in event)) continue;
          const key = `${event.step}/${event.iteration}`;
          expect(ended.has(key), `${event.type} after the end of ${key}`).toBe(false);
          if (event.type === "iterationEnded") ended.add(key);
        }
      }
    });
  });

  it("after a cancel no job is enqueued but those of finally; while paused none at all", () => {
    check((of) => {
      let gate: "open" | "paused" | "cancelled" = "open";
      const gates = new Set<string>();
      for (const event of of.history) {
        if (event.type === "cancelRequested" || event.type === "executionTimedOut") gate = "cancelled";
        if (event.type === "paused") gate = "paused";
        if (event.type === "resumed" || event.type === "retried") gate = "open";
        if (event.type === "finallyStarted" && gate === "cancelled") gate = "open";
        if (event.type === "iterationQueued") gates.add(gate);
      }
      expect([...gates].filter((at) => at !== "open")).toEqual([]);
      const cancelled = epochs(of.history).filter((epoch) => epoch.some((event) => event.type === "cancelRequested"));
      for (const epoch of cancelled) {
        const after = epoch.slice(epoch.findIndex((event) => event.type === "cancelRequested"));
        const queued = after.filter((event) => event.type === "iterationQueued");
        for (const { step } of queued) expect(of.definition.finally[step] as Step | undefined).toBeDefined();
      }
    });
  });

  it("the same messages give the same history, from the live state and from a snapshot at any point", () => {
    check((of) => {
      let live: Execution | undefined;
      let stored: Execution | undefined;
      const histories: HistoryEvent[][] = [[], []];
      for (const { message, context } of of.taken) {
        const first = transition(of.definition, live, message, context);
        const second = transition(of.definition, stored, message, context);
        expect(second.transition).toEqual(first.transition);
        live = first.execution;
        stored = JSON.parse(JSON.stringify(second.execution)) as Execution;
        histories[0]?.push(...first.transition.events);
        histories[1]?.push(...second.transition.events);
      }
      expect(histories[0]).toEqual(of.history);
      expect(histories[1]).toEqual(of.history);
    });
  });
});
