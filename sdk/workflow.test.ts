import { describe, expect, expectTypeOf, it } from "vitest";
import { definitionOf, digestOf, loadDefinition } from "../workflow/load.ts";
import type { HodeiClient } from "./client.ts";
import { defineHandler } from "./handler.ts";
import { expr } from "./reference.ts";
import { defineWorkflow, type Workflow } from "./workflow.ts";

const INPUT = {
  type: "object",
  required: ["who"],
  properties: { who: { type: "string" }, times: { type: "integer" } },
} as const;

const greet = defineWorkflow({
  name: "greet",
  version: "1.0.0",
  input: INPUT,
  steps: ({ input, run }) => {
    const hello = run("hello", {
      script: 'echo "greeting=hello $WHO" >> "$HODEI_OUTPUT"',
      env: { WHO: input.who },
      agent: { label: "linux && !spot" },
      outputs: ["greeting"],
    });
    run("shout", { script: 'echo "$TEXT" | tr a-z A-Z', env: { TEXT: hello.outputs.greeting } });
    return { text: hello.outputs.greeting };
  },
});

const YAML = `
apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: greet, version: 1.0.0 }
spec:
  input: { type: object, required: [who], properties: { who: { type: string }, times: { type: integer } } }
  steps:
    hello:
      run: echo "greeting=hello $WHO" >> "$HODEI_OUTPUT"
      env: { WHO: "\${{ input.who }}" }
      agent: { label: "linux && !spot" }
    shout:
      needs: [hello]
      run: echo "$TEXT" | tr a-z A-Z
      env: { TEXT: "\${{ steps.hello.outputs.greeting }}" }
  output: { text: "\${{ steps.hello.outputs.greeting }}" }
`;

describe("defineWorkflow", () => {
  it("gives the same graph, and so the same digest, as YAML and as JSON", () => {
    const digest = digestOf(loadDefinition(YAML));
    expect(digestOf(definitionOf(greet.document))).toBe(digest);
    expect(digestOf(loadDefinition(JSON.stringify(greet.document)))).toBe(digest);
  });

  it("needs what it refers to, and what it says beside", () => {
    const workflow = defineWorkflow({
      name: "w",
      version: "1.0.0",
      steps: ({ run }) => {
        const a = run("a", { script: "true", outputs: ["n"] });
        const b = run("b-dashed", "true");
        run("c", { script: "true", when: expr<boolean>`${a.outputs.n} == '1'`, needs: [b] });
        run("d", { script: "true", env: { STATE: b.state } });
      },
    });
    const { steps } = definitionOf(workflow.document);
    expect(steps["c"]?.needs.toSorted()).toEqual(["a", "b-dashed"]);
    expect(steps["c"]?.when).toBe("steps.a.outputs.n == '1'");
    expect(steps["d"]?.needs).toEqual(["b-dashed"]);
  });

  it("refuses a step id that is taken", () => {
    const twice = () =>
      defineWorkflow({ name: "w", version: "1.0.0", steps: ({ run }) => void [run("a", "true"), run("a", "true")] });
    expect(twice).toThrow(expect.objectContaining({ code: "INVALID_DEFINITION", field: "a" }));
  });

  it("refuses to assign to a reference", () => {
    const assign = () =>
      defineWorkflow({
        name: "w",
        version: "1.0.0",
        input: INPUT,
        steps: ({ input }) => void Object.assign(input, { who: "x" }),
      });
    expect(assign).toThrow(expect.objectContaining({ code: "INVALID_DEFINITION" }));
  });

  it("puts finally steps apart", () => {
    const workflow = defineWorkflow({
      name: "w",
      version: "1.0.0",
      steps: ({ run, finally: last }) => {
        run("a", "true");
        last.run("clean", { script: "true", when: expr<boolean>`${last.outcome} == 'failed'` });
      },
    });
    expect(Object.keys(definitionOf(workflow.document).finally)).toEqual(["clean"]);
  });
});

describe("types", () => {
  it("infer inputs and outputs across steps, handlers and sub-workflows", () => {
    expectTypeOf(greet).toEqualTypeOf<Workflow<{ who: string; times?: number }, { text: string }>>();

    const resize = defineHandler(
      "resize",
      { type: "object", required: ["width"], properties: { width: { type: "integer" } } },
      ({ width }) => ({
        url: `https://example/${width}`,
        ok: true,
      }),
    );
    const parent = defineWorkflow({
      name: "parent",
      version: "1.0.0",
      steps: ({ task, workflow, wait }) => {
        const child = workflow("child", greet, { input: { who: "sea" } });
        const image = task("image", resize, { input: { width: 4 } });
        const answer = wait("answer", {
          signal: "answer",
          schema: { type: "object", required: ["yes"], properties: { yes: { type: "boolean" } } },
        });
        // @ts-expect-error the child's input is { who: string }
        workflow("wrong", greet, { input: { who: 3 } });
        // @ts-expect-error the child gives no such output
        void child.outputs.nothing;
        // @ts-expect-error the handler wants a number
        task("wrong-too", resize, { input: { width: "4" } });
        return {
          text: child.outputs.text,
          url: image.outputs.url,
          ok: image.outputs.ok,
          yes: answer.outputs.yes,
          both: [1, child.outputs.text] as const,
        };
      },
    });
    expectTypeOf(parent).toEqualTypeOf<
      Workflow<Record<string, unknown>, { text: string; url: string; ok: boolean; yes: boolean; both: [1, string] }>
    >();
  });

  it("reach the client", () => {
    const use = async (client: HodeiClient): Promise<void> => {
      expectTypeOf(await client.execute(greet, { who: "sea" })).toEqualTypeOf<{ text: string }>();
      // @ts-expect-error who is missing
      await client.execute(greet, {});
    };
    expect(use).toBeTypeOf("function");
  });
});
