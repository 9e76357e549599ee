import { describe, expect, it } from "vitest";
import { displayState } from "./execution.ts";
import { fold } from "./fold.ts";
import { run, Scenario } from "./scenario.fixture.ts";

const corrupt = (message: string) => expect.objectContaining({ code: "DATA_CORRUPT", message });

describe("a history", () => {
  it("begins with the start, which stands there once", () => {
    const [started, opened] = new Scenario({ steps: { a: run() } }).start().history;
    if (started?.type !== "executionStarted" || opened === undefined) throw new Error("no start");
    expect(() => fold([])).toThrow(corrupt("the history of an execution holds no event"));
    expect(() => fold([opened])).toThrow(corrupt("a history begins with stepOpened"));
    expect(() => fold([started, started])).toThrow(corrupt("execution x was started twice"));
    const { priority: _none, ...start } = started.start;
    expect(fold([{ ...started, start }]).priority).toBe("normal");
  });
});

describe("the state", () => {
  it("has when a step began, and where and when its newest attempt ran", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    const { nowMs } = of;
    of.nowMs += 5;
    of.succeed("a");
    expect(of.execution.steps.a).toMatchObject({ startedAtMs: nowMs, endedAtMs: nowMs + 5 });
    expect(of.iteration("a")).toMatchObject({ worker: "w1", startedAtMs: nowMs + 5 });
  });

  it("counts a run timeout as a failure, a start timeout as a loss", () => {
    const retry = { maxAttempts: 2, initialMs: 0, maxMs: 0, multiplier: 1, on: ["timeout"] };
    const of = new Scenario({ steps: { a: run({ retry }) } }).start();
    of.end("a", { kind: "timeout", timeout: "run" });
    of.end("a", { kind: "timeout", timeout: "start" });
    expect(of.iteration("a")).toMatchObject({ failures: 1, losses: 1, attempt: 3 });
  });

  it("says what the steps will have come to while they stop", () => {
    const of = new Scenario({ steps: { a: run() }, timeoutMs: 1000 }).start();
    of.cancel();
    expect(of.execution.stopping).toEqual({ outcome: "cancelled", atMs: of.nowMs });
    const late = new Scenario({ steps: { a: run() }, timeoutMs: 1000 }).start();
    late.fire("execution");
    expect(late.execution.stopping).toMatchObject({ outcome: "failed", error: { code: "JOB_TIMEOUT" } });
    expect(late.execution.stopping?.error?.message).toBe("the execution was not done within 1s");
  });

  it("counts attempts over several retries, also of what did not run between them", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ needs: ["a"] }) } }).start();
    of.succeed("a");
    of.fail("b");
    of.retry("a");
    of.fail("a");
    expect(of.step("b")).toBe("skipped");
    of.retry("a");
    of.succeed("a");
    expect([of.job("b").attempt, of.iteration("a")?.attempt]).toEqual([2, 3]);
  });

  it("has no attempts before a retry of what was never queued", () => {
    const of = new Scenario({ steps: { a: run({ env: { X: "${{ input.a.b }}" } }) } }).start({});
    of.retry();
    expect(of.execution.steps.a).not.toHaveProperty("attemptsBefore");
  });

  it("has the items of a step anew when it is repeated as a whole", () => {
    const of = new Scenario({
      steps: { a: run(), b: run({ needs: ["a"], forEach: "steps.a.outputs.list" }), c: run() },
    }).start();
    of.succeed("a", { list: [1] });
    of.succeed("b");
    of.fail("c");
    of.retry("a");
    of.succeed("a", { list: [2, 3] });
    expect(of.execution.steps.b?.items).toEqual([2, 3]);
  });

  it("is named to people: the gate only while it runs", () => {
    expect(displayState({ state: "running", gate: "open" })).toBe("running");
    expect(displayState({ state: "running", gate: "cancelled" })).toBe("cancelling");
    expect(displayState({ state: "failed", gate: "paused" })).toBe("failed");
  });
});
