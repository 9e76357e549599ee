import { describe, expect, it } from "vitest";
import { displayState } from "./execution.ts";
import { run, Scenario, sleep, wait } from "./scenario.fixture.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });
const retry = { maxAttempts: 3, initialMs: 1000, maxMs: 1000, multiplier: 2, on: ["user"] };

describe("cancel", () => {
  const parts = {
    steps: { a: run(), s: sleep(1e6), w: wait(), r: run({ retry }), later: run({ needs: ["a"] }) },
    finally: { z: run({ env: { O: "${{ execution.outcome }}" } }) },
  };

  it("tells jobs to stop, ends what only waits, opens nothing more, and runs finally after the last word", () => {
    const of = new Scenario(parts).start();
    of.fail("r");
    of.cancel("enough");
    expect(of.cancelled).toEqual(["ns/x/a/0#1"]);
    expect([of.step("s"), of.step("w"), of.step("r"), of.step("later")]).toEqual(Array(4).fill("cancelled"));
    expect(displayState(of.execution)).toBe("cancelling");
    expect(of.jobs.size).toBe(1);
    of.end("a", { kind: "cancelled" });
    expect(of.execution).toMatchObject({ phase: "finally", gate: "open", outcome: "cancelled" });
    expect(of.job("z").work).toMatchObject({ env: { O: "cancelled" } });
    of.succeed("z");
    expect(of.execution).toMatchObject({ state: "cancelled", cancelReason: "enough" });
    expect(of.timers.size).toBe(0);
  });

  it("a job that succeeds all the same has succeeded; one that fails is not retried", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ retry }) } }).start();
    of.cancel();
    of.succeed("a");
    of.fail("b");
    expect([of.step("a"), of.step("b"), of.state]).toEqual(["succeeded", "cancelled", "cancelled"]);
  });

  it("does not tell again what a failed iteration has stopped already", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2] }) } }).start();
    of.fail("a", {}, "0");
    of.cancel();
    expect(of.cancelled).toEqual(["ns/x/a/1#1"]);
    of.fire("grace/a");
    expect(of.execution).toMatchObject({ state: "cancelled", steps: { a: { state: "failed" } } });
  });

  it("gives a grace of 45 s to what is open", () => {
    const of = new Scenario(parts).start();
    of.fail("r");
    of.cancel();
    expect(of.timers.get("grace")).toBe(of.nowMs + 45_000);
    expect(of.end("a", { kind: "cancelled" }).clearTimers).toEqual(["queue/a/0", "grace"]);
  });

  it("a step of which some items never ran was cancelled, though all that ran have succeeded", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2, 3], maxParallel: 1 }) } }).start();
    of.cancel();
    of.succeed("a");
    expect(of.execution.steps.a).toMatchObject({ state: "cancelled", ended: 1, cancelled: 0 });
  });

  it("waits no longer than the grace, whose jobs are revoked", () => {
    const of = new Scenario(parts).start();
    of.cancel();
    of.fire("grace");
    expect(of.revoked).toContain("ns/x/a/0#1");
    expect(of.execution.phase).toBe("finally");
  });

  it("a second one while it stops has no effect; one during finally gives that up", () => {
    const of = new Scenario(parts).start();
    of.cancel();
    expect(of.cancel().events).toEqual([]);
    of.fire("grace");
    of.cancel();
    of.end("z", { kind: "cancelled" });
    expect(of.state).toBe("cancelled");
  });

  it("during finally of a succeeded execution: cancelled; of a failed one: still failed", () => {
    for (const [outcome, state] of [
      ["succeeded", "cancelled"],
      ["failed", "failed"],
    ] as const) {
      const of = new Scenario({ steps: { a: run() }, finally: { z: run() } }).start();
      if (outcome === "succeeded") of.succeed("a");
      else of.fail("a");
      of.cancel();
      of.end("z", { kind: "cancelled" });
      expect(of.state).toBe(state);
    }
  });

  it("while paused needs no resume", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ needs: ["a"] }) }, finally: { z: run() } }).start();
    of.pause();
    of.cancel();
    of.end("a", { kind: "cancelled" });
    of.succeed("z");
    expect(of.state).toBe("cancelled");
  });
});

