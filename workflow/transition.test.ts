import { describe, expect, it } from "vitest";
import { LIMITS } from "./limits.ts";
import { child, run, Scenario, sleep, task, wait } from "./scenario.fixture.ts";
import { transition } from "./transition.ts";

describe("steps", () => {
  it("a start opens every step without needs, in the order they are written", () => {
    const of = new Scenario({ steps: { b: run(), a: run(), c: run({ needs: ["a", "b"] }) } }).start();
    expect([...of.jobs.keys()]).toEqual(["ns/x/b/0#1", "ns/x/a/0#1"]);
    expect(of.types()).toEqual(["executionStarted", "stepOpened", "iterationQueued", "stepOpened", "iterationQueued"]);
  });

  it("a step opens when the last of its needs has succeeded", () => {
    const of = new Scenario({ steps: { a: run(), b: run(), c: run({ needs: ["a", "b"] }) } }).start();
    of.succeed("a");
    expect(of.step("c")).toBe("pending");
    of.succeed("b");
    expect(of.job("c").attempt).toBe(1);
  });

  it("a job carries the rendered environment, whose values are strings, and the input as it is", () => {
    const env = { N: "${{ input.n }}", L: "${{ input.l }}", T: "n=${{ input.n }}", Z: "${{ input.z }}" };
    const of = new Scenario({ steps: { a: run({ env }), b: task({ input: { n: "${{ input.n }}" }, handler: "h" }) } });
    of.start({ n: 3, l: [1, "x"], z: null });
    expect(of.job("a").work).toMatchObject({ kind: "run", env: { N: "3", L: '[1,"x"]', T: "n=3", Z: "" } });
    expect(of.job("b").work).toEqual({ kind: "task", handler: "h", input: { n: 3 }, env: {} });
    expect(of.job("b").requirement).toMatchObject({ handler: "h" });
    expect(of.job("a")).toMatchObject({
      executionUid: "u",
      shard: 3,
      priority: "normal",
      startMs: 60_000,
      runNumber: 7,
    });
  });

  it("outputs of a step are seen by its dependents and by the output of the execution", () => {
    const text = "${{ steps.a.outputs.text }}";
    const of = new Scenario({ steps: { a: run(), b: run({ needs: ["a"], env: { T: text } }) }, output: { text } });
    of.start();
    of.succeed("a", { text: "hello" });
    expect(of.job("b").work).toMatchObject({ env: { T: "hello" } });
    of.succeed("b");
    expect(of.execution).toMatchObject({ state: "succeeded", output: { text: "hello" }, phase: "done" });
  });

  it("a failed need skips what depends on it, and names itself; the execution fails with the first error", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ needs: ["a"] }), c: run({ needs: ["b"] }) } }).start();
    of.fail("a", { message: "exit 2", exitCode: 2 });
    expect(of.execution.steps.b).toMatchObject({ state: "skipped", reason: "a failed" });
    expect(of.execution.steps.c).toMatchObject({ state: "skipped", reason: "b was skipped" });
    expect(of.execution.error).toEqual({ code: "JOB_FAILED", message: "exit 2", step: "a", iteration: "0" });
    expect(of.iteration("a")?.error).toMatchObject({ class: "user", exitCode: 2 });
    expect(of.state).toBe("failed");
  });

  it("a step may be written before what it needs, also when that ends in the turn that opens it", () => {
    const of = new Scenario({ steps: { b: run({ needs: ["a"] }), a: run({ forEach: [] }) } }).start();
    expect(of.job("b").attempt).toBe(1);
  });

  it("continueOnError excuses a failure, not a step that was skipped", () => {
    const steps = { a: run(), b: run({ needs: ["a"], continueOnError: true }), c: run({ needs: ["b"] }) };
    const of = new Scenario({ steps }).start();
    of.fail("a");
    expect(of.execution.steps.c).toMatchObject({ state: "skipped", reason: "b was skipped" });
  });

  it("the first failure by time is the execution's, by order when they are of the same moment", () => {
    const steps = { a: run(), b: run(), c: run() };
    const later = new Scenario({ steps }).start();
    later.fail("b");
    later.nowMs += 1;
    later.fail("a");
    later.fail("c");
    expect(later.execution.error?.step).toBe("b");
    const together = new Scenario({ steps }).start();
    for (const step of ["c", "b", "a"]) together.fail(step);
    expect(together.execution.error?.step).toBe("a");
  });

  it("independent steps run on after a failure", () => {
    const of = new Scenario({ steps: { a: run(), b: run() } }).start();
    of.fail("a");
    expect(of.state).toBe("running");
    of.succeed("b");
    expect(of.state).toBe("failed");
  });

  it("continueOnError lets dependents run and the execution succeed", () => {
    const of = new Scenario({ steps: { a: run({ continueOnError: true }), b: run({ needs: ["a"] }) } }).start();
    of.fail("a");
    of.succeed("b");
    expect(of.state).toBe("succeeded");
  });

  it("when is evaluated once all needs have ended, however they ended", () => {
    const when = 'steps.a.state == "failed"';
    const of = new Scenario({ steps: { a: run(), b: run(), c: run({ needs: ["a", "b"], when }) } }).start();
    of.fail("a");
    expect(of.step("c")).toBe("pending");
    of.succeed("b");
    expect(of.step("c")).toBe("open");
  });

  it("when that is false skips; one that is no boolean or does not evaluate fails the step", () => {
    const steps = { a: run({ when: "input.n > 5" }), b: run({ when: "input.n" }), c: run({ when: "input.gone > 1" }) };
    const of = new Scenario({ steps }).start({ n: 1 });
    expect(of.execution.steps.a).toMatchObject({ state: "skipped", reason: "when is false: input.n > 5" });
    expect(of.execution.steps.b).toMatchObject({
      state: "failed",
      error: { code: "INVALID_EXPRESSION", message: "when must give true or false and gave 1: input.n" },
    });
    expect(of.execution.steps.c).toMatchObject({ state: "failed", error: { class: "config", step: "c" } });
    expect(of.state).toBe("failed");
  });

  it("an expression that fails at run time fails its step as a configuration error, without a retry", () => {
    const retry = { maxAttempts: 5, initialMs: 0, maxMs: 0, multiplier: 1, on: ["user", "config"] };
    const of = new Scenario({ steps: { a: run({ env: { X: "${{ input.a.b.c }}" }, retry }) } }).start({});
    expect(of.iteration("a")).toMatchObject({
      state: "failed",
      error: { code: "INVALID_EXPRESSION", class: "config" },
    });
    expect(of.state).toBe("failed");
    expect(of.timers.size).toBe(0);
  });

  it("names of Object.prototype are names like any other", () => {
    const of = new Scenario({
      steps: {
        constructor: wait({ signal: "valueOf" }),
        toString: run({ needs: ["constructor"], workspace: "valueOf" }),
      },
    }).start();
    of.signal("valueOf");
    of.succeed("toString");
    expect(of.state).toBe("succeeded");
  });

  it("an output that does not evaluate fails the execution, and finally sees that", () => {
    const of = new Scenario({
      steps: { a: run() },
      finally: { z: run({ env: { O: "${{ execution.outcome }}" } }) },
      output: { x: "${{ steps.a.outputs.nothing.there }}" },
    }).start();
    of.succeed("a");
    expect(of.job("z").work).toMatchObject({ env: { O: "failed" } });
    of.succeed("z");
    expect(of.execution).toMatchObject({ state: "failed", error: { code: "INVALID_EXPRESSION" } });
    expect(of.execution.error?.message).toMatch(/^output: ./);
  });

  it("so does one that is too large", () => {
    const v = "${{ steps.a.outputs.v }}";
    const of = new Scenario({ steps: { a: run() }, output: { v, w: v } }).start();
    of.succeed("a", { v: "x".repeat(LIMITS.outputBytes - 20) });
    expect(of.execution).toMatchObject({
      state: "failed",
      error: {
        code: "TOO_LARGE",
        message: `output: the outputs are ${2 * LIMITS.outputBytes - 25} bytes long, at most 65536 are kept`,
      },
    });
  });
});

