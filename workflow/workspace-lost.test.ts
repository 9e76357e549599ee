import { describe, expect, it } from "vitest";
import { run, Scenario } from "./scenario.fixture.ts";

const ws = { workspace: "src" };

describe("workspaces", () => {
  it("jobs of one workspace share a key; it is released when no step wants it any more", () => {
    const of = new Scenario({
      steps: { a: run(ws), b: run({ ...ws, needs: ["a"] }), c: run({ needs: ["b"] }) },
    }).start();
    expect(of.job("a").workspace).toBe("u/src");
    of.succeed("a");
    expect(of.job("b").workspace).toBe("u/src");
    expect(of.released).toEqual([]);
    of.succeed("b");
    expect(of.released).toEqual(["u/src"]);
    of.succeed("c");
    expect(of.released).toEqual(["u/src"]);
  });

  it("one that finally uses is kept for it", () => {
    const of = new Scenario({ steps: { a: run(ws) }, finally: { z: run(ws) } }).start();
    of.succeed("a");
    expect(of.released).toEqual([]);
    of.succeed("z");
    expect(of.released).toEqual(["u/src"]);
  });

  it("lost before anything succeeded there: its jobs are retried in a fresh one", () => {
    const of = new Scenario({ steps: { a: run(ws), b: run(ws) } }).start();
    of.lose("a");
    expect(of.released).toEqual(["u/src"]);
    expect(of.revoked).toEqual(["ns/x/b/0#1"]);
    expect(of.job("a")).toMatchObject({ workspace: "u/src#1", attempt: 2 });
    expect(of.job("b")).toMatchObject({ workspace: "u/src#1", attempt: 2 });
    of.succeed("a");
    of.succeed("b");
    expect(of.state).toBe("succeeded");
  });

  it("lost after something succeeded there: open and later steps of it fail with WORKSPACE_LOST", () => {
    const of = new Scenario({
      steps: { a: run(ws), b: run({ ...ws, needs: ["a"] }), c: run(), d: run({ ...ws, needs: ["c"] }) },
    }).start();
    of.succeed("a");
    of.lose("b");
    expect(of.iteration("b")?.error).toMatchObject({ code: "WORKSPACE_LOST", class: "infrastructure" });
    of.succeed("c");
    expect(of.iteration("d")?.error).toMatchObject({
      code: "WORKSPACE_LOST",
      message: "the worker that held workspace src is gone",
      class: "infrastructure",
    });
    expect(of.execution.error).toMatchObject({ code: "WORKSPACE_LOST", step: "b" });
  });

  it("a planned loss spends nothing, neither of the workspace nor of those that share it", () => {
    const of = new Scenario({ steps: { a: run(ws), b: run(ws) } }).start();
    of.end("a", { kind: "lost", reason: "its engine was stopped", spends: false });
    expect(of.execution.workspaces.src).toMatchObject({ generation: 1, losses: 0 });
    expect([of.iteration("a")?.losses, of.iteration("b")?.losses]).toEqual([0, 0]);
    expect([of.job("a").attempt, of.job("b").attempt]).toEqual([2, 2]);
  });

  it("each of its jobs has lost an attempt; what waits to try again has not", () => {
    const retry = { maxAttempts: 2, initialMs: 1000, maxMs: 1000, multiplier: 1, on: ["user"] };
    const of = new Scenario({ steps: { a: run(ws), b: run(ws), c: run({ ...ws, retry }) } }).start();
    of.fail("c");
    of.lose("a");
    expect(["a", "b", "c"].map((step) => of.iteration(step)?.losses)).toEqual([1, 1, 0]);
    expect(of.history.find((event) => event.type === "workspaceLost")).toMatchObject({ remedy: "retry", steps: [] });
    of.fire("retry/c/0");
    expect(of.job("c")).toMatchObject({ workspace: "u/src#1", attempt: 2 });
  });

  it("an at-most-once step that shared it has had its chance, whatever comes of the others", () => {
    const of = new Scenario({ steps: { a: run(ws), b: run({ ...ws, onLost: "fail" }) } }).start();
    of.lose("a");
    const message = "the worker that held workspace src is gone: node gone";
    expect(of.iteration("b")?.error).toMatchObject({ code: "JOB_LOST", message, class: "infrastructure" });
    expect(of.job("a").attempt).toBe(2);
    const used = new Scenario({ steps: { u: run(ws), a: run(ws), b: run({ ...ws, onLost: "fail" }) } }).start();
    used.succeed("u");
    used.lose("a");
    expect([used.iteration("a")?.error, used.iteration("b")?.error]).toMatchObject([
      { code: "WORKSPACE_LOST", message, class: "infrastructure" },
      { code: "JOB_LOST", message, class: "infrastructure" },
    ]);
  });

  it("a rerun takes along what waits to try again, and leaves what was skipped or had nothing to do", () => {
    const retry = { maxAttempts: 2, initialMs: 1000, maxMs: 1000, multiplier: 1, on: ["user"] };
    const of = new Scenario({
      steps: {
        skipped: run({ ...ws, when: "false" }),
        empty: run({ ...ws, forEach: [] }),
        a: run(ws),
        b: run({ ...ws, onLost: "rerun" }),
        c: run({ ...ws, retry }),
      },
    }).start();
    of.succeed("a");
    of.fail("c");
    of.lose("b");
    expect(of.history.find((event) => event.type === "workspaceLost")).toMatchObject({ steps: ["a", "b", "c"] });
    expect([...of.timers.keys()].toSorted()).toEqual(["queue/a/0.1", "queue/b/0.1", "queue/c/0.1"]);
    for (const step of ["a", "b", "c"]) of.succeed(step, {}, "0.1");
    expect(of.state).toBe("succeeded");
  });

  it("what finally does in it cannot bring back what the steps did", () => {
    const of = new Scenario({ steps: { a: run(ws) }, finally: { z: run({ ...ws, onLost: "rerun" }) } }).start();
    of.succeed("a");
    of.lose("z");
    expect(of.execution.error).toMatchObject({ code: "WORKSPACE_LOST", step: "z" });
  });

  it("a loss does not bring back an iteration that was told to stop", () => {
    const of = new Scenario({ steps: { a: run({ ...ws, forEach: [1, 2] }), b: run(ws) } }).start();
    of.fail("a", {}, "0");
    of.lose("b");
    expect(of.iteration("a", "1")?.state).toBe("cancelled");
    expect(of.step("a")).toBe("failed");
    expect(of.job("b").attempt).toBe(2);
  });

  it("with onLost: rerun the group begins anew under new iteration keys; steps outside do not", () => {
    const of = new Scenario({
      steps: {
        a: run(ws),
        out: run({ needs: ["a"] }),
        b: run({ ...ws, needs: ["a"], onLost: "rerun" }),
        c: run({ ...ws, needs: ["b"] }),
      },
    }).start();
    of.succeed("a");
    of.succeed("out");
    of.lose("b");
    expect(of.execution.workspaces.src).toEqual({ generation: 1, losses: 1, used: false, lost: false });
    expect(of.iteration("a")?.state).toBe("rerun");
    expect(of.job("a", "0.1")).toMatchObject({ attempt: 1, workspace: "u/src#1" });
    of.succeed("a", { v: 2 }, "0.1");
    expect(of.job("b", "0.1").attempt).toBe(1);
    of.succeed("b", {}, "0.1");
    of.succeed("c");
    expect(of.state).toBe("succeeded");
    expect(of.history.filter((event) => event.type === "iterationQueued" && event.step === "out")).toHaveLength(1);
  });

  it("the rerun of a step of many iterations supersedes and stops all of them", () => {
    const of = new Scenario({
      steps: { a: run(ws), b: run({ ...ws, needs: ["a"], onLost: "rerun", forEach: [1, 2, 3], maxParallel: 2 }) },
    }).start();
    of.succeed("a");
    of.succeed("b", {}, "0");
    of.lose("b", "1");
    expect(of.revoked).toEqual(["ns/x/b/2#1"]);
    of.succeed("a", {}, "0.1");
    for (const key of ["0.1", "1.1", "2.1"]) of.succeed("b", {}, key);
    expect(of.state).toBe("succeeded");
    expect(of.timers.size).toBe(0);
  });

  it("a rerun never runs an at-most-once step twice", () => {
    const of = new Scenario({
      steps: { a: run({ ...ws, onLost: "fail" }), b: run({ ...ws, needs: ["a"], onLost: "rerun" }) },
    }).start();
    of.succeed("a");
    of.lose("b");
    expect(of.execution.error?.code).toBe("WORKSPACE_LOST");
  });

  it("reruns are bounded by the infrastructure budget", () => {
    const of = new Scenario({ steps: { a: run(ws), b: run({ ...ws, needs: ["a"], onLost: "rerun" }) } }).start();
    for (const key of ["0", "0.1", "0.2"]) {
      of.succeed("a", {}, key);
      of.lose("b", key);
    }
    of.succeed("a", {}, "0.3");
    of.lose("b", "0.3");
    expect(of.execution.error?.code).toBe("WORKSPACE_LOST");
  });

  it("a retry of the execution repeats everything that shared the folder, in a fresh one", () => {
    const of = new Scenario({ steps: { a: run(ws), b: run({ ...ws, needs: ["a"] }), c: run() } }).start();
    of.succeed("c");
    of.succeed("a");
    of.fail("b");
    of.retry();
    expect([...of.jobs.keys()]).toEqual(["ns/x/a/0#2"]);
    expect(of.job("a").workspace).toBe("u/src#1");
    of.succeed("a");
    expect(of.job("b")).toMatchObject({ attempt: 2, workspace: "u/src#1" });
  });
});
