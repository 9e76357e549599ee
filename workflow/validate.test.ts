import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HodeiError } from "./errors.ts";
import { definitionOf, loadDefinition } from "./load.ts";
import { cycleIn } from "./validate.ts";

type Spec = Record<string, unknown>;

function document(spec: Spec): unknown {
  return { apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name: "sample", version: "1.0.0" }, spec };
}

/** What is wrong, as "path: message". */
function wrongIn(spec: Spec): string[] {
  try {
    definitionOf(document(spec));
  } catch (error) {
    if (error instanceof HodeiError && error.code === "INVALID_DEFINITION") {
      return error.violations.map((violation) => `${violation.path}: ${violation.message}`);
    }
    throw error;
  }
  return [];
}

const run = (more: Spec = {}): Spec => ({ run: "x", ...more });

describe("needs", () => {
  it("that name no step are told where they stand, with the nearest name", () => {
    expect(
      wrongIn({ steps: { build: run(), test: run({ needs: ["build", "biuld"] }), ship: run({ needs: "tset" }) } }),
    ).toEqual([
      'spec.steps.test.needs[1]: unknown step "biuld", did you mean "build"?',
      'spec.steps.ship.needs: unknown step "tset", did you mean "test"?',
    ]);
  });

  it("stand in the text where they were written, although the graph has them sorted", () => {
    const text = `apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: sample, version: 1.0.0 }
spec:
  steps:
    build: { run: x }
    ship:
      run: x
      needs:
        - unit
        - build
        - build
`;
    expect(() => loadDefinition(text, { file: "a.yaml" })).toThrow(
      'a.yaml:10:11: spec.steps.ship.needs[0]: unknown step "unit"',
    );
    expect(loadDefinition(text.replace("- unit", "- build")).steps["ship"]?.needs).toEqual(["build"]);
  });

  it("cross between steps and finally in neither direction", () => {
    expect(
      wrongIn({ steps: { a: run({ needs: ["z"] }) }, finally: { z: run({ needs: ["a"] }), y: run({ needs: ["z"] }) } }),
    ).toEqual([
      'spec.steps.a.needs[0]: unknown step "z"; it stands under finally, which runs after all steps',
      'spec.finally.z.needs[0]: unknown step "a"; a step of finally needs only others there, since all steps have ended before',
    ]);
  });

  it("that go round are shown as the round", () => {
    const steps = { a: run(), b: run({ needs: ["a", "d"] }), c: run({ needs: ["b"] }), d: run({ needs: ["c"] }) };
    expect(wrongIn({ steps })).toEqual(["spec.steps.b.needs: the steps wait for each other: b → d → c → b"]);
    expect(wrongIn({ steps: { a: run({ needs: ["a"] }) } })).toEqual([
      "spec.steps.a.needs: the steps wait for each other: a → a",
    ]);
  });

  it("may chain a thousand steps", () => {
    const steps = Array.from({ length: 1000 }, (_, index) => [
      `s${index}`,
      run(index === 0 ? {} : { needs: [`s${index - 1}`] }),
    ]);
    expect(wrongIn({ steps: Object.fromEntries(steps) as Spec })).toEqual([]);
  });

  it("have a cycle exactly when they cannot be put in an order", () => {
    const graph = fc.array(fc.array(fc.nat(6), { maxLength: 2 }), { minLength: 1, maxLength: 7 });
    fc.assert(
      fc.property(graph, (edges) => {
        const needs = edges.map((row) => row.filter((need) => need < edges.length));
        const definition = definitionOf(
          document({ steps: Object.fromEntries(edges.map((_, index) => [`s${index}`, run()])) }),
        );
        for (const [index, row] of needs.entries()) {
          definition.steps[`s${index}`]?.needs.push(...row.map((need) => `s${need}`));
        }
        const cycle = cycleIn(definition.steps);
        // Taking away, again and again, whoever needs nobody that is left.
        let left = needs.map((_, index) => index);
        for (let before = -1; before !== left.length;) {
          before = left.length;
          const now = left;
          left = now.filter((index) => needs[index]?.some((need) => now.includes(need)));
        }
        expect(cycle !== undefined).toBe(left.length > 0);
        const pairs = cycle?.slice(1).map((need, index) => definition.steps[cycle[index] ?? ""]?.needs.includes(need));
        expect(pairs?.every(Boolean) ?? true).toBe(true);
      }),
    );
  });
});

