import { describe, expect, it } from "vitest";
import { definitionOf } from "../workflow/load.ts";
import { any, ephemeral, label, none, parallel, pipeline, sh, stage, subworkflow, template } from "./pipeline.ts";
import { defineWorkflow } from "./workflow.ts";

const compiled = (options: Parameters<typeof pipeline>[0]) => definitionOf(pipeline(options).document);
const base = { name: "p", version: "1.0.0" };
const child = defineWorkflow({ name: "child", version: "1.2.0", steps: ({ run }) => void run("a", "true") });

describe("pipeline", () => {
  it("runs stages one after another, parallel ones side by side", () => {
    const { steps } = compiled({
      ...base,
      stages: [
        stage("Build", { steps: [sh("a"), sh("b")] }),
        parallel("Checks", stage("Lint", { steps: [sh("c")] }), stage("Test", { steps: [sh("d")] })),
        stage("Pack", { steps: [sh("e")] }),
      ],
    });
    const needs = Object.fromEntries(Object.entries(steps).map(([id, step]) => [id, step.needs]));
    expect(needs).toEqual({
      "build-1": [],
      "build-2": ["build-1"],
      lint: ["build-2"],
      test: ["build-2"],
      pack: ["lint", "test"],
    });
  });

  it("shares one workspace under one agent; a stage with its own agent has its own", () => {
    const { steps } = compiled({
      ...base,
      agent: label("linux"),
      stages: [
        stage("Build", { steps: [sh("a")] }),
        stage("Image", { agent: template("docker-dind"), steps: [sh("b")] }),
      ],
    });
    expect(steps["build"]).toMatchObject({ workspace: "pipeline", agent: { label: "linux" } });
    expect(steps["image"]).toMatchObject({ workspace: "image", agent: { template: "docker-dind" } });
  });

  it("goes on after a stage that its when skipped, but not after one that failed", () => {
    const { steps } = compiled({
      ...base,
      input: { type: "object", properties: { deploy: { type: "boolean" } }, required: ["deploy"] },
      stages: [
        stage("First", { steps: [sh("a")] }),
        stage("Deploy", { when: "input.deploy", steps: [sh("b")] }),
        stage("Tell", { steps: [sh("c")] }),
      ],
    });
    expect(steps["deploy"]?.when).toBe("steps.first.state in ['succeeded', 'skipped'] && (input.deploy)");
    expect(steps["tell"]?.needs).toEqual(["deploy", "first"]);
    expect(steps["tell"]?.when).toBe(
      "steps.first.state in ['succeeded', 'skipped'] && steps.deploy.state in ['succeeded', 'skipped']",
    );
  });

  it("makes one step of a matrix stage, so that its cells stay apart", () => {
    const { steps } = compiled({
      ...base,
      stages: [stage("Test", { matrix: { node: ["22", "24"] }, steps: [sh("a"), sh("b")] })],
    });
    expect(Object.keys(steps)).toEqual(["test"]);
    expect(steps["test"]).toMatchObject({ kind: "run", script: "a\nb" });
  });

  it("turns post into finally, and a stage's post into steps that wait for it", () => {
    const definition = compiled({
      ...base,
      stages: [
        stage("Build", { steps: [sh("a")], post: { failure: [sh("f")], always: [sh("g")] } }),
        stage("Next", { steps: [sh("n")] }),
      ],
      post: { always: [sh("x")], success: [sh("y")], failure: [sh("z")] },
    });
    expect(Object.fromEntries(Object.entries(definition.finally).map(([id, step]) => [id, step.when]))).toEqual({
      "post-success": "execution.outcome == 'succeeded'",
      "post-failure": "execution.outcome == 'failed'",
      "post-always": undefined,
    });
    expect(definition.steps["build-post-failure"]).toMatchObject({ needs: ["build"] });
    expect(definition.steps["build-post-always"]?.when).toBe("true");
    expect(definition.steps["next"]?.needs).toEqual(["build"]);
  });

  it("reaches a sub-workflow by range", () => {
    const { steps } = compiled({
      ...base,
      agent: any(),
      stages: [stage("Pack", { steps: [subworkflow("pack", child, {})] })],
    });
    expect(steps["pack"]).toMatchObject({ kind: "workflow", workflow: "child", range: "^1.2.0" });
  });

  it("gives a sub-workflow the stage's total timeout alone", () => {
    const timed = (timeout: string | { run: string; total?: string }) =>
      compiled({ ...base, stages: [stage("Pack", { timeout, steps: [subworkflow("pack", child, {})] })] }).steps["pack"]
        ?.timeout.totalMs;
    expect([timed("5m"), timed({ run: "1m", total: "5m" }), timed({ run: "1m" })]).toEqual([
      300_000,
      300_000,
      undefined,
    ]);
  });

  it("asks for a fresh worker with ephemeral", () => {
    const { steps } = compiled({
      ...base,
      agent: ephemeral(label("linux")),
      stages: [stage("A", { steps: [sh("a")] })],
    });
    expect(steps["a"]?.agent).toMatchObject({ label: "linux", ephemeral: true });
  });

  it.each([
    ["no agent anywhere", { ...base, agent: none(), stages: [stage("A", { steps: [sh("a")] })] }],
    [
      "two stages of one name",
      { ...base, stages: [stage("A", { steps: [sh("a")] }), stage("a", { steps: [sh("b")] })] },
    ],
    [
      "a sub-workflow in a matrix",
      { ...base, stages: [stage("A", { matrix: { x: ["1"] }, steps: [subworkflow("s", child, {})] })] },
    ],
  ])("refuses %s", (_, options) => {
    expect(() => compiled(options)).toThrow(expect.objectContaining({ code: "INVALID_DEFINITION" }));
  });
});
