import { describe, expect, it } from "vitest";
import { childIdOf, type WorkflowStep } from "./child.ts";
import { LIMITS } from "./limits.ts";
import { child, run, Scenario } from "./scenario.fixture.ts";

const retry = { maxAttempts: 2, initialMs: 0, maxMs: 0, multiplier: 1, on: ["user"] };

describe("more children than one commit can tell", () => {
  const many = { forEach: Array.from({ length: 200 }, (_, n) => n) };
  const steps = { a: child(many), b: child(many), c: run(), d: child({ ...many, needs: ["c"] }) };
  const told = (of: Scenario): number => of.sent.filter((message) => message.kind === "cancelChild").length;

  it("are told to stop over several commits, each once; none is forgotten by a crash between them", () => {
    const of = new Scenario({ steps }).start();
    of.goesOn = false;
    expect(of.cancel().more).toBe(true);
    expect(told(of)).toBe(200);
    expect(of.step("d")).toBe("cancelled");
    of.send({ kind: "continue" });
    of.send({ kind: "continue" });
    expect(told(of)).toBe(400);
    of.fire("grace");
    expect(of.state).toBe("cancelled");
  });

  it("an execution timeout tells them too", () => {
    const of = new Scenario({ steps, timeoutMs: 1000 }).start();
    of.fire("execution");
    expect(told(of)).toBe(400);
  });
});

describe("a child that is started again", () => {
  const parent = { executionId: "p", uid: "pu", step: "s", iteration: "0", depth: 0 };
  const again = (of: Scenario): unknown[] => {
    const before = of.sent.length;
    of.start({}, { parent });
    return of.sent.slice(before);
  };

  it("tells its end once more: a parent that asks has not heard of it", () => {
    const of = new Scenario({ steps: { a: run() }, output: { k: 1 } }).start({}, { parent });
    of.succeed("a");
    const told = of.sent.at(-1);
    expect(told).toMatchObject({ kind: "childEnded", target: "p", state: "succeeded", output: { k: 1 } });
    expect(again(of)).toEqual([told]);
    expect(of.state).toBe("succeeded");
  });

  it("says nothing while it runs", () => {
    const of = new Scenario({ steps: { a: run() } }).start({}, { parent });
    expect(again(of)).toEqual([]);
  });
});

