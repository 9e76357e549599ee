import { describe, expect, it } from "vitest";
import { LIMITS } from "./limits.ts";
import { run, Scenario, sleep, wait } from "./scenario.fixture.ts";

const approval = { roles: [] };
const code = (expected: string) => expect.objectContaining({ code: expected });

describe("wait", () => {
  it("takes the next signal; an object is the outputs, anything else stands under payload", () => {
    const of = new Scenario({ steps: { a: wait({ signal: "s" }), b: wait({ signal: "t" }) } }).start();
    of.signal("s", { v: 1 });
    of.signal("t", 2);
    expect(of.iteration("a")?.outputs).toEqual({ v: 1 });
    expect(of.iteration("b")?.outputs).toEqual({ payload: 2 });
    expect(of.state).toBe("succeeded");
  });

  it("takes a remembered one, the oldest first", () => {
    const of = new Scenario({ steps: { r: run(), a: wait({ needs: ["r"] }), b: wait({ needs: ["a"] }) } }).start();
    of.signal("go", 1);
    of.signal("go", 2);
    expect(of.execution.signals).toEqual({ go: [1, 2] });
    of.succeed("r");
    expect(of.iteration("a")?.outputs).toEqual({ payload: 1 });
    expect(of.iteration("b")?.outputs).toEqual({ payload: 2 });
    expect(of.execution.signals).toEqual({});
  });

  it("one signal ends one waiting iteration", () => {
    const of = new Scenario({ steps: { a: wait({ forEach: [1, 2] }) } }).start();
    of.signal("go", 1);
    expect(of.execution.steps.a).toMatchObject({ open: 1, ended: 1 });
    of.signal("go", 2);
    expect(of.state).toBe("succeeded");
  });

  it("a signal that no step takes, or that all have had, is refused", () => {
    const of = new Scenario({ steps: { r: run(), a: wait() } }).start();
    const two = new Scenario({ steps: { a: wait(), b: wait({ signal: "on" }) } }).start();
    expect(() => two.signal("og")).toThrow(expect.objectContaining({ hint: "the workflow waits for: go, on" }));
    expect(() => of.signal("og")).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: 'no step of w waits for a signal "og"',
        field: "name",
        hint: "the workflow waits for: go",
      }),
    );
    of.signal("go");
    expect(() => of.signal("go")).toThrow(
      expect.objectContaining({ code: "CLOSED", message: 'the steps that wait for "go" have ended' }),
    );
    const none = new Scenario({ steps: { r: run() } }).start();
    expect(() => none.signal("go")).toThrow(expect.objectContaining({ hint: "the workflow has no wait step" }));
  });

  it("remembers a bounded number", () => {
    const of = new Scenario({ steps: { r: run(), a: wait({ needs: ["r"] }) } }).start();
    const { execution } = of;
    execution.signals.go = Array.from({ length: LIMITS.signalsRemembered }, () => 0);
    const message = "1000 signals wait for a step to take them already";
    expect(() => of.signal("go")).toThrow(expect.objectContaining({ code: "RESOURCE_EXHAUSTED", message }));
  });

  it("a payload that does not match the schema is told to the sender, and nothing is recorded", () => {
    const schema = { type: "object", required: ["n"], properties: { n: { type: "integer" } } };
    const of = new Scenario({ steps: { a: wait({ schema }) } }).start();
    expect(() => of.signal("go", { n: "x" })).toThrow(
      expect.objectContaining({
        code: "INVALID_INPUT",
        message: expect.stringMatching(/^the signal does not match the schema of step a/) as string,
        violations: [expect.objectContaining({ path: "payload.n" })],
      }),
    );
    const bound = expect.objectContaining({
      code: "TOO_LARGE",
      message: "a signal holds at most 65536 bytes",
      field: "payload",
    });
    expect(() => of.signal("go", "x".repeat(LIMITS.signalBytes - 1))).toThrow(bound);
    expect(() => of.signal("go", "x".repeat(LIMITS.signalBytes - 2))).toThrow(code("INVALID_INPUT"));
    expect(of.execution.seen).toEqual([]);
    of.signal("go", { n: 1 });
    expect(of.state).toBe("succeeded");
  });

  it("an approval says yes or no, by whom the credential names", () => {
    const of = new Scenario({ steps: { a: wait({ approval }), b: wait({ signal: "t", approval }) } }).start();
    expect(() => of.signal("go", { comment: "hm" })).toThrow(
      expect.objectContaining({
        code: "INVALID_INPUT",
        message: "step a waits for an approval: {approved: true or false, comment}",
        field: "payload.approved",
      }),
    );
    of.signal("go", { approved: true, by: "forged" }, "ann");
    expect(of.iteration("a")?.outputs).toEqual({ approved: true, by: "ann" });
    of.signal("t", { approved: false, comment: "not today" }, "bob");
    expect(of.execution.error).toMatchObject({ code: "JOB_FAILED", message: "rejected by bob: not today" });
  });

  it("an approval by nobody keeps the payload as it is; words that are none are left out", () => {
    const steps = { a: wait({ approval }), b: wait({ signal: "t", approval }), c: wait({ signal: "u", approval }) };
    const of = new Scenario({ steps }).start();
    of.signal("go", { approved: true, by: 7 }, "");
    expect(of.iteration("a")?.outputs).toEqual({ approved: true, by: 7 });
    of.signal("t", { approved: false, by: 7, comment: 8 }, "");
    of.signal("u", { approved: false, by: "", comment: "" }, "");
    for (const step of ["b", "c"]) {
      expect(of.iteration(step)?.error).toMatchObject({ message: "rejected", class: "user" });
    }
  });

  it("a name that one step takes as an approval carries who sent it to all; without one a no is just data", () => {
    const of = new Scenario({ steps: { a: wait({ needs: ["b"], approval }), b: wait(), c: wait({ signal: "t" }) } });
    of.start();
    of.signal("t", { approved: false });
    expect(of.iteration("c")).toMatchObject({ state: "succeeded", outputs: { approved: false } });
    of.signal("go", { approved: true });
    expect(of.iteration("b")?.outputs).toEqual({ approved: true, by: "ann" });
    expect(of.history.find((event) => event.type === "iterationWaiting")).toMatchObject({ on: { signal: "go" } });
  });

  it("a total timeout fails it with JOB_TIMEOUT", () => {
    const of = new Scenario({ steps: { a: wait({ timeout: { queueMs: 1, startMs: 1, runMs: 1, totalMs: 500 } }) } });
    of.start();
    of.fire("total/a/0");
    expect(of.execution.error?.code).toBe("JOB_TIMEOUT");
    expect(of.timers.size).toBe(0);
  });
});

describe("sleep", () => {
  it("ends by its timer, after what is written or what an expression gives: a text, or seconds", () => {
    const steps = { a: sleep(1500), b: sleep("${{ input.d }}"), c: sleep("${{ input.n }}") };
    const of = new Scenario({ steps }).start({ d: "1m30s", n: 2.5 });
    const { nowMs } = of;
    expect(Object.fromEntries(of.timers)).toEqual({
      "sleep/a/0": nowMs + 1500,
      "sleep/b/0": nowMs + 90_000,
      "sleep/c/0": nowMs + 2500,
    });
    for (const timer of of.timers.keys()) of.fire(timer);
    expect(of.state).toBe("succeeded");
  });

  it("what is no duration fails the step", () => {
    const of = new Scenario({ steps: { a: sleep("${{ input.d }}") } }).start({ d: "soon" });
    expect(of.execution.error).toMatchObject({ step: "a" });
    expect(of.iteration("a")?.error?.class).toBe("config");
    const list = new Scenario({ steps: { a: sleep("${{ input.d }}") } }).start({ d: [1] });
    expect(list.execution.error).toMatchObject({
      code: "INVALID_EXPRESSION",
      message: 'a sleep takes seconds or a text such as "90s", not [1]',
    });
  });
});