describe("expressions", () => {
  const uses = (id: string): Spec => ({ env: { X: `\${{ steps.${id}.outputs.x }}` } });

  it("of a step see the steps that it needs, directly or not", () => {
    expect(wrongIn({ steps: { a: run(), b: run({ needs: ["a"] }), c: run({ needs: ["b"], ...uses("a") }) } })).toEqual(
      [],
    );
  });

  it("of a step do not see one that it does not need", () => {
    expect(wrongIn({ steps: { a: run(), b: run(uses("a")) } })).toEqual([
      'spec.steps.b.env.X: refers to step "a", which it does not need and which may not have ended; add it to needs',
    ]);
    expect(wrongIn({ steps: { a: run(), b: run({ when: 'steps["a"].state == "failed"' }) } })).toEqual([
      'spec.steps.b.when: refers to step "a", which it does not need and which may not have ended; add it to needs',
    ]);
  });

  it("tell a step that is not there from one that is not needed", () => {
    const [found] = wrongIn({ steps: { build: run(), ship: run({ needs: ["build"], ...uses("biuld") }) } });
    expect(found).toMatch(/^spec\.steps\.ship\.env\.X: .*biuld/);
    expect(found).not.toMatch(/add it to needs/);
  });

  it("of the output see all steps, and none of finally", () => {
    const output = (id: string): string[] =>
      wrongIn({
        steps: { a: run(), b: run() },
        finally: { z: run() },
        output: { deep: [{ x: `\${{ steps.${id}.outputs.x }}` }] },
      });
    expect(output("a")).toEqual([]);
    expect(output("b")).toEqual([]);
    expect(output("z")).toEqual([expect.stringMatching(/^spec\.output\.deep\[0\]\.x: /)]);
  });

  it("of finally see all steps and the steps of finally that they need", () => {
    const steps = { a: run() };
    expect(wrongIn({ steps, finally: { y: run(uses("a")), z: run({ needs: ["y"], ...uses("y") }) } })).toEqual([]);
    expect(wrongIn({ steps, finally: { y: run(), z: run(uses("y")) } })).toEqual([
      'spec.finally.z.env.X: refers to step "y", which it does not need and which may not have ended; add it to needs',
    ]);
  });

  it("see matrix and item only where there are iterations", () => {
    const env = { X: "${{ matrix.os }}" };
    expect(wrongIn({ steps: { a: run({ matrix: { os: ["x"] }, env }) } })).toEqual([]);
    expect(wrongIn({ steps: { a: run({ env }) } })).toHaveLength(1);
    expect(wrongIn({ steps: { a: run({ forEach: [1], env: { X: "${{ item }} ${{ index }}" } }) } })).toEqual([]);
    expect(wrongIn({ steps: { a: run({ env: { X: "${{ item }}" } }) } })).toHaveLength(1);
    // The condition and the list stand before the iterations.
    expect(wrongIn({ steps: { a: run({ forEach: [1], when: "item == 1" }) } })).toHaveLength(1);
  });

  it.each<[string, Spec, string]>([
    ["when", run({ when: "1 +" }), "spec.steps.a.when"],
    ["a when that gives a text", run({ when: '"yes"' }), "spec.steps.a.when"],
    ["forEach", run({ forEach: "${{ 1 + }}" }), "spec.steps.a.forEach"],
    ["an item of forEach", run({ forEach: [1, { x: "${{ nope }}" }] }), "spec.steps.a.forEach[1].x"],
    ["a value of an axis", run({ matrix: { os: ["x", "${{ nope }}"] } }), "spec.steps.a.matrix.os[1]"],
    ["a container", run({ container: "node:${{ nope }}" }), "spec.steps.a.container"],
    ["an axis", run({ matrix: { os: "${{ nope }}" } }), "spec.steps.a.matrix.os"],
    ["env", run({ env: { A: "x ${{ nope }}" } }), "spec.steps.a.env.A"],
    ["a task's input", { task: "t", input: { list: ["${{ nope }}"] } }, "spec.steps.a.input.list[0]"],
    ["a child's input", { workflow: "w", input: { x: "${{ nope }}" } }, "spec.steps.a.input.x"],
    ["sleep", { sleep: "${{ nope }}" }, "spec.steps.a.sleep"],
  ])("are checked in %s", (_what, step, path) => {
    const found = wrongIn({ steps: { a: step } });
    expect(found).toEqual([expect.stringMatching(new RegExp(`^${path.replaceAll(/[.[\]]/g, "\\$&")}: `))]);
  });

  it("of the shared environment are told once, where they stand, with the step they fail in", () => {
    const env = { WHO: "${{ nope }}", OF: "${{ steps.a.outputs.x }}" };
    const found = wrongIn({ env, steps: { a: run({ env: { OF: "" } }), b: run({ needs: ["a"] }), c: run() } });
    expect(found.filter((line) => line.startsWith("spec.env.OF"))).toEqual([
      'spec.env.OF: refers to step "a", which it does not need and which may not have ended; add it to needs (in step "c")',
    ]);
    expect(found.filter((line) => line.startsWith("spec.env.WHO"))).toHaveLength(3);
  });

  it("are checked against the schema of the input", () => {
    const input = { type: "object", properties: { who: { type: "string" } }, additionalProperties: false };
    expect(wrongIn({ input, steps: { a: run({ env: { X: "${{ input.who }}" } }) } })).toEqual([]);
    expect(wrongIn({ input, steps: { a: run({ env: { X: "${{ input.whom }}" } }) } })).toEqual([
      expect.stringMatching(/^spec\.steps\.a\.env\.X: .*whom/),
    ]);
  });
});