describe("sub-workflows", () => {
  it("a start asks for the locked version, and names the parent", () => {
    const of = new Scenario({ steps: { a: child({ input: { v: "${{ input.v }}" } }) } }).start({ v: 5 });
    expect(of.sent).toEqual([
      {
        kind: "startChild",
        target: "x/a/0",
        step: "a",
        iteration: "0",
        workflow: "sub",
        version: "1.2.3",
        digest: "sha256:1",
        input: { v: 5 },
        parent: { executionId: "x", uid: "u", step: "a", iteration: "0", depth: 0 },
      },
    ]);
    expect(of.iteration("a")).toMatchObject({ state: "waiting", childId: "x/a/0", attempt: 1 });
  });

  it("its output is the step's outputs", () => {
    const of = new Scenario({ steps: { a: child() }, output: { k: "${{ steps.a.outputs.k }}" } }).start();
    of.childEnded("a", { output: { k: [1] } });
    expect(of.execution.output).toEqual({ k: [1] });
  });

  it("its failure, and its cancellation, fail the step with CHILD_FAILED", () => {
    const of = new Scenario({ steps: { a: child(), b: child() } }).start();
    of.childEnded("a", { state: "failed", error: { code: "JOB_FAILED", message: "boom" } });
    of.childEnded("b", { state: "cancelled" });
    expect(of.iteration("a")?.error).toMatchObject({
      code: "CHILD_FAILED",
      message: "sub-workflow x/a/0 failed: boom",
    });
    expect(of.iteration("b")?.error).toMatchObject({
      code: "CHILD_FAILED",
      message: "sub-workflow x/b/0 was cancelled",
      class: "user",
    });
  });

  it("is retried by the code of its error too, as a handler by its type", () => {
    const by = { ...retry, on: ["JOB_TIMEOUT"] };
    const of = new Scenario({ steps: { a: child({ retry: by }), b: child({ retry: by }) } }).start();
    of.childEnded("a", { state: "failed", error: { code: "JOB_TIMEOUT", message: "slow" } });
    of.childEnded("b", { state: "failed", error: { code: "JOB_FAILED", message: "bad" } });
    expect([of.iteration("a")?.attempt, of.step("b")]).toEqual([2, "failed"]);
  });

  it("whose start failed with that of another takes back its own alone", () => {
    const many = child({ forEach: [{ v: 1 }, {}, { v: 3 }], input: "${{ item.v }}" });
    const of = new Scenario({ steps: { b: child(), a: many } }).start();
    expect(of.sent).toMatchObject([{ kind: "startChild", target: "x/b/0" }]);
    expect(of.execution.steps.a).toMatchObject({ state: "failed", failed: 1, cancelled: 1 });
  });

  it("that is refused too late, or while its step stops, fails nothing", () => {
    const of = new Scenario({ steps: { a: child() } }).start();
    const refused = { kind: "childRefused", step: "a", iteration: "0" } as const;
    const error = { code: "INVALID_INPUT", message: "no" } as const;
    expect(of.send({ ...refused, childId: "x/a/0#9", error }).events).toEqual([]);
    of.cancel();
    of.send({ ...refused, childId: "x/a/0", error });
    expect(of.step("a")).toBe("cancelled");
  });

  it("a retried one is another execution, and the end of the first one is too late", () => {
    const of = new Scenario({ steps: { a: child({ retry }) } }).start();
    of.childEnded("a", { state: "failed" });
    expect(of.iteration("a")).toMatchObject({ childId: "x/a/0#2", attempt: 2, failures: 1 });
    expect(of.childEnded("a", { childId: "x/a/0" }).events).toEqual([]);
    of.childEnded("a");
    expect(of.state).toBe("succeeded");
  });

  it("a refused start is final; the bounds of a tree keep their code", () => {
    const of = new Scenario({ steps: { a: child({ retry }), b: child(), c: child() } }).start();
    const refuse = (step: string, code: "TREE_TOO_LARGE" | "DEPTH_EXCEEDED" | "INVALID_INPUT") => {
      const error = { code, message: "no" };
      of.send({ kind: "childRefused", step, iteration: "0", childId: `x/${step}/0`, error });
    };
    refuse("a", "INVALID_INPUT");
    refuse("b", "TREE_TOO_LARGE");
    refuse("c", "DEPTH_EXCEEDED");
    expect(of.iteration("a")?.error).toMatchObject({
      code: "CHILD_FAILED",
      message: "sub-workflow x/a/0 was refused: no",
      class: "config",
    });
    expect(of.iteration("c")?.error).toMatchObject({ code: "DEPTH_EXCEEDED" });
    expect(of.iteration("b")?.error).toMatchObject({ code: "TREE_TOO_LARGE" });
  });

  it("deeper than the bound, or not in the lock, it is never started", () => {
    const parent = { executionId: "p", uid: "pu", step: "s", iteration: "0", depth: LIMITS.childDepth - 1 };
    const deep = new Scenario({ steps: { a: child() } }).start({}, { parent });
    expect(deep.execution.error).toMatchObject({
      code: "DEPTH_EXCEEDED",
      message: "sub-workflows nest at most 16 deep",
    });
    const last = new Scenario({ steps: { a: child() } }).start({}, { parent: { ...parent, depth: parent.depth - 1 } });
    expect(last.sent).toMatchObject([{ kind: "startChild" }]);
    const unlocked = new Scenario({ steps: { a: child() } }).start({}, { lock: { entries: {} } });
    expect(unlocked.execution.error).toMatchObject({
      code: "NO_SUCH_VERSION",
      message: 'the lock holds no version of sub for "^1.0.0"',
    });
    expect(unlocked.sent).toEqual([]);
  });

  it("is told of a cancel, and finally waits for its end", () => {
    const of = new Scenario({ steps: { a: child() }, finally: { z: run() } }).start();
    of.cancel("enough");
    expect(of.sent.at(-1)).toMatchObject({ kind: "cancelChild", target: "x/a/0", reason: "enough" });
    expect(of.step("z")).toBe("pending");
    of.childEnded("a", { state: "cancelled" });
    expect(of.step("a")).toBe("cancelled");
    of.succeed("z");
    expect(of.state).toBe("cancelled");
  });

  it("is told why the step stops: another iteration failed", () => {
    const of = new Scenario({ steps: { a: child({ forEach: [1, 2] }) } }).start();
    of.childEnded("a", { state: "failed" });
    expect(of.sent.at(-1)).toMatchObject({ kind: "cancelChild", target: "x/a/1", reason: "another iteration failed" });
  });

  it("is told nothing when it has ended: neither while its step waits to try again, nor before it began", () => {
    const slow = { ...retry, initialMs: 1000, maxMs: 1000 };
    const of = new Scenario({ steps: { a: child({ retry: slow }) } }).start();
    of.childEnded("a", { state: "failed" });
    of.cancel();
    expect(of.sent.map((message) => message.kind)).toEqual(["startChild"]);
    expect(of.state).toBe("cancelled");
    const held = new Scenario({ steps: { a: child({ forEach: [1, 2], maxParallel: 1 }) } }).start();
    held.pause();
    held.childEnded("a");
    held.cancel();
    expect(held.state).toBe("cancelled");
    expect(held.types()).not.toContain("stepStopping");
  });

  it("outputs beyond the bound fail its step", () => {
    const of = new Scenario({ steps: { a: child({ retry }) } }).start();
    of.childEnded("a", { output: { v: "x".repeat(LIMITS.outputBytes) } });
    expect(of.iteration("a")?.error).toMatchObject({ code: "TOO_LARGE", class: "user" });
  });

  it("a total timeout gives it up", () => {
    const timeout = { queueMs: 1, startMs: 1, runMs: 1, totalMs: 1000 };
    const of = new Scenario({ steps: { a: child({ timeout }) } }).start();
    of.fire("total/a/0");
    expect(of.sent.map((message) => message.kind)).toEqual(["startChild", "cancelChild"]);
    expect(of.sent.at(-1)).toMatchObject({ reason: "the step's total timeout is over" });
    expect(of.execution.error?.code).toBe("JOB_TIMEOUT");
    const slow = { ...retry, initialMs: 10_000, maxMs: 10_000 };
    const between = new Scenario({ steps: { a: child({ timeout, retry: slow }) } }).start();
    between.childEnded("a", { state: "failed" });
    between.fire("total/a/0");
    expect(between.sent.map((message) => message.kind)).toEqual(["startChild"]);
    expect(between.state).toBe("failed");
  });

  it("affinity: parent puts what the parent hashes by in braces; other children take the braces off", () => {
    const near = { id: "s", affinity: "parent" } as WorkflowStep;
    const far = { id: "s" } as WorkflowStep;
    expect(childIdOf("x", near, "0", 1)).toBe("{x}/s/0");
    expect(childIdOf("{x}/s/0", near, "3", 1)).toBe("{x}/s/0/s/3");
    expect(childIdOf("{x}/s/0", far, "0", 2)).toBe("x/s/0/s/0#2");
  });
});
