import { describe, expect, it } from "vitest";
import type { Json } from "./json.ts";
import { idempotencyKey } from "./job.ts";
import { run, Scenario, task } from "./scenario.fixture.ts";

function inputOf(of: Scenario, step: string): Json | undefined {
  const { work } = of.job(step);
  return work.kind === "task" ? work.input : undefined;
}

describe("what an expression sees of the steps", () => {
  it("one that has not begun is pending, and has nothing", () => {
    const of = new Scenario({ steps: { a: task({ input: "${{ steps.b }}" }), b: run({ needs: ["a"] }) } }).start();
    expect(inputOf(of, "a")).toEqual({ state: "pending", outputs: {}, iterations: [] });
  });

  it("one that goes on is seen as it is at that moment", () => {
    const state = "${{ steps.a.state }}";
    const of = new Scenario({
      steps: { a: run(), b: task({ input: state }), c: task({ needs: ["a"], input: state }) },
    });
    of.start();
    expect(inputOf(of, "b")).toBe("open");
    of.succeed("a");
    expect(inputOf(of, "c")).toBe("succeeded");
  });

  it("one that was skipped has no outputs and no iteration", () => {
    const steps = { a: run({ when: "false" }), b: task({ needs: ["a"], when: "true", input: "${{ steps.a }}" }) };
    const of = new Scenario({ steps }).start();
    expect(inputOf(of, "b")).toEqual({ state: "skipped", outputs: {}, iterations: [] });
  });

  it("one of many iterations has theirs, in order, and no outputs of its own; what never opened was cancelled", () => {
    const matrix = { axes: { os: ["linux", "mac"] }, exclude: [], include: [] };
    const after = { needs: ["a", "m", "f"], when: "true" };
    const of = new Scenario({
      steps: {
        a: run({ forEach: [1, 2], maxParallel: 1 }),
        m: run({ matrix }),
        f: run({ forEach: [1] }),
        b: task({ ...after, input: ["${{ steps.a }}", "${{ steps.m.outputs }}", "${{ steps.f.outputs }}"] }),
      },
    }).start();
    of.succeed("m", { v: 1 }, "0");
    of.succeed("m", { v: 2 }, "1");
    of.succeed("f", { v: 3 });
    of.fail("a", {}, "0");
    const iterations = ["failed", "cancelled"].map((state) => ({ state, outputs: {} }));
    expect(inputOf(of, "b")).toEqual([{ state: "failed", outputs: {}, iterations }, {}, {}]);
  });

  it("all of them at once", () => {
    const of = new Scenario({ steps: { a: run(), b: task({ needs: ["a"], input: "${{ steps.map(id, id) }}" }) } });
    of.start();
    of.succeed("a");
    expect(inputOf(of, "b")).toEqual(["a", "b"]);
  });

  it("and of the execution what the steps came to, once that is known", () => {
    const input = "${{ has(execution.outcome) }}";
    const of = new Scenario({ steps: { a: task({ input }) }, finally: { z: task({ input }) } }).start();
    expect(inputOf(of, "a")).toBe(false);
    of.succeed("a");
    expect(inputOf(of, "z")).toBe(true);
  });
});

describe("what a job asks for", () => {
  it("who is isolated asks by the customer that the labels name, else by its namespace", () => {
    const isolated = (isolation: "loose" | "strict") => run({ agent: { isolation } });
    const definition = { steps: { a: isolated("loose"), b: isolated("strict"), c: run() } };
    const acme = new Scenario(definition).start({}, { labels: { customer: "acme" } });
    const asks = (of: Scenario) => ["a", "b", "c"].map((step) => of.job(step).requirement.isolation);
    expect(asks(acme)).toEqual([
      { level: "loose", customer: "acme" },
      { level: "strict", customer: "acme" },
      undefined,
    ]);
    expect(asks(new Scenario(acme.definition).start())[0]).toEqual({ level: "loose", customer: "ns" });
  });

  it("the image of its container may be an expression", () => {
    const of = new Scenario({ steps: { a: run({ container: "node:${{ input }}" }) } }).start("24");
    expect(of.job("a").work).toMatchObject({ container: "node:24" });
    expect(new Scenario({ steps: { a: run() } }).start().job("a").work).not.toHaveProperty("container");
  });

  it("its idempotency key is the same in every attempt", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    const key = idempotencyKey(of.job("a"));
    of.lose("a");
    expect([key, idempotencyKey(of.job("a"))]).toEqual(["u/a/0", "u/a/0"]);
  });
});
