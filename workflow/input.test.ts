import { Validator } from "@cfworker/json-schema";
import type { Schema } from "@cfworker/json-schema";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { accepts, inputViolations, schemaViolations, withDefaults } from "./input.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { schemaArbitrary, valueArbitrary } from "./schema.arbitrary.ts";

const ORDER: JsonObject = {
  type: "object",
  required: ["id", "lines"],
  additionalProperties: false,
  properties: {
    id: { type: "string", minLength: 1, maxLength: 8 },
    lines: {
      type: "array",
      minItems: 1,
      uniqueItems: true,
      items: {
        type: "object",
        required: ["sku"],
        properties: { sku: { type: "string" }, count: { type: "integer", minimum: 1, default: 1 } },
      },
    },
    kind: { enum: ["new", "old"], default: "new" },
    note: { type: ["string", "null"] },
    rate: { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 },
  },
};

describe("a value against its schema", () => {
  it.each<[Json, string, string]>([
    [{ id: "a" }, "input.lines", "is required"],
    [{ id: "", lines: [{ sku: "x" }] }, "input.id", "must have at least 1 characters, has 0"],
    [{ id: "a", lines: [] }, "input.lines", "must have at least 1 items, has 0"],
    [{ id: "a", lines: [{ sku: 1 }] }, "input.lines[0].sku", "must be a string, not 1"],
    [{ id: "a", lines: [{ sku: "x", count: 0 }] }, "input.lines[0].count", "must be at least 1, is 0"],
    [{ id: "a", lines: [{ sku: "x", count: 1.5 }] }, "input.lines[0].count", "must be an integer, not 1.5"],
    [{ id: "a", lines: [{ sku: "x" }, { sku: "x" }] }, "input.lines[1]", "repeats an earlier item"],
    [{ id: "a", lines: [{ sku: "x" }], kinds: 1 }, "input.kinds", 'is not known here, did you mean "kind"?'],
    [{ id: "a", lines: [{ sku: "x" }], kind: "odd" }, "input.kind", 'must be one of "new", "old", not "odd"'],
    [{ id: "a", lines: [{ sku: "x" }], note: 5 }, "input.note", "must be a string or null, not 5"],
    [{ id: "a", lines: [{ sku: "x" }], rate: 1 }, "input.rate", "must be below 1, is 1"],
    [[], "input", "must be an object, not []"],
  ])("%j: %s", (value, path, message) => {
    expect(inputViolations(ORDER, value)).toEqual([{ path, message }]);
  });

  it("counts code points, not code units", () => {
    expect(inputViolations({ type: "string", maxLength: 2 }, "🌊🌊")).toEqual([]);
  });

  it("tells every violation, and no more than the bound of a list of 10,000", () => {
    expect(inputViolations(ORDER, { id: 1, lines: 2 })).toHaveLength(2);
    const many = Array.from({ length: 10_000 }, (_, index) => index);
    expect(inputViolations({ type: "array", items: { type: "string" } }, many)).toHaveLength(LIMITS.violations);
  });

  it("refuses what nests deeper than the bound, without recursion into it", () => {
    let deep: Json = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    expect(inputViolations({}, deep, "payload")).toEqual([
      { path: "payload", message: `nests deeper than ${LIMITS.valueDepth} levels` },
    ]);
  });

  it("agrees with an independent validator on any schema of the subset", () => {
    fc.assert(
      fc.property(schemaArbitrary, fc.array(valueArbitrary, { minLength: 20, maxLength: 20 }), (schema, values) => {
        // Its types leave out that a schema is plain data.
        const validator = new Validator(schema as Schema, "2020-12");
        const oracle = values.filter((value) => validator.validate(value).valid);
        expect(values.filter((value) => inputViolations(schema, value).length === 0)).toEqual(oracle);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("defaults", () => {
  it("fill what is absent, at every depth, and change nothing else", () => {
    const value: Json = { id: "a", lines: [{ sku: "x" }, { sku: "y", count: 2 }] };
    expect(withDefaults(ORDER, value)).toEqual({
      id: "a",
      kind: "new",
      lines: [
        { sku: "x", count: 1 },
        { sku: "y", count: 2 },
      ],
    });
    expect(value).toEqual({ id: "a", lines: [{ sku: "x" }, { sku: "y", count: 2 }] });
  });

  it("make a required property one that may be left out", () => {
    const schema: JsonObject = { type: "object", required: ["a"], properties: { a: { type: "string", default: "x" } } };
    expect(accepts(schema, {})).toBe(true);
    expect(inputViolations(schema, {})).toHaveLength(1);
  });

  it("leave a key alone that has the name of the prototype", () => {
    const value = JSON.parse('{"__proto__":{"x":1},"id":"a"}') as Json;
    expect(JSON.stringify(withDefaults({ properties: { y: { default: 2 } } }, value))).toBe(
      '{"__proto__":{"x":1},"id":"a","y":2}',
    );
  });

  it("that would make a small input a large one are refused", () => {
    const item: JsonObject = { type: "object", properties: { text: { type: "string", default: "x".repeat(5000) } } };
    const schema: JsonObject = { type: "object", properties: { list: { type: "array", items: item } } };
    const list = (length: number): Json => ({ list: Array.from({ length }, () => ({})) });
    expect(JSON.stringify(withDefaults(schema, list(50))).length).toBeGreaterThan(250_000);
    expect(() => withDefaults(schema, list(80_000))).toThrow(
      expect.objectContaining({ code: "TOO_LARGE", field: "input" }),
    );
    expect(schemaViolations({ ...schema, default: list(60) })).toEqual([
      { path: "default", message: expect.stringContaining("more than 262144 bytes") },
    ]);
  });

  it("are filled once: filling again changes nothing", () => {
    fc.assert(
      fc.property(schemaArbitrary, valueArbitrary, (schema, value) => {
        const filled = withDefaults(schema, value);
        expect(withDefaults(schema, filled)).toEqual(filled);
      }),
    );
  });
});

describe("a schema itself", () => {
  it.each<[JsonObject, string, RegExp]>([
    [{ pattern: "x" }, "pattern", /not in the supported subset/],
    [{ $ref: "#" }, "$ref", /not in the supported subset/],
    [{ propertis: {} }, "propertis", /did you mean "properties"\?/],
    [{ properties: { a: { typ: "string" } } }, "properties.a.typ", /did you mean "type"\?/],
    [{ type: "strnig" }, "type", /did you mean "string"\?/],
    [{ type: ["string", "x"] }, "type[1]", /is not a type/],
    [{ type: [] }, "type", /at least one/],
    [{ items: [{ type: "string" }] }, "items", /one schema/],
    [{ type: "string", minLength: -1 }, "minLength", /0 or more/],
    [{ type: "string", minimum: 1 }, "minimum", /says nothing about the type string/],
    [{ enum: [] }, "enum", /at least one value/],
    [{ enum: [1], minimum: 0 }, "minimum", /no place beside "enum"/],
    [{ enum: [1], const: 1 }, "const", /no place beside "enum"/],
    [{ minItems: 3, maxItems: 2 }, "minItems", /above maxItems/],
    [{ type: "integer", default: "x" }, "default", /does not fit its own schema: must be an integer/],
    [{ properties: { a: { items: { type: "null", default: 1 } } } }, "properties.a.items.default", /does not fit/],
    [{ required: ["a"], additionalProperties: false }, "required[0]", /required and not allowed/],
  ])("%j is refused at %s", (schema, path, message) => {
    expect(schemaViolations(schema)).toEqual([{ path, message: expect.stringMatching(message) }]);
  });

  it("with thousands of unknown words has hints for as many as are listed", () => {
    const words = Array.from({ length: 1000 }, (_, at) => [`requird${at % 2}${at}`, 1] as const);
    const found = schemaViolations({ properties: { a: Object.fromEntries(words) } });
    expect(found).toHaveLength(1000);
    expect(found.filter(({ message }) => /known are|did you mean/.test(message))).toHaveLength(50);
  });

  it("that nests too deep is refused", () => {
    let schema: JsonObject = {};
    for (let level = 0; level < 60; level++) schema = { items: schema };
    expect(schemaViolations(schema)[0]?.message).toMatch(/nest at most/);
  });
});
