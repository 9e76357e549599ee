import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HodeiError } from "./errors.ts";
import type { Violation } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { definitionOf, digestOf, loadDefinition, normalForm, parseNormalForm } from "./load.ts";

const GREET = `apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: greet, version: 1.0.0 }
spec:
  input: { type: object, required: [who], properties: { who: { type: string } } }
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

/** A document around `spec`, as text that stays readable in a failure. */
function withSpec(spec: unknown, metadata: Record<string, unknown> = {}): unknown {
  return {
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name: "sample", version: "1.0.0", ...metadata },
    spec,
  };
}

function withStep(step: unknown): unknown {
  return withSpec({ steps: { one: step } });
}

function stepOf(step: unknown): unknown {
  return definitionOf(withStep(step)).steps["one"];
}

function failureOf(load: () => unknown): HodeiError {
  try {
    load();
  } catch (error) {
    if (error instanceof HodeiError) return error;
    throw error;
  }
  throw new Error("it loaded");
}

function violationsOf(load: () => unknown): readonly Violation[] {
  const failure = failureOf(load);
  expect(failure.code).toBe("INVALID_DEFINITION");
  return failure.violations;
}

describe("loading", () => {
  it("reads the example of the documentation into the graph with all defaults", () => {
    const definition = loadDefinition(GREET);
    expect(definition).toMatchObject({ name: "greet", version: "1.0.0", labels: {}, priority: "normal", finally: {} });
    expect(definition.output).toEqual({ text: "${{ steps.hello.outputs.greeting }}" });
    expect(Object.keys(definition.steps)).toEqual(["hello", "shout"]);
    expect(definition.steps["shout"]).toEqual({
      id: "shout",
      kind: "run",
      script: 'echo "$TEXT" | tr a-z A-Z',
      shell: "sh",
      needs: ["hello"],
      env: { TEXT: "${{ steps.hello.outputs.greeting }}" },
      agent: {},
      failFast: true,
      continueOnError: false,
      retry: { maxAttempts: 1, initialMs: 1000, maxMs: 60_000, multiplier: 2, on: ["timeout", "user"] },
      timeout: { queueMs: 300_000, startMs: 300_000, runMs: 1_800_000 },
      onLost: "retry",
    });
    expect(definition.steps["hello"]?.agent).toEqual({ label: "linux && !spot" });
  });

  it("gives the same from YAML, JSON text and a plain object", () => {
    const spec = { steps: { one: { run: "true", timeout: "90s", agent: "linux" } } };
    const yaml = `
apiVersion: hodei.dev/v1
kind: Workflow
metadata:
  version: 1.0.0
  name: sample
spec:
  steps:
    one: { agent: { label: linux }, timeout: { run: 1m30s }, run: "true" }
