import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { changesBetween, requiredBump } from "./compatibility.ts";
import type { Definition } from "./definition.ts";
import { accepts } from "./input.ts";
import type { Json, JsonObject } from "./json.ts";
import { definitionOf } from "./load.ts";
import { isJsonList, isJsonObject, propertySchema } from "./schema.ts";
import { schemaArbitrary, valueArbitrary } from "./schema.arbitrary.ts";
import { schemaChanges } from "./schema-compatibility.ts";
import { largestBump } from "./version.ts";

type Spec = Record<string, unknown>;

const STEPS = {
  build: { run: "make" },
  gate: { wait: { signal: "go", schema: { type: "object", properties: { by: { type: "string" } } } } },
};
const INPUT = { type: "object", required: ["who"], properties: { who: { type: "string" }, size: { type: "integer" } } };

function definition(spec: Spec = {}, metadata: Spec = {}): Definition {
  return definitionOf({
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name: "sample", version: "1.0.0", ...metadata },
    spec: { input: INPUT, steps: STEPS, output: { text: "a" }, ...spec },
  });
}

function withInput(change: JsonObject): Spec {
  return { input: { ...INPUT, ...change } };
}

function withGate(wait: unknown): Spec {
  return { steps: { ...STEPS, gate: { wait } } };
}

function bumpTo(spec: Spec, metadata: Spec = {}): string {
  return requiredBump(changesBetween(definition(), definition(spec, metadata)));
}

const { who, size } = INPUT.properties;

