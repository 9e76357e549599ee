import fc from "fast-check";
import { schemaViolations } from "./input.ts";
import type { Json, JsonObject } from "./json.ts";

/*
 * Small schemas and small values for property tests: few names and few numbers, so that values meet schemas and two
 * schemas meet each other far more often than free ones would.
 */

const names = fc.constantFrom("a", "b", "c");
const small = fc.integer({ min: 0, max: 3 });

/** Any JSON of the same small world. */
export const valueArbitrary: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom<Json>(null, true, false, 0, 1, 2, 3, 1.5, "", "x", "xy", "xyz"),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(names, tie("value"), { maxKeys: 3 }),
  ),
})).value;

const about = fc.record({ title: fc.constantFrom("t", "u"), default: valueArbitrary }, { requiredKeys: [] });

const bounds = (low: string, high: string): fc.Arbitrary<JsonObject> =>
  fc.tuple(fc.option(small), fc.option(small)).map(([least, most]) => ({
    ...(least === null ? {} : { [low]: least }),
    ...(most === null ? {} : { [high]: most }),
  }));

type Parts = { schema: JsonObject };

/** Schemas of the supported subset, defaults that fit included. */
export const schemaArbitrary: fc.Arbitrary<JsonObject> = fc
  .letrec<Parts>((tie) => {
    const objects = fc.record(
      {
        properties: fc.dictionary(names, tie("schema"), { maxKeys: 3 }),
        required: fc.uniqueArray(names, { maxLength: 2 }),
        additionalProperties: fc.oneof(fc.boolean(), tie("schema")),
      },
      { requiredKeys: ["properties"] },
    );
    const lists = fc
      .tuple(
        bounds("minItems", "maxItems"),
        fc.record({ items: tie("schema"), uniqueItems: fc.boolean() }, { requiredKeys: [] }),
      )
      .map(([counts, more]) => ({ ...counts, ...more }));
    const numbers = fc
      .tuple(bounds("minimum", "maximum"), bounds("exclusiveMinimum", "exclusiveMaximum"))
      .map(([closed, open]) => ({ ...closed, ...open }));
    const typed = (type: Json, words: fc.Arbitrary<JsonObject>): fc.Arbitrary<JsonObject> =>
      words.map((one) => ({ type, ...one }));
    return {
      schema: fc
        .tuple(
          fc.oneof(
            { maxDepth: 2, withCrossShrink: true },
            fc.constant<JsonObject>({}),
            fc.constantFrom<JsonObject>({ type: "boolean" }, { type: ["string", "null"] }, { type: "null" }),
            typed("string", bounds("minLength", "maxLength")),
            typed("number", numbers),
            typed("integer", numbers),
            fc.array(valueArbitrary, { minLength: 1, maxLength: 3 }).map((list) => ({ enum: list })),
            valueArbitrary.map((value) => ({ const: value })),
            typed("array", lists),
            typed("object", objects),
            // Without a type, or with two, the words of both kinds stand in one schema.
            typed(
              ["object", "array"],
              fc.tuple(objects, lists).map(([a, b]) => ({ ...a, ...b })),
            ),
            objects,
          ),
          about,
        )
        .map(([schema, more]) => sound({ ...schema, ...more }) ?? sound({ ...schema, title: "t" }) ?? {}),
    };
  })
  .schema.filter((schema) => schemaViolations(schema).length === 0);

function sound(schema: JsonObject): JsonObject | undefined {
  return schemaViolations(schema).length === 0 ? schema : undefined;
}