`;
    const plain = definitionOf(withSpec(spec));
    expect(loadDefinition(JSON.stringify(withSpec(spec), null, "\t"))).toEqual(plain);
    expect(loadDefinition(yaml)).toEqual(plain);
    expect(digestOf(loadDefinition(yaml))).toBe(digestOf(plain));
  });

  it("keeps the steps in the order they were written, also through the normal form", () => {
    const definition = definitionOf(withSpec({ steps: { z: { run: "z" }, a: { run: "a" }, m: { run: "m" } } }));
    expect(Object.keys(parseNormalForm(normalForm(definition)).steps)).toEqual(["z", "a", "m"]);
  });

  it("reads every kind of step", () => {
    const step = (one: unknown): unknown => stepOf(one);
    expect(step({ run: "x", shell: "bash", container: "node:24" })).toMatchObject({
      shell: "bash",
      container: "node:24",
    });
    expect(step({ task: "mail.send", input: { to: "${{ input.to }}" } })).toMatchObject({
      kind: "task",
      handler: "mail.send",
      input: { to: "${{ input.to }}" },
    });
    expect(step({ task: "noop" })).toMatchObject({ input: {} });
    expect(step({ workflow: "deploy.eu@^1.2", affinity: "parent" })).toMatchObject({
      kind: "workflow",
      workflow: "deploy.eu",
      range: "^1.2",
      affinity: "parent",
    });
    expect(step({ workflow: "deploy" })).toMatchObject({ workflow: "deploy", range: "" });
    expect(step({ workflow: "deploy@stable" })).toMatchObject({ range: "stable" });
    expect(step({ wait: { signal: "go", schema: { type: "object" } } })).toMatchObject({
      signal: "go",
      schema: { type: "object" },
    });
    expect(step({ wait: { approval: { roles: ["ops", "dev", "ops"] } } })).toMatchObject({
      signal: "one",
      approval: { roles: ["dev", "ops"] },
    });
    expect(step({ sleep: "10s" })).toMatchObject({ kind: "sleep", duration: 10_000 });
    expect(step({ sleep: 2 })).toMatchObject({ duration: 2000 });
    expect(step({ sleep: "${{ input.pause }}" })).toMatchObject({ duration: "${{ input.pause }}" });
  });

  it("reads the modifiers in their short and long forms", () => {
    expect(stepOf({ run: "x", retry: 3, timeout: 60 })).toMatchObject({
      retry: { maxAttempts: 3, initialMs: 1000, on: ["timeout", "user"] },
      timeout: { runMs: 60_000, queueMs: 300_000 },
    });
    const retry = { maxAttempts: 5, initialInterval: "2m", multiplier: 1.5, on: ["timeout", "RateLimited"] };
    expect(stepOf({ run: "x", retry, timeout: { queue: "1m", start: "2m", run: "3m", total: "4m" } })).toMatchObject({
      // The default maximum of 60 s would be below the first wait.
      retry: { maxAttempts: 5, initialMs: 120_000, maxMs: 120_000, multiplier: 1.5, on: ["RateLimited", "timeout"] },
      timeout: { queueMs: 60_000, startMs: 120_000, runMs: 180_000, totalMs: 240_000 },
    });
    expect(stepOf({ wait: { signal: "go" }, timeout: "3d" })).toMatchObject({ timeout: { totalMs: 259_200_000 } });
    for (const when of ["input.go", "${{ input.go }}", " ${{input.go}} "]) {
      expect(stepOf({ run: "x", when })).toMatchObject({ when: "input.go" });
    }
    expect(stepOf({ run: "x", when: false })).toMatchObject({ when: "false" });
    expect(stepOf({ run: "x", forEach: "${{ input.list }}", maxParallel: 4, failFast: false })).toMatchObject({
      forEach: "${{ input.list }}",
      maxParallel: 4,
      failFast: false,
    });
    const matrix = {
      os: ["linux", "mac"],
      node: "${{ input.nodes }}",
      include: [{ os: "bsd" }],
      exclude: [{ os: "mac" }],
    };
    expect(stepOf({ run: "x", matrix })).toMatchObject({
      matrix: {
        axes: { os: ["linux", "mac"], node: "${{ input.nodes }}" },
        include: [{ os: "bsd" }],
        exclude: [{ os: "mac" }],
      },
    });
  });

  it("writes labels and quantities in one way, wherever the quantities stand", () => {
    const short = stepOf({ run: "x", agent: { label: "linux&&!spot", cpu: 2, memory: "1024Mi" } });
    const long = stepOf({ run: "x", agent: { label: "linux && !spot", resources: { cpu: "2000m", memory: "1Gi" } } });
    expect(short).toEqual(long);
    expect(stepOf({ run: "x", agent: "any" })).toMatchObject({ agent: {} });
    expect(stepOf({ run: "x", agent: { docker: "postgres:13" } })).toMatchObject({
      agent: { docker: { image: "postgres:13", args: [] } },
    });
  });

  it("merges the defaults of spec into what workers run, and into nothing else", () => {
    const spec = {
      env: { A: "1", B: "1" },
      agent: "linux",
      workspace: "tree",
      retry: { maxAttempts: 4, multiplier: 3 },
      onLost: "fail",
      timeout: "2h",
      steps: {
        own: { run: "x", env: { B: "2" }, agent: "mac", workspace: "other", retry: 2, onLost: "rerun" },
        taken: { run: "x" },
        pause: { sleep: 1 },
      },
      finally: { last: { task: "clean" } },
    };
    const definition = definitionOf(withSpec(spec));
    const taken = { env: { A: "1", B: "1" }, agent: { label: "linux" }, workspace: "tree", onLost: "fail" };
    expect(definition.timeoutMs).toBe(7_200_000);
    expect(definition.steps["taken"]).toMatchObject({ ...taken, timeout: { runMs: 1_800_000 } });
    expect(definition.finally["last"]).toMatchObject(taken);
    expect(definition.steps["own"]).toMatchObject({
      env: { A: "1", B: "2" },
      agent: { label: "mac" },
      workspace: "other",
      retry: { maxAttempts: 2, multiplier: 3 },
      onLost: "rerun",
    });
    expect(definition.steps["pause"]).toMatchObject({ env: {}, agent: {}, onLost: "retry" });
    expect(definition.steps["pause"]).not.toHaveProperty("workspace");
  });

  it("takes a number as it is spelt where a text is wanted", () => {
    const text = `apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: sample, version: 1.0.0, labels: { tier: 010 } }