describe("the bump that a change needs", () => {
  it.each<[string, Spec, string]>([
    ["nothing", {}, "none"],
    // Input.
    ["a new required property", withInput({ required: ["who", "to"], properties: { who, size, to: {} } }), "major"],
    [
      "a new required property with a default",
      withInput({ required: ["who", "to"], properties: { who, size, to: { default: 1 } } }),
      "minor",
    ],
    ["a new optional property", withInput({ properties: { who, size, to: { type: "string" } } }), "minor"],
    ["an optional property that is required now", withInput({ required: ["who", "size"] }), "major"],
    ["a required property that is optional now", withInput({ required: [] }), "minor"],
    ["another type", withInput({ properties: { who: { type: "integer" }, size } }), "major"],
    ["one type more", withInput({ properties: { who: { type: ["string", "null"] }, size } }), "minor"],
    ["integer to number", withInput({ properties: { who, size: { type: "number" } } }), "minor"],
    ["a choice where there was none", withInput({ properties: { who: { enum: ["sea"] }, size } }), "major"],
    ["a tighter bound", withInput({ properties: { who, size: { type: "integer", minimum: 1 } } }), "major"],
    ["closed to other properties", withInput({ additionalProperties: false }), "major"],
    ["a property dropped while open", withInput({ properties: { who } }), "minor"],
    [
      "a description",
      withInput({ properties: { who: { type: "string", description: "whom to greet" }, size } }),
      "patch",
    ],
    ["no schema any more", { input: undefined }, "minor"],
    // Output, steps, signals.
    ["an output removed", { output: {} }, "major"],
    ["an output added", { output: { text: "a", more: 1 } }, "minor"],
    ["an output computed otherwise", { output: { text: "b" } }, "patch"],
    ["a step removed", { steps: { gate: STEPS.gate } }, "major"],
    ["a step added", { steps: { ...STEPS, more: { run: "x" } } }, "minor"],
    ["a step of finally added", { finally: { more: { run: "x" } } }, "minor"],
    ["a signal renamed", withGate({ signal: "start", schema: STEPS.gate.wait.schema }), "major"],
    [
      "a signal narrowed",
      withGate({ signal: "go", schema: { type: "object", properties: { by: { type: "integer" } } } }),
      "major",
    ],
    ["a signal widened", withGate({ signal: "go" }), "minor"],
    // How the work is done.
    ["a script", { steps: { ...STEPS, build: { run: "make all" } } }, "patch"],
    ["an agent", { agent: "linux" }, "patch"],
    ["an environment", { env: { A: "1" } }, "patch"],
    ["retries", { retry: 3 }, "patch"],
    ["a timeout", { timeout: "1h" }, "patch"],
    ["the priority", { priority: "high" }, "patch"],
    ["a kind of step", { steps: { ...STEPS, build: { task: "make" } } }, "patch"],
  ])("%s is %#", (_what, spec, bump) => {
    expect(bumpTo(spec)).toBe(bump);
  });

  it.each<[string, JsonObject, JsonObject, string]>([
    ["a choice less", { enum: [1, 2] }, { enum: [1] }, "major"],
    ["a choice more", { enum: [1] }, { enum: [1, 2] }, "minor"],
    ["a choice opened to its type", { enum: [1, 2] }, { type: "integer" }, "minor"],
    ["a choice opened to a type that misses one", { enum: [1, "a"] }, { type: "integer" }, "major"],
    ["const to a choice that has it", { const: 1 }, { enum: [1, 2] }, "minor"],
    [
      "exclusive where it was inclusive",
      { type: "number", minimum: 1 },
      { type: "number", exclusiveMinimum: 1 },
      "major",
    ],
    ["a looser maximum", { type: "number", maximum: 1 }, { type: "number", maximum: 2 }, "minor"],
    ["a shorter text", { type: "string" }, { type: "string", maxLength: 5 }, "major"],
    ["a minimum length of nothing", { type: "string" }, { type: "string", minLength: 0 }, "patch"],
    ["unique items", { type: "array" }, { type: "array", uniqueItems: true }, "major"],
    ["items of a type", { type: "array" }, { type: "array", items: { type: "string" } }, "major"],
    [
      "a property of a closed object",
      { additionalProperties: false },
      { additionalProperties: false, properties: { a: {} } },
      "minor",
    ],
    [
      "a property taken from a closed object",
      { additionalProperties: false, properties: { a: {} } },
      { additionalProperties: false },
      "major",
    ],
    [
      "a described property where any was promised",
      { additionalProperties: true },
      { additionalProperties: true, properties: { a: { type: "string" } } },
      "major",
    ],
    [
      "a default taken from a required property",
      { required: ["a"], properties: { a: { default: 1 } } },
      { required: ["a"], properties: { a: {} } },
      "major",
    ],
    [
      "a default among items that must be unique",
      { type: "array", uniqueItems: true, items: { properties: { a: {} } } },
      { type: "array", uniqueItems: true, items: { properties: { a: { default: 1 } } } },
      "major",
    ],
    ["another title", { title: "a" }, { title: "b" }, "patch"],
  ])("of a schema: %s", (_what, older, newer, bump) => {
    const changes = schemaChanges(older, newer, []);
    expect(largestBump(changes.map((change) => change.bump))).toBe(bump);
  });

  it("for description and labels is patch, and the version itself is no change", () => {
    expect(bumpTo({}, { description: "new", labels: { team: "a" } })).toBe("patch");
    expect(bumpTo({}, { version: "2.0.0" })).toBe("none");
  });

  it("an input that was never described is any object: describing what it may hold is an addition", () => {
    const open = definition({ input: undefined });
    const bump = (input: JsonObject): string => requiredBump(changesBetween(open, definition({ input })));
    expect(bump({ type: "object", properties: { who: { type: "string" } } })).toBe("minor");
    expect(bump({ type: "object", required: ["who"] })).toBe("major");
    expect(bump({ type: "object", additionalProperties: false })).toBe("major");
  });

  it("two steps may swap their signals, and a step may move to finally", () => {
    const waits = (first: string, second: string): Definition =>
      definition({ steps: { a: { wait: { signal: first } }, b: { wait: { signal: second } } } });
    expect(requiredBump(changesBetween(waits("x", "y"), waits("y", "x")))).toBe("patch");
    const moved = definition({ steps: { gate: STEPS.gate }, finally: { build: STEPS.build } });
    expect(requiredBump(changesBetween(definition(), moved))).toBe("patch");
  });

  it("each change says where and what", () => {
    const newer = definition({
      ...withInput({ required: ["who", "size"] }),
      steps: { build: { run: "make all" }, gate: { wait: { signal: "start" } } },
      output: {},
    });
    expect(changesBetween(definition(), newer)).toEqual([
      { bump: "major", path: "spec.input.properties.size", message: '"size" is required now' },
      { bump: "major", path: "spec.output.text", message: 'the output "text" is removed' },
      { bump: "major", path: "spec.steps.gate.wait", message: 'the signal "go" is renamed to "start"' },
      { bump: "minor", path: "spec.steps.gate.wait", message: 'the signal "start" is taken' },
      { bump: "patch", path: "spec.steps.build.run", message: "changed" },
      { bump: "patch", path: "spec.steps.gate.wait", message: "waits otherwise" },
    ]);
  });
});