describe("finally", () => {
  const parts = { steps: { a: run() }, finally: { z: run({ env: { O: "${{ execution.outcome }}" } }) } };

  it("runs after success", () => {
    const of = new Scenario(parts).start();
    of.succeed("a");
    expect(of.job("z").work).toMatchObject({ env: { O: "succeeded" } });
    of.succeed("z");
    expect(of.state).toBe("succeeded");
  });

  it("runs after a failure, whose error stands", () => {
    const of = new Scenario(parts).start();
    of.fail("a");
    of.fail("z", { message: "cleaning failed too" });
    expect(of.execution).toMatchObject({ state: "failed", outcome: "failed", error: { step: "a", message: "boom" } });
  });

  it("that fails makes a succeeded execution fail", () => {
    const of = new Scenario(parts).start();
    of.succeed("a");
    of.fail("z", { message: "cleaning failed" });
    expect(of.execution).toMatchObject({ state: "failed", error: { step: "z", message: "cleaning failed" } });
    expect(of.execution.output).toBeUndefined();
  });

  it("steps of finally may need each other", () => {
    const of = new Scenario({ steps: { a: run() }, finally: { y: run(), z: run({ needs: ["y"] }) } }).start();
    of.succeed("a");
    expect(of.step("z")).toBe("pending");
    of.succeed("y");
    of.succeed("z");
    expect(of.state).toBe("succeeded");
  });
});