spec: { steps: { one: { run: x, env: { PORT: 8080, VERSION: 1.10, ON: True } } } }`;
    const definition = loadDefinition(text);
    expect(definition.steps["one"]?.env).toEqual({ PORT: "8080", VERSION: "1.10", ON: "True" });
    expect(definition.labels).toEqual({ tier: "010" });
  });

  it("follows anchors and aliases", () => {
    const aliased = GREET.replace('agent: { label: "linux && !spot" }', 'agent: &spot { label: "linux" }').replace(
      "needs: [hello]",
      "needs: [hello]\n      agent: *spot",
    );
    expect(loadDefinition(aliased).steps["shout"]?.agent).toEqual({ label: "linux" });
  });
});

describe("errors of a definition", () => {
  it("come all at once, each with file, line, column and path", () => {
    const text = `apiVersion: hodei.dev/v1
kind: Workflow
metadata: { name: Greet, version: 1.0 }
spec:
  stpes: {}
  steps:
    build:
      run: make
      tiemout: 5m
    test:
      run: make test
      retry: { on: [user, 5] }
      agent: { label: "linux &&", cpu: 5Q }
`;
    const found = violationsOf(() => loadDefinition(text, { file: "ci.yaml" }));
    expect(found.map(({ path, line, column }) => [path, line, column])).toEqual([
      ["metadata.name", 3, 19],
      ["metadata.version", 3, 35],
      ["spec.stpes", 5, 3],
      ["spec.steps.build.tiemout", 9, 7],
      ["spec.steps.test.retry.on[1]", 12, 27],
      ["spec.steps.test.agent.label", 13, 23],
      ["spec.steps.test.agent.cpu", 13, 40],
    ]);
    expect(found.every(({ file }) => file === "ci.yaml")).toBe(true);
    expect(found[2]?.message).toContain('did you mean "steps"?');
    expect(found[3]?.message).toContain('did you mean "timeout"?');
    expect(failureOf(() => loadDefinition(text, { file: "ci.yaml" })).message).toMatch(
      /^the definition does not hold: ci\.yaml:3:19: metadata\.name: .* \(and 6 more\)$/,
    );
  });

  it("of a plain object carry the path alone", () => {
    const [found] = violationsOf(() => definitionOf(withStep({ run: "x", onLost: "retyr" })));
    expect(found).toEqual({
      path: "spec.steps.one.onLost",
      message: 'must be retry or fail or rerun, is "retyr", did you mean "retry"?',
    });
  });

  it.each<[string, unknown, string, RegExp]>([
    ["no kind of work", {}, "spec.steps.one", /one of run, task, workflow, wait, sleep/],
    ["two kinds of work", { run: "x", task: "y" }, "spec.steps.one", /is run and task/],
    ["an empty script", { run: "  " }, "spec.steps.one.run", /must hold a command/],
    ["an expression in a script", { run: "echo ${{ input.x }}" }, "spec.steps.one.run", /put them in env/],
    ["a field of another kind", { sleep: 1, shell: "sh" }, "spec.steps.one.shell", /goes with run, not with sleep/],
    ["an agent nobody runs", { sleep: 1, agent: "linux" }, "spec.steps.one.agent", /goes with run and task/],
    ["forEach beside matrix", { run: "x", forEach: [1], matrix: { a: [1] } }, "spec.steps.one.forEach", /use one/],
    ["maxParallel alone", { run: "x", maxParallel: 2 }, "spec.steps.one.maxParallel", /goes with forEach or matrix/],
    ["a forEach that is text", { run: "x", forEach: "a${{ b }}" }, "spec.steps.one.forEach", /must be a list/],
    [
      "an expression in an include",
      { run: "x", matrix: { include: [{ a: "${{ b }}" }] } },
      "spec.steps.one.matrix.include[0].a",
      /only axes do/,
    ],
    ["an axis without values", { run: "x", matrix: { a: [] } }, "spec.steps.one.matrix.a", /at least one value/],
    ["a matrix without axes", { run: "x", matrix: {} }, "spec.steps.one.matrix", /an axis or an include/],
    [
      "exclude by no axis",
      { run: "x", matrix: { a: [1], exclude: [{ b: 1 }] } },
      "spec.steps.one.matrix.exclude[0].b",
      /not an axis/,
    ],
    [
      "too many combinations",
      {
        run: "x",
        matrix: Object.fromEntries(["a", "b", "c"].map((axis) => [axis, Array.from({ length: 22 }, (_, i) => i)])),
      },
      "spec.steps.one.matrix",
      /more than 10000 combinations/,
    ],
    ["a when that is a text", { run: "x", when: "a ${{ b }}" }, "spec.steps.one.when", /one expression/],
    ["a when that is not closed", { run: "x", when: "${{ b" }, "spec.steps.one.when", /no closing/],
    ["no attempt at all", { run: "x", retry: 0 }, "spec.steps.one.retry", /from 1 to 100/],
    [
      "a maximum below the first wait",
      { run: "x", retry: { initialInterval: "2s", maxInterval: "1s" } },
      "spec.steps.one.retry.maxInterval",
      /shorter/,
    ],
    ["a bad duration", { run: "x", timeout: "5y" }, "spec.steps.one.timeout", /is not a duration/],
    ["a timeout of nothing", { run: "x", timeout: 0 }, "spec.steps.one.timeout", /longer than 0/],
    [
      "a run timeout of a wait",
      { wait: { signal: "a" }, timeout: { run: 5 } },
      "spec.steps.one.timeout.run",
      /known are total/,
    ],
    ["a bad range", { workflow: "a@^^1" }, "spec.steps.one.workflow", /neither a semver range/],
    ["a bad workflow name", { workflow: "A_b@1" }, "spec.steps.one.workflow", /no workflow name/],
    ["a computed workflow", { workflow: "${{ input.w }}" }, "spec.steps.one.workflow", /holds no expressions/],
    ["a wait for nothing", { wait: {} }, "spec.steps.one.wait", /a signal or an approval/],
    ["a wait that is text", { wait: "go" }, "spec.steps.one.wait", /must be an object, is "go"/],
    ["a schema with an approval", { wait: { approval: {}, schema: {} } }, "spec.steps.one.wait.schema", /own form/],
    [
      "a schema out of the subset",
      { wait: { signal: "a", schema: { pattern: "x" } } },
      "spec.steps.one.wait.schema.pattern",
      /not in the supported subset/,
    ],
    ["a label that does not parse", { run: "x", agent: "a &&" }, "spec.steps.one.agent", /expected a label/],
    [
      "an agent of two sources",
      { run: "x", agent: { docker: "a", template: "b" } },
      "spec.steps.one.agent",
      /do not go together/,
    ],
    [
      "a quantity twice",
      { run: "x", agent: { cpu: 1, resources: { cpu: 1 } } },
      "spec.steps.one.agent.cpu",
      /stands under resources/,
    ],
    ["an unknown quantity", { run: "x", agent: { memory: "1Gb" } }, "spec.steps.one.agent.memory", /quantity/],
    ["a computed label", { run: "x", agent: "${{ matrix.os }}" }, "spec.steps.one.agent", /chosen before/],
    ["a variable no shell takes", { run: "x", env: { "A-B": "1" } }, "spec.steps.one.env.A-B", /no name here/],
    ["a list as a variable", { run: "x", env: { A: [] } }, "spec.steps.one.env.A", /must be a text, is a list/],
    ["nothing as a variable", { run: "x", env: { A: null } }, "spec.steps.one.env.A", /must be a text, is nothing/],
  ])("names %s", (_what, step, path, message) => {
    const found = violationsOf(() => definitionOf(withStep(step)));
    expect(found).toEqual([{ path, message: expect.stringMatching(message) }]);
  });

  it.each<[string, unknown, string]>([
    [
      "apiVersion",
      { kind: "Workflow", metadata: { name: "a", version: "1.0.0" }, spec: { steps: { a: { run: "x" } } } },
      "",
    ],
    ["another kind", { ...(withStep({ run: "x" }) as object), kind: "Job" }, "kind"],
    ["no steps", withSpec({}), "spec"],
    ["empty steps", withSpec({ steps: {} }), "spec.steps"],
    ["a version with v", withSpec({ steps: { a: { run: "x" } } }, { version: "v1.0.0" }), "metadata.version"],
    [
      "an input that is no object",
      withSpec({ input: { type: "string" }, steps: { a: { run: "x" } } }),
      "spec.input.type",
    ],
    ["a slash in a step id", withSpec({ steps: { "a/b": { run: "x" } } }), 'spec.steps["a/b"]'],
    ["braces in a step id", withSpec({ steps: { "{a}": { run: "x" } } }), 'spec.steps["{a}"]'],
    [
      "a step id that objects have already",
      withSpec({ steps: { constructor: { run: "x" } } }),
      "spec.steps.constructor",
    ],
    ["one id twice", withSpec({ steps: { a: { run: "x" } }, finally: { a: { run: "x" } } }), "spec.finally.a"],
    ["a list", [1], ""],
    ["a text", "x", ""],
  ])("names %s", (_what, document, path) => {
    expect(violationsOf(() => definitionOf(document)).map((found) => found.path)).toEqual([path]);
  });

  it.each<[string, string, RegExp, number, number]>([
    ["a key twice", GREET.replace("shout:", "hello:"), /"hello" stands here twice/, 11, 5],
    ["a reserved key", "a: { __proto__: 1 }", /reserved/, 1, 6],
    ["a key that is a list", "? [a]\n: 1", /key/i, 1, 3],
    ["bad syntax", "a: [", /\]/, 1, 5],
    ["a second document", `${GREET}---\na: 1\n`, /one document/, 16, 1],
    ["an unknown alias", "a: *b", /no anchor/, 1, 4],
    ["an alias within its anchor", "a: &a [*a]", /within its own anchor/, 1, 8],
    ["an infinite number", "a: .inf", /cannot be written in JSON/, 1, 4],
    ["an unknown tag", "a: !secret x", /tag/, 1, 4],
    ["YAML 1.1", "%YAML 1.1\n---\na: yes", /YAML 1.2/, 1, 1],
    ["an empty text", "", /empty/, 1, 1],
    ["a comment alone", "# nothing\n", /empty/, 1, 1],
  ])("tells %s in its place", (_what, text, message, line, column) => {
    expect(violationsOf(() => loadDefinition(text))[0]).toMatchObject({
      message: expect.stringMatching(message),
      line,
      column,
    });
  });

  it("list at most fifty and say how many there are", () => {
    const steps = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`s${index}`, {}]));
    const failure = failureOf(() => definitionOf(withSpec({ steps })));
    expect(failure.violations).toHaveLength(LIMITS.violations);
    expect(failure.message).toMatch(/\(and 79 more\)$/);
  });
});

describe("bounds of a definition", () => {
  it("refuse a text past 256 KiB before it is parsed", () => {
    const failure = failureOf(() => loadDefinition(`# ${"x".repeat(LIMITS.definitionBytes)}`));
    expect(failure).toMatchObject({ code: "TOO_LARGE", field: "definition" });
    expect(failureOf(() => definitionOf(withStep({ task: "a", input: "x".repeat(LIMITS.definitionBytes) }))).code).toBe(
      "TOO_LARGE",
    );
  });

  it("refuse aliases that multiply", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let i = 1; i < 9; i++)
      lines.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(", ")}]`);
    expect(violationsOf(() => loadDefinition(lines.join("\n")))[0]?.message).toMatch(/aliases make it larger/);
  });

  it("refuse one text in ten thousand places, more than a string can hold when it is written out", () => {
    const text = "x".repeat(50_000);
    const many = Array.from({ length: 20_000 }, () => "*a").join(", ");
    for (const field of [
      `output: { a: &a ${text}, b: [${many}] }`,
      `input: { properties: { a: { default: &a ${text} }, b: { enum: [${many}] } } }`,
      `finally: { a: { task: x, input: [&a ${text}, ${many}] } }`,
    ]) {
      const source = `{apiVersion: hodei.dev/v1, kind: Workflow, metadata: {name: x, version: 1.0.0}, spec: {${field}}}`;
      expect(violationsOf(() => loadDefinition(source))).toContainEqual(
        expect.objectContaining({ line: 1, message: "aliases make it larger than 1048576 characters" }),
      );
    }
    const input = Array.from({ length: 20_000 }, () => text);
    expect(failureOf(() => definitionOf(withStep({ task: "x", input }))).code).toBe("TOO_LARGE");
  });

  it("refuse text and objects that nest without end", () => {
    expect(violationsOf(() => loadDefinition("[".repeat(100_000)))[0]?.message).toMatch(/nests too deeply/);
    expect(violationsOf(() => loadDefinition(`a: ${"[".repeat(70)}${"]".repeat(70)}`))[0]?.message).toMatch(
      /deeper than 64/,
    );
    const self: Record<string, unknown> = {};
    self["self"] = self;
    expect(violationsOf(() => definitionOf(self))[0]?.message).toMatch(/holds itself/);
  });

  it("refuse defaults that grow past the normal form's bound when every step takes them", () => {
    const steps = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`s${index}`, { run: "x" }]));
    expect(failureOf(() => definitionOf(withSpec({ env: { BIG: "x".repeat(20_000) }, steps })))).toMatchObject({
      code: "TOO_LARGE",
      field: "spec.steps",
    });
  });

  it("refuse a script past 64 KiB and more steps than the bound", () => {
    expect(violationsOf(() => definitionOf(withStep({ run: "x".repeat(LIMITS.scriptBytes + 1) })))[0]?.path).toBe(
      "spec.steps.one.run",
    );
    const steps = Object.fromEntries(
      Array.from({ length: LIMITS.steps + 1 }, (_, index) => [`s${index}`, { sleep: 1 }]),
    );
    expect(violationsOf(() => definitionOf(withSpec({ steps })))[0]?.message).toBe("has 1001 steps, the bound is 1000");
  });

  it.each<[string, unknown]>([
    ["a function", () => 1],
    ["a date", new Date(0)],
    ["a bigint", 1n],
    ["a map", new Map()],
    ["not a number", Number.NaN],
    ["a symbol", Symbol("x")],
    ["a hole in a list", Array.from({ length: 1 })],
  ])("refuse %s in an object", (_what, value) => {
    const list = Array.isArray(value);
    const found = violationsOf(() => definitionOf(withStep({ task: "a", input: { x: value } })));
    expect(found).toEqual([
      {
        path: `spec.steps.one.input.x${list ? "[0]" : ""}`,
        message: expect.stringMatching(/cannot be written in JSON/),
      },
    ]);
  });

  it("make of -0 the 0 that JSON text would make of it", () => {
    const definition = definitionOf(withStep({ task: "a", input: { x: -0 } }));
    expect(parseNormalForm(normalForm(definition))).toStrictEqual(definition);
  });

  it("leave out properties that are undefined, as JSON does", () => {
    expect(stepOf({ run: "x", when: undefined, env: { A: undefined } })).toEqual(stepOf({ run: "x" }));
  });
});

describe("the normal form and its digest", () => {
  it("reads back as the same definition with the same digest", () => {
    const definition = loadDefinition(GREET);
    const again = parseNormalForm(normalForm(definition));
    expect(again).toStrictEqual(definition);
    expect(digestOf(again)).toBe(digestOf(definition));
    expect(digestOf(definition)).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it.each([
    "",
    "{",
    "null",
    "[]",
    "{}",
    '{"name":"a","version":"1.0.0","labels":{},"output":{},"steps":{"a":{}},"finally":{}}',
  ])("%j is no normal form", (text) => {
    expect(failureOf(() => parseNormalForm(text)).code).toBe("DATA_CORRUPT");
  });

  it("differs when anything that matters differs", () => {
    const of = (step: unknown): string => digestOf(definitionOf(withStep(step)));
    const digests = [
      of({ run: "x" }),
      of({ run: "y" }),
      of({ run: "x", shell: "bash" }),
      of({ run: "x", retry: 2 }),
      of({ run: "x", env: { A: "1" } }),
      of({ task: "x" }),
      digestOf(definitionOf(withSpec({ steps: { one: { run: "x" } } }, { version: "1.0.1" }))),
    ];
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe("any document", () => {
  const name = fc.constantFrom("a", "b", "c", "build", "constructor", "x-1");
  const json = fc.jsonValue({ maxDepth: 3 });
  const orJson = <T>(good: fc.Arbitrary<T>): fc.Arbitrary<unknown> => fc.oneof({ weight: 12, arbitrary: good }, json);
  const step = fc.record(
    {
      run: orJson(fc.constantFrom("true", "echo ${{ x }}")),
      task: fc.option(orJson(fc.constant("mail")), { freq: 6 }).map((value) => value ?? undefined),
      needs: orJson(fc.array(name, { maxLength: 2 })),
      when: orJson(fc.constantFrom("true", "${{ input.a }}", "${{")),
      matrix: orJson(fc.record({ os: fc.array(fc.string(), { maxLength: 3 }), exclude: fc.constant([{ os: "a" }]) })),
      forEach: orJson(fc.array(json, { maxLength: 3 })),
      retry: orJson(fc.record({ maxAttempts: fc.integer(), initialInterval: fc.constantFrom("1s", "x") })),
      timeout: orJson(fc.constantFrom("5m", "0", "1y")),
      agent: orJson(fc.constantFrom("linux", "a || !b", "a ||")),
      env: orJson(fc.dictionary(fc.stringMatching(/^[A-Z_]{1,3}$/), fc.string())),
    },
    { requiredKeys: ["run"] },
  );
  const spec = fc.record(
    {
      steps: fc.dictionary(name, step, { maxKeys: 4 }),
      finally: orJson(fc.dictionary(name, step, { maxKeys: 2 })),
      output: json,
      input: json,
    },
    { requiredKeys: ["steps"] },
  );

  /** Sound by construction, so that the properties of what loads are not held by rare luck. */
  const sound = fc
    .record({
      steps: fc.dictionary(
        fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/).filter((id) => !(id in Object.prototype)),
        fc.record(
          {
            run: fc
              .string({ minLength: 1, unit: "binary" })
              .filter((text) => text.trim() !== "" && !text.includes("${{")),
            env: fc.dictionary(
              fc.stringMatching(/^[A-Z][A-Z_]{0,3}$/),
              fc.string().filter((text) => !text.includes("${{")),
            ),
            agent: fc.constantFrom("linux", "any", { cpu: "500m", label: "a || b" }),
            timeout: fc.constantFrom("5m", 90, { queue: "1h", total: 3 }),
            retry: fc.constantFrom(2, { multiplier: 1.5, on: ["user"] }),
            forEach: fc.array(
              json.filter((value) => !JSON.stringify(value).includes("${{")),
              { maxLength: 3 },
            ),
            continueOnError: fc.boolean(),
          },
          { requiredKeys: ["run"] },
        ),
        { minKeys: 1, maxKeys: 4 },
      ),
      env: fc.dictionary(fc.stringMatching(/^[A-Z][A-Z_]{0,3}$/), fc.constantFrom("1", "two")),
      priority: fc.constantFrom("low", "normal", "high"),
    })
    .map((one) => JSON.parse(JSON.stringify(withSpec(one))) as unknown);

  /** The same data with the keys of every object in another order. */
  function shuffled(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, field]) => [key, shuffled(field)]),
    );
  }

  /** "loaded", or the code of the refusal; a refusal must list violations, and no more than the bound. */
  function outcomeOf(load: () => unknown): string {
    try {
      load();
      return "loaded";
    } catch (error) {
      if (!(error instanceof HodeiError)) throw error;
      const listed = error.violations.length;
      return listed > 0 && listed <= LIMITS.violations ? error.code : `${listed} violations`;
    }
  }

  const EITHER = /^(?:loaded|INVALID_DEFINITION)$/;

  it("that is any text loads or is INVALID_DEFINITION", () => {
    const mutated = fc
      .tuple(
        fc.nat(GREET.length),
        fc.nat(8),
        fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom("&a ", "*a", "<<: ", "- ", "\t", "!!binary ")),
      )
      .map(([at, cut, insert]) => GREET.slice(0, at) + insert + GREET.slice(at + cut));
    fc.assert(
      fc.property(fc.oneof(fc.string(), mutated), (text) => {
        expect(outcomeOf(() => loadDefinition(text))).toMatch(EITHER);
      }),
      { numRuns: 500 },
    );
  });

  it("that is any object loads or is INVALID_DEFINITION", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSparseArray: true,
    });
    fc.assert(
      fc.property(
        fc.oneof(
          anything,
          spec.map((one) => withSpec(one)),
        ),
        (one) => {
          expect(outcomeOf(() => definitionOf(one))).toMatch(EITHER);
        },
      ),
      {
        numRuns: 500,
      },
    );
  });

  it("that is sound loads, from an object and from its JSON text alike", () => {
    fc.assert(
      fc.property(sound, (one) => {
        const definition = definitionOf(one);
        expect(loadDefinition(JSON.stringify(one))).toStrictEqual(definition);
        expect(loadDefinition(JSON.stringify(one, null, 2))).toStrictEqual(definition);
        expect(parseNormalForm(normalForm(definition))).toStrictEqual(definition);
      }),
    );
  });

  it("has a digest that the order of keys does not change", () => {
    fc.assert(
      fc.property(sound, (one) => {
        expect(digestOf(definitionOf(shuffled(one)))).toBe(digestOf(definitionOf(one)));
      }),
    );
  });
});
