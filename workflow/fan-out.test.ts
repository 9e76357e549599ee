import { describe, expect, it } from "vitest";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { child, run, Scenario, sleep, task } from "./scenario.fixture.ts";

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe("forEach and matrix", () => {
  it("runs one iteration per item, which sees item and index", () => {
    const of = new Scenario({ steps: { a: task({ forEach: "input.l", input: ["${{ item }}", "${{ index }}"] }) } });
    of.start({ l: ["x", "y"] });
    expect(of.job("a", "1").work).toMatchObject({ input: ["y", 1] });
    expect(of.execution.steps.a?.items).toEqual(["x", "y"]);
  });

  it("takes a literal list and an expression in braces", () => {
    const steps = { a: run({ forEach: ["${{ input.k }}", 2] }), b: run({ forEach: "${{ input.l }}" }) };
    const of = new Scenario({ steps }).start({ k: "v", l: [1, 2, 3] });
    expect(of.execution.steps.a?.items).toEqual(["v", 2]);
    expect(of.execution.steps.b?.opened).toBe(3);
  });

  it("a matrix is the product of its axes, without exclude, with include", () => {
    const matrix = {
      axes: { os: ["linux", "mac"], node: [22, 24] },
      exclude: [{ os: "mac", node: 22 }],
      include: [{ os: "bsd", node: 20 }],
    };
    const of = new Scenario({ steps: { a: task({ matrix, input: "${{ matrix.os }}" }) } }).start();
    expect(of.execution.steps.a?.items).toEqual([
      { os: "linux", node: 22 },
      { os: "linux", node: 24 },
      { os: "mac", node: 24 },
      { os: "bsd", node: 20 },
    ]);
    expect(of.job("a", "3").work).toMatchObject({ input: "bsd" });
  });

  it("an empty list succeeds at once", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [] }), b: run({ needs: ["a"] }) } }).start();
    expect(of.step("a")).toBe("succeeded");
    expect(of.step("b")).toBe("open");
  });

  it("what is no list, or too long, fails the step", () => {
    const matrix = { axes: { a: numbers(200), b: numbers(200) }, include: [], exclude: [] };
    const steps = { a: run({ forEach: "input.n" }), b: run({ forEach: "input.l" }), c: run({ matrix }) };
    const of = new Scenario({ steps }).start({ n: 3, l: numbers(LIMITS.iterations + 1) });
    expect(of.execution.steps.a?.error).toMatchObject({ code: "INVALID_EXPRESSION", class: "config" });
    expect(of.execution.steps.b?.error).toMatchObject({ code: "TOO_LARGE" });
    expect(of.execution.steps.c?.error).toMatchObject({ code: "TOO_LARGE" });
  });

  it("maxParallel bounds what is open; the next opens as one ends", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2, 3, 4], maxParallel: 2 }) } }).start();
    expect(of.jobs.size).toBe(2);
    of.succeed("a", {}, "1");
    expect([...of.jobs.values()].map((job) => job.iteration)).toEqual(["0", "2"]);
  });

  it("outputs are seen in item order, whatever order they came in", () => {
    const of = new Scenario({
      steps: {
        a: run({ forEach: [1, 2] }),
        b: task({ needs: ["a"], input: "${{ steps.a.iterations.map(i, i.outputs.v) }}" }),
      },
    }).start();
    of.succeed("a", { v: "second" }, "1");
    of.succeed("a", { v: "first" }, "0");
    expect(of.job("b").work).toMatchObject({ input: ["first", "second"] });
  });

  it("failFast stops the others: open jobs are told, unopened ones never open, the step waits for the last word", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2, 3], maxParallel: 2 }) } }).start();
    of.fail("a", {}, "0");
    expect(of.cancelled).toEqual(["ns/x/a/1#1"]);
    expect(of.step("a")).toBe("open");
    of.end("a", { kind: "cancelled" }, "1");
    expect(of.execution.steps.a).toMatchObject({ state: "failed", opened: 2, cancelled: 1, error: { iteration: "0" } });
    expect(of.state).toBe("failed");
    expect(of.timers.size).toBe(0);
  });

  it("failFast waits no longer than the grace; then the result of the job is not taken any more", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2] }) } }).start();
    of.fail("a", {}, "0");
    of.fire("grace/a");
    expect(of.revoked).toEqual(["ns/x/a/1#1"]);
    expect(of.step("a")).toBe("failed");
  });

  it("a queue timeout of an iteration that was told to stop changes nothing", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2] }) } }).start();
    of.fail("a", {}, "0");
    of.nowMs += 300_000;
    expect(of.send({ kind: "timer", timer: "queue/a/1" }).events).toEqual([]);
    of.end("a", { kind: "cancelled" }, "1");
    expect(of.execution.steps.a).toMatchObject({ failed: 1, cancelled: 1 });
  });

  it("without failFast all iterations run, and one failure fails the step", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2, 3], maxParallel: 1, failFast: false }) } }).start();
    of.fail("a", {}, "0");
    of.succeed("a", {}, "1");
    of.fail("a", {}, "2");
    expect(of.execution.steps.a).toMatchObject({ state: "failed", ended: 3, failed: 2, error: { iteration: "0" } });
  });

  it("the step tells the first failure, also to those that it stops", () => {
    const of = new Scenario({ steps: { a: run({ forEach: [1, 2] }) } }).start();
    of.fail("a", { message: "disk full" }, "1");
    of.end("a", { kind: "cancelled" }, "0");
    expect(of.history.filter((event) => event.type.startsWith("step"))).toMatchObject([
      { type: "stepOpened" },
      { type: "stepStopping", reason: "disk full" },
      { type: "stepEnded", error: { code: "JOB_FAILED", message: "disk full", iteration: "1" } },
    ]);
  });

  it("each step that stops has a grace of its own, 45 s from then", () => {
    const steps = { a: run({ forEach: [1, 2] }), b: run({ forEach: [1, 2] }) };
    const of = new Scenario({ steps }).start();
    of.fail("a", {}, "0");
    expect(of.timers.get("grace/a")).toBe(of.nowMs + 45_000);
    of.nowMs += 1000;
    of.fail("b", {}, "0");
    of.fire("grace/a");
    expect([of.step("a"), of.step("b")]).toEqual(["failed", "open"]);
    expect(of.end("b", { kind: "cancelled" }, "1").clearTimers).toEqual(["queue/b/1", "grace/b"]);
  });

  it("jobs are told to stop, or taken back, in the same commit however full it is; only children need a message each", () => {
    const items = numbers(256).map((n): Json => (n === 200 ? {} : { v: n }));
    const of = new Scenario({ steps: { a: task({ forEach: "input", input: "${{ item.v }}" }) } });
    of.goesOn = false;
    of.start(items);
    expect(of.jobs.size).toBe(0);
    expect(of.execution.steps.a).toMatchObject({ state: "failed", failed: 1, cancelled: 200 });
  });

  it("an iteration that cannot be evaluated fails alone; one opened in the same turn is taken back", () => {
    const steps = { a: task({ forEach: [{ v: 1 }, {}, { v: 3 }], input: "${{ item.v }}" }) };
    const of = new Scenario({ steps }).start();
    expect(of.jobs.size).toBe(0);
    expect(of.execution.steps.a).toMatchObject({ state: "failed", failed: 1, cancelled: 1, opened: 2 });
    expect(of.timers.size).toBe(0);
  });
});