describe("the end", () => {
  it("tells the parent, clears the timers, and leaves nothing open", () => {
    const parent = { executionId: "p", uid: "pu", step: "s", iteration: "0", depth: 2 };
    const of = new Scenario({ steps: { a: run() }, output: { k: 1 }, timeoutMs: 60_000 }).start({}, { parent });
    expect(of.execution.depth).toBe(3);
    expect([...of.timers.keys()]).toEqual(["execution", "queue/a/0"]);
    of.succeed("a");
    expect(of.timers.size).toBe(0);
    expect(of.sent).toEqual([
      {
        kind: "childEnded",
        target: "p",
        step: "s",
        iteration: "0",
        childId: "x",
        parentUid: "pu",
        state: "succeeded",
        output: { k: 1 },
      },
    ]);
  });

  it("an execution timeout stops like a cancel, runs finally, and fails with JOB_TIMEOUT", () => {
    const of = new Scenario({ steps: { a: run(), s: sleep(1e9) }, finally: { z: run() }, timeoutMs: 60_000 }).start();
    of.fire("execution");
    expect(of.execution.gate).toBe("cancelled");
    expect(of.cancelled).toEqual(["ns/x/a/0#1"]);
    of.end("a", { kind: "cancelled" });
    expect(of.execution.gate).toBe("open");
    of.succeed("z");
    expect(of.execution).toMatchObject({ state: "failed", error: { code: "JOB_TIMEOUT" } });
    expect(of.timers.size).toBe(0);
  });
});

describe("an answer", () => {
  it("clears the timers of what has ended, and no others", () => {
    const of = new Scenario({ steps: { a: run(), b: run() }, finally: { z: run() }, timeoutMs: 60_000 }).start();
    expect(of.succeed("a").clearTimers).toEqual(["queue/a/0"]);
    expect(of.succeed("b").clearTimers).toEqual(["queue/b/0", "execution"]);
    expect(of.succeed("z").clearTimers).toEqual(["queue/z/0"]);
  });

  it("has the priority of the start, else of the definition, and that of its jobs", () => {
    const part = { steps: { a: run() }, priority: "high" as const };
    expect(new Scenario(part).start().job("a").priority).toBe("high");
    expect(new Scenario(part).start({}, { priority: "low" }).job("a").priority).toBe("low");
  });
});

describe("messages", () => {
  it("the same inputs give the same answer", () => {
    const answers = [0, 1].map(() => {
      const of = new Scenario({ steps: { a: run(), b: task({ needs: ["a"] }), c: child() } }).start({ k: [1] });
      return JSON.stringify([of.execution, of.fail("a"), of.execution]);
    });
    expect(answers[0]).toBe(answers[1]);
  });

  it("a second delivery of the same id changes nothing", () => {
    const of = new Scenario({ steps: { a: run(), b: wait() } }).start();
    const signal = { kind: "signal", id: "m", name: "go", payload: 1, by: "ann" } as const;
    of.send(signal);
    expect(of.send(signal)).toMatchObject({ events: [], timers: [], enqueue: [] });
    const cancel = { kind: "cancel", id: "c", reason: "", by: "ann" } as const;
    of.send(cancel);
    expect(of.send(cancel)).toMatchObject({ events: [], cancel: [] });
  });

  it("ids are remembered up to a bound, the newest ones", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    for (let turn = 0; turn < LIMITS.signalsRemembered; turn++) {
      of.send({ kind: "pause", id: `p${turn}`, by: "" });
      of.send({ kind: "resume", id: `r${turn}`, by: "" });
    }
    expect(of.execution.seen).toHaveLength(LIMITS.signalsRemembered);
    expect(of.execution.seen.at(-1)).toBe(`r${LIMITS.signalsRemembered - 1}`);
  });

  it("the same start again changes nothing", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    const before = of.history.length;
    of.start();
    expect(of.history).toHaveLength(before);
  });

  it("an ended execution is closed to signal, pause and resume; the rest is too late and changes nothing", () => {
    const of = new Scenario({ steps: { a: run(), b: child() } }).start();
    of.fail("a");
    of.childEnded("b");
    expect(of.state).toBe("failed");
    for (const late of [() => of.signal("go"), () => of.pause(), () => of.resume()]) {
      expect(late).toThrow(expect.objectContaining({ code: "CLOSED", message: "execution x has ended: failed" }));
    }
    const length = of.history.length;
    of.cancel();
    of.childEnded("b");
    of.send({ kind: "timer", timer: "queue/a/0" });
    of.send({ kind: "continue" });
    const facts = { enqueuedAtMs: 0 };
    of.send({ kind: "outcome", step: "a", iteration: "0", attempt: 1, outcome: { kind: "cancelled" }, facts });
    expect(of.history).toHaveLength(length);
  });

  it("a message for an execution that is not there is refused", () => {
    const { definition } = new Scenario({ steps: { a: run() } });
    const context = { nowMs: 0, random: 0, shard: 0 };
    expect(() => transition(definition, undefined, { kind: "continue" }, context)).toThrow(
      expect.objectContaining({ code: "NOT_FOUND", message: "there is no such execution" }),
    );
  });
});