describe("the schema relation", () => {
  /** Values that hold only what the schema describes where it makes no promise about the rest. */
  function promised(schema: JsonObject, value: Json): boolean {
    if (isJsonList(value)) {
      const items = schema["items"];
      return !isJsonObject(items) || value.every((item) => promised(items, item));
    }
    if (!isJsonObject(value)) return true;
    const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
    return Object.entries(value).every(([name, field]) => {
      const described = Object.hasOwn(properties, name) || schema["additionalProperties"] !== undefined;
      const property = propertySchema(schema, name);
      return described && (typeof property === "boolean" || promised(property, field));
    });
  }

  /** A pair of related schemas: two free ones hardly ever accept the same values. */
  const pair = fc.oneof(
    fc.tuple(schemaArbitrary, schemaArbitrary),
    fc
      .tuple(
        schemaArbitrary,
        schemaArbitrary,
        fc.constantFrom("properties", "items", "required", "maximum", "minLength", "enum"),
      )
      .map(([older, other, word]): [JsonObject, JsonObject] => [
        older,
        other[word] === undefined ? older : { ...older, [word]: other[word] },
      ]),
  );

  it("calls nothing compatible that refuses a value which was accepted", () => {
    let met = 0;
    fc.assert(
      fc.property(pair, fc.array(valueArbitrary, { minLength: 20, maxLength: 20 }), ([older, newer], values) => {
        const bump = largestBump(schemaChanges(older, newer, []).map((change) => change.bump));
        const lost = values.filter(
          (value) => accepts(older, value) && promised(older, value) && !accepts(newer, value),
        );
        if (bump !== "major") met += 1;
        expect(bump === "major" ? [] : lost).toEqual([]);
      }),
      { numRuns: 2000 },
    );
    // The property would hold if everything were called major.
    expect(met).toBeGreaterThan(100);
  });

  it("finds no change only between equal schemas, and every schema equal to itself", () => {
    fc.assert(
      fc.property(schemaArbitrary, schemaArbitrary, (older, newer) => {
        expect(schemaChanges(older, older, [])).toEqual([]);
        expect(schemaChanges(older, newer, []).length === 0).toBe(
          JSON.stringify(sorted(older)) === JSON.stringify(sorted(newer)),
        );
      }),
    );
  });

  function sorted(value: Json): Json {
    if (isJsonList(value)) return value.map(sorted);
    if (!isJsonObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, field]) => [key, sorted(field)]),
    );
  }
});

describe("many changes at once", () => {
  const edits: Spec[] = [
    { priority: "high" },
    { output: { text: "a", more: 1 } },
    { output: {} },
    { steps: { ...STEPS, more: { run: "x" } } },
    { steps: { gate: STEPS.gate } },
    withInput({ required: [] }),
    withInput({ additionalProperties: false }),
    { env: { A: "1" } },
  ];

  it("need the largest bump of them: an edit of another part never lowers it", () => {
    fc.assert(
      fc.property(fc.subarray(edits), fc.constantFrom(...edits), (some, one) => {
        const before = bumpTo(Object.assign({}, ...some) as Spec);
        const touched = Object.keys(one).some((key) => some.some((edit) => key in edit));
        const after = bumpTo(Object.assign({}, ...some, one) as Spec);
        expect(touched ? after : largestBump([before, bumpTo(one)] as ("none" | "major")[])).toBe(after);
      }),
    );
  });
});