describe("pause", () => {
  it("opens no step and no iteration; outcomes are taken; resume opens what was held back", () => {
    const steps = { a: run(), b: run({ needs: ["a"] }), c: run({ forEach: [1, 2], maxParallel: 1 }) };
    const of = new Scenario({ steps }).start();
    of.pause();
    expect(displayState(of.execution)).toBe("paused");
    of.succeed("a");
    of.succeed("c", {}, "0");
    expect(of.step("b")).toBe("pending");
    expect(of.jobs.size).toBe(0);
    of.resume();
    expect([...of.jobs.keys()]).toEqual(["ns/x/b/0#1", "ns/x/c/1#1"]);
  });

  it("a lost job waits for resume too", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    of.pause();
    of.lose("a");
    expect(of.iteration("a")?.state).toBe("backoff");
    of.fire("retry/a/0");
    expect(of.jobs.size).toBe(0);
    of.resume();
    of.fire("retry/a/0");
    expect(of.job("a").attempt).toBe(2);
  });

  it("timers that fire meanwhile are acted on at resume; time in the queue begins again", () => {
    const steps = {
      s: sleep(1000),
      q: run(),
      w: wait({ timeout: { queueMs: 1, startMs: 1, runMs: 1, totalMs: 500 } }),
    };
    const of = new Scenario({ steps, timeoutMs: 900_000 }).start();
    of.pause();
    for (const timer of ["sleep/s/0", "queue/q/0", "total/w/0", "execution"]) expect(of.fire(timer).events).toEqual([]);
    expect(of.timers.size).toBe(0);
    of.resume();
    const { nowMs } = of;
    expect(Object.fromEntries(of.timers)).toEqual({
      execution: nowMs,
      "sleep/s/0": nowMs,
      "total/w/0": nowMs,
      "queue/q/0": nowMs + 300_000,
    });
    of.fire("sleep/s/0");
    expect(of.step("s")).toBe("succeeded");
  });

  it("moves no date that is still to come", () => {
    const totalMs = 500_000;
    const steps = { w: wait({ timeout: { queueMs: 1, startMs: 1, runMs: 1, totalMs } }) };
    const of = new Scenario({ steps, timeoutMs: 900_000 }).start();
    const { nowMs } = of;
    of.pause();
    of.nowMs += 100_000;
    of.resume();
    expect(Object.fromEntries(of.timers)).toEqual({ execution: nowMs + 900_000, "total/w/0": nowMs + totalMs });
  });

  it("holds finally back", () => {
    const of = new Scenario({ steps: { a: run() }, finally: { z: run() } }).start();
    of.pause();
    of.succeed("a");
    expect(of.execution.phase).toBe("finally");
    expect(of.jobs.size).toBe(0);
    of.resume();
    expect(of.job("z")).toBeDefined();
  });

  it("twice is once, and of an execution that is being cancelled it is refused", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    of.pause();
    expect(of.pause().events).toEqual([]);
    of.resume();
    expect(of.resume().events).toEqual([]);
    of.cancel();
    const closed = expect.objectContaining({ code: "CLOSED", message: "execution x is being cancelled" });
    expect(() => of.pause()).toThrow(closed);
    expect(() => of.resume()).toThrow(closed);
  });
});