describe("bounds of a commit", () => {
  it("opens at most 256 jobs and says more; continue goes on", () => {
    const parts = { a: run({ forEach: "input" }), b: run({ forEach: "input" }), c: run() };
    const of = new Scenario({ steps: parts });
    of.goesOn = false;
    of.start(numbers(300));
    expect(of.jobs.size).toBe(LIMITS.commitEntries);
    const next = of.send({ kind: "continue" });
    expect(next.enqueue).toHaveLength(LIMITS.commitEntries);
    expect(next.more).toBe(true);
    expect(of.send({ kind: "continue" })).toMatchObject({ more: false, enqueue: [{ step: "c" }] });
  });

  it("opens fewer when the jobs are large", () => {
    const of = new Scenario({ steps: { a: run({ forEach: "input", script: "x".repeat(60_000) }) } });
    of.goesOn = false;
    const of20 = of.start(numbers(100));
    expect(of20.jobs.size).toBeLessThanOrEqual(18);
  });

  it("the items of a step weigh too", () => {
    const step = run({ forEach: "input" });
    const of = new Scenario({ steps: { a: step, b: step, c: step, d: step, e: step } });
    of.goesOn = false;
    of.start(["x".repeat(120_000), "y".repeat(120_000)]);
    expect(of.history.filter((event) => event.type === "stepOpened")).toHaveLength(5);
    expect([...of.jobs.values()].map((job) => job.step).join("")).toBe("aabbccdd");
  });

  it("iterations that end without a job are bounded too", () => {
    const of = new Scenario({ steps: { a: sleep("${{ item }}", { forEach: "input", failFast: false }) } });
    of.goesOn = false;
    of.start(numbers(600).map(() => "never"));
    expect(of.execution.steps.a?.ended).toBe(LIMITS.commitEntries);
    of.goesOn = true;
    of.send({ kind: "continue" });
    expect(of.execution.steps.a?.ended).toBe(600);
    expect(of.state).toBe("failed");
  });

  it("an input or environment put together from many outputs is bounded", () => {
    const env = Object.fromEntries(numbers(5).map((at) => [`V${at}`, `\${{ steps.a.iterations[${at}].outputs.v }}`]));
    const of = new Scenario({
      steps: {
        a: run({ forEach: [1, 2, 3, 4, 5] }),
        b: task({ needs: ["a"], input: env }),
        c: run({ needs: ["a"], env }),
      },
    }).start();
    for (const key of numbers(5)) of.succeed("a", { v: "x".repeat(60_000) }, String(key));
    expect(of.iteration("b")?.error).toMatchObject({ class: "config" });
    expect(of.iteration("c")?.error).toMatchObject({
      code: "TOO_LARGE",
      message: "the environment is 300000 bytes long, at most 262144 are passed on",
      class: "config",
    });
  });

  it("an input or environment may be as large as the bound, of a child too", () => {
    const half = LIMITS.inputBytes / 2;
    const given = (bytes: number): Scenario => {
      // Two strings in a list: `["…","…"]`.
      const input = ["${{ input }}", "y".repeat(bytes - half - 7)];
      const env = { A: "${{ input }}", B: "y".repeat(bytes - half) };
      return new Scenario({ steps: { a: task({ input }), b: child({ input }), c: run({ env }) } }).start(
        "x".repeat(half),
      );
    };
    const fits = given(LIMITS.inputBytes);
    expect([fits.step("a"), fits.step("b"), fits.step("c")]).toEqual(["open", "open", "open"]);
    const over = given(LIMITS.inputBytes + 1);
    const message = "the input is 262145 bytes long, at most 262144 are passed on";
    for (const step of ["a", "b"]) expect(over.iteration(step)?.error).toMatchObject({ code: "TOO_LARGE", message });
    expect(over.iteration("c")?.error).toMatchObject({ code: "TOO_LARGE" });
  });

  it("the environment of a task weighs as its input does", () => {
    const env = { A: "a".repeat(200_000) };
    const of = new Scenario({ steps: { a: task({ forEach: "input", env, input: "b".repeat(50_000) }) } });
    of.goesOn = false;
    of.start(numbers(10));
    expect(of.jobs.size).toBe(5);
  });

  it("outputs beyond the bound fail the iteration, are not retried and never reach the history", () => {
    const retry = { maxAttempts: 5, initialMs: 0, maxMs: 0, multiplier: 1, on: ["user"] };
    const of = new Scenario({ steps: { a: run({ retry }) } }).start();
    of.succeed("a", { big: "x".repeat(LIMITS.outputBytes) });
    expect(of.execution.error).toMatchObject({ code: "TOO_LARGE", step: "a" });
    expect(of.iteration("a")?.error?.class).toBe("user");
    expect(JSON.stringify(of.history).length).toBeLessThan(5000);
  });
});