describe("retry", () => {
  it("runs what failed, what depends on it, and finally again; attempts go on counting", () => {
    const steps = { a: run(), b: run(), c: run({ needs: ["b"] }) };
    const of = new Scenario({ steps, finally: { z: run() }, timeoutMs: 60_000 }).start();
    of.succeed("a");
    of.fail("b");
    of.succeed("z");
    expect(of.state).toBe("failed");
    of.nowMs += 1_000_000;
    of.retry();
    expect(of.execution).toMatchObject({ state: "running", phase: "steps", gate: "open" });
    expect(of.execution).not.toHaveProperty("error");
    expect(of.execution).not.toHaveProperty("endedAtMs");
    expect(of.timers.get("execution")).toBe(of.nowMs + 60_000);
    expect([...of.jobs.keys()]).toEqual(["ns/x/b/0#2"]);
    of.succeed("b");
    of.succeed("c");
    expect(of.job("z").attempt).toBe(2);
    of.succeed("z");
    expect(of.state).toBe("succeeded");
  });

  it("named steps take their dependents along, even those that succeeded", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ needs: ["a"] }), c: run() } }).start();
    of.succeed("a");
    of.succeed("b");
    of.fail("c");
    of.retry("a");
    of.succeed("a");
    expect(of.job("b").attempt).toBe(2);
    of.succeed("b");
    expect(of.execution).toMatchObject({ state: "failed", error: { step: "c" } });
  });

  it("of a step of many iterations repeats those that did not succeed", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2, 3], failFast: false, maxParallel: 2 }) } }).start();
    of.succeed("a", { v: 1 }, "0");
    of.fail("a", {}, "1");
    of.succeed("a", { v: 3 }, "2");
    of.retry();
    expect([...of.jobs.keys()]).toEqual(["ns/x/a/1#2"]);
    const opened = of.history.filter((event) => event.type === "stepOpened");
    expect(opened.map((event) => "items" in event)).toEqual([true, false]);
    of.succeed("a", { v: 2 }, "1");
    expect(of.state).toBe("succeeded");
    expect(of.iteration("a", "2")?.outputs).toEqual({ v: 3 });
  });

  it("keeps those of a matrix too; of a step that is named, or shares a folder, it repeats all", () => {
    const many = { failFast: false, forEach: [1, 2] };
    const matrix = { axes: { os: ["linux", "mac"] }, exclude: [], include: [] };
    const steps = {
      a: run({ failFast: false, matrix }),
      b: run({ ...many, workspace: "src" }),
      c: run(many),
      d: run(),
    };
    const of = new Scenario({ steps }).start();
    for (const step of ["a", "b", "c"]) {
      of.succeed(step, {}, "0");
      of.fail(step, {}, "1");
    }
    of.fail("d");
    of.retry();
    expect(of.history.findLast((event) => event.type === "retried")).toMatchObject({ keep: ["a", "c"] });
    const open = [...of.jobs.values()].map((job) => `${job.step}${job.iteration}`);
    expect(open).toEqual(["a1", "b0", "b1", "c1", "d0"]);
    of.succeed("a", {}, "1");
    of.succeed("c", {}, "1");
    of.fail("d");
    of.succeed("b", {}, "0");
    of.succeed("b", {}, "1");
    of.retry("c");
    expect([...of.jobs.values()].map((job) => `${job.step}${job.iteration}`)).toEqual(["c0", "c1"]);
  });

  it("keeps nothing of what may run over another list now", () => {
    const steps = { a: run(), b: run({ needs: ["a"], when: "true", forEach: [1, 2], failFast: false }) };
    const of = new Scenario({ steps }).start();
    of.fail("a");
    of.succeed("b", {}, "0");
    of.fail("b", {}, "1");
    of.retry();
    of.succeed("a");
    expect([...of.jobs.values()].map((job) => job.iteration)).toEqual(["0", "1"]);
  });

  it("names each step once, and gives finally a fresh folder", () => {
    const ws = { workspace: "src" };
    const of = new Scenario({ steps: { a: run(ws) }, finally: { y: run(ws), z: run({ workspace: "lib" }) } }).start();
    of.fail("a");
    of.succeed("y");
    of.succeed("z");
    of.retry();
    expect(of.history.findLast((event) => event.type === "retried")).toMatchObject({
      steps: ["a", "y", "z"],
      workspaces: ["src", "lib"],
    });
    of.succeed("a");
    expect([of.job("y").workspace, of.job("z").workspace]).toEqual(["u/src#1", "u/lib#1"]);
  });

  it("of a cancelled execution runs what was cancelled", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ needs: ["a"] }) } }).start();
    of.cancel();
    of.end("a", { kind: "cancelled" });
    of.retry();
    of.succeed("a");
    of.succeed("b");
    expect(of.state).toBe("succeeded");
    expect(of.execution).not.toHaveProperty("cancelReason");
  });

  it("with nothing failed but finally runs that alone", () => {
    const of = new Scenario({ steps: { a: run() }, finally: { z: run() } }).start();
    of.succeed("a");
    of.fail("z");
    of.retry();
    expect([...of.jobs.keys()]).toEqual(["ns/x/z/0#2"]);
    of.succeed("z");
    expect(of.state).toBe("succeeded");
  });

  it("gives new budgets", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    for (let loss = 0; loss < 4; loss++) of.lose("a");
    of.retry();
    of.lose("a");
    expect(of.iteration("a")).toMatchObject({ state: "queued", attempt: 6, losses: 1 });
  });

  it("is refused while it runs, after a success, and for a step that is not there", () => {
    const of = new Scenario({ steps: { a: run(), b: run() }, finally: { z: run() } }).start();
    expect(() => of.retry()).toThrow(
      expect.objectContaining({
        code: "STILL_RUNNING",
        message: "execution x still runs",
        hint: "cancel it, or wait for its end",
      }),
    );
    of.fail("a");
    of.succeed("b");
    of.succeed("z");
    expect(() => of.retry("nowhere", "there")).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: "no such step: nowhere, there",
        field: "steps",
        hint: "the steps are a, b; finally runs again in any case",
      }),
    );
    expect(() => of.retry("z")).toThrow(code("INVALID_ARGUMENT"));
    of.retry();
    of.succeed("a");
    of.succeed("z");
    expect(() => of.retry()).toThrow(
      expect.objectContaining({ code: "CLOSED", message: "execution x has succeeded: there is nothing to retry" }),
    );
  });
});
