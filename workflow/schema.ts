import { canonicalJson } from "./digest.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import type { Path } from "./path.ts";
import { suggestion } from "./suggest.ts";

/*
 * The subset of JSON Schema that inputs and signals are described in:
 *
 *   any       type (a name or a list of names), title, description, examples, default
 *   choices   enum, const (beside them only `type` and the words above)
 *   object    properties, required, additionalProperties (boolean or schema)
 *   array     items (one schema), minItems, maxItems, uniqueItems
 *   string    minLength, maxLength (in code points)
 *   number    minimum, maximum, exclusiveMinimum, exclusiveMaximum
 *
 * Left out on purpose: `pattern` and `format` (a regular expression can be made to run for ever), `$ref` (endless
 * documents), `oneOf` and its kin (whether one such schema accepts what another did cannot be computed soundly, and
 * the semver check in compatibility.ts stands on that). An unknown word is refused, never ignored.
 *
 * @cfworker/json-schema is not used for this: its errors name the schema's place ("#/properties/who/type") before the
 * value's and repeat each failure at every level above. The tests hold this file to it as an oracle instead.
 */

export const SCHEMA_TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
export type SchemaType = (typeof SCHEMA_TYPES)[number];

const WORDS = {
  type: "any",
  title: "any",
  description: "any",
  examples: "any",
  default: "any",
  enum: "any",
  const: "any",
  properties: "object",
  required: "object",
  additionalProperties: "object",
  items: "array",
  minItems: "array",
  maxItems: "array",
  uniqueItems: "array",
  minLength: "string",
  maxLength: "string",
  minimum: "number",
  maximum: "number",
  exclusiveMinimum: "number",
  exclusiveMaximum: "number",
} as const;
type Word = keyof typeof WORDS;

/** Schemas nest at most so deep, and so does what they look at: deeper levels of a value are free-form anyway. */
const MAX_DEPTH = 24;

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isJsonList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/** The types a schema names; undefined when it names none and so takes every type. */
export function typesOf(schema: JsonObject): SchemaType[] | undefined {
  if (schema["type"] === undefined) return undefined;
  const names = isJsonList(schema["type"]) ? schema["type"] : [schema["type"]];
  return SCHEMA_TYPES.filter((type) => names.includes(type));
}

/** The schema of property `name`; true: anything; false: such a property is refused. */
export function propertySchema(schema: JsonObject, name: string): JsonObject | boolean {
  const properties = schema["properties"];
  if (isJsonObject(properties) && Object.hasOwn(properties, name)) {
    const property = properties[name];
    return isJsonObject(property) ? property : true;
  }
  const rest = schema["additionalProperties"];
  if (rest === false) return false;
  return isJsonObject(rest) ? rest : true;
}

export function requiredOf(schema: JsonObject): string[] {
  const required = schema["required"];
  return isJsonList(required) ? required.filter((name) => typeof name === "string") : [];
}

const choicesBySchema = new WeakMap<JsonObject, Set<string>>();

/** The values that `enum` or `const` allow, as canonical JSON. Kept by schema: a list of 10,000 items asks 10,000 times. */
export function choicesOf(schema: JsonObject): Set<string> | undefined {
  const listed = schema["enum"] ?? (schema["const"] === undefined ? undefined : [schema["const"]]);
  if (!isJsonList(listed)) return undefined;
  const known = choicesBySchema.get(schema);
  if (known !== undefined) return known;
  const choices = new Set(listed.map((value) => canonicalJson(value)));
  choicesBySchema.set(schema, choices);
  return choices;
}

/** Something wrong at a place; the caller knows what the place is called and in which text it stands. */
export type Problem = { path: Path; message: string };

/**
 * Near names are looked for as often as problems are listed, at 25 µs each: aliases make 100,000 unknown words of a few.
 */
type Hints = { left: number };

export function schemaProblems(schema: Json, path: Path = [], hints: Hints = { left: LIMITS.violations }): Problem[] {
  if (!isJsonObject(schema)) return [{ path, message: "a schema must be an object" }];
  if (path.length > MAX_DEPTH * 2) return [{ path, message: `schemas nest at most ${MAX_DEPTH} deep` }];
  const problems: Problem[] = [];
  for (const [word, value] of Object.entries(schema)) {
    const at = [...path, word];
    if (!Object.hasOwn(WORDS, word)) {
      const known = Object.keys(WORDS);
      const near = (hints.left -= 1) < 0 ? "" : suggestion(word, known) || `; known are ${known.join(", ")}`;
      problems.push({ path: at, message: `"${word}" is not in the supported subset of JSON Schema${near}` });
    } else {
      // No spread: a list of 100,000 wrong types would not fit the stack as arguments.
      for (const problem of wordProblems(word as Word, value, at, hints)) problems.push(problem);
    }
  }
  if (problems.length > 0) return problems;
  return togetherProblems(schema, path);
}

function wordProblems(word: Word, value: Json, at: Path, hints: Hints): Problem[] {
  const wrong = (what: string): Problem[] => [{ path: at, message: `must be ${what}` }];
  switch (word) {
    case "type":
      return typeProblems(value, at);
    case "title":
    case "description":
      return typeof value === "string" ? [] : wrong("a text");
    case "examples":
      return isJsonList(value) ? [] : wrong("a list");
    case "enum":
      return isJsonList(value) && value.length > 0 ? [] : wrong("a list of at least one value");
    case "default":
    case "const":
      return [];
    case "properties":
      if (!isJsonObject(value)) return wrong("an object that gives a schema for each name");
      return Object.entries(value).flatMap(([name, property]) => schemaProblems(property, [...at, name], hints));
    case "required":
      return isJsonList(value) && value.every((name) => typeof name === "string") ? [] : wrong("a list of names");
    case "additionalProperties":
      return typeof value === "boolean"
        ? []
        : isJsonObject(value)
          ? schemaProblems(value, at, hints)
          : wrong("a boolean or a schema");
    case "items":
      return isJsonObject(value) ? schemaProblems(value, at, hints) : wrong("one schema for every item");
    case "uniqueItems":
      return typeof value === "boolean" ? [] : wrong("a boolean");
    case "minItems":
    case "maxItems":
    case "minLength":
    case "maxLength":
      return Number.isSafeInteger(value) && Number(value) >= 0 ? [] : wrong("a whole number, 0 or more");
    default:
      word satisfies "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum";
      return typeof value === "number" ? [] : wrong("a number");
  }
}

function typeProblems(value: Json, at: Path): Problem[] {
  const names = isJsonList(value) ? value : [value];
  if (names.length === 0) return [{ path: at, message: "must name at least one type" }];
  return names.flatMap((name, index) => {
    if (typeof name === "string" && (SCHEMA_TYPES as readonly string[]).includes(name)) return [];
    const near = typeof name === "string" ? suggestion(name, SCHEMA_TYPES) : "";
    const message = `${JSON.stringify(name)} is not a type (${SCHEMA_TYPES.join(", ")})${near}`;
    return [{ path: isJsonList(value) ? [...at, index] : at, message }];
  });
}

/** What no single word shows: words that do not go together, bounds that cross. */
function togetherProblems(schema: JsonObject, path: Path): Problem[] {
  const problems: Problem[] = [];
  const types = typesOf(schema);
  const chosen = schema["enum"] !== undefined ? "enum" : schema["const"] !== undefined ? "const" : undefined;
  for (const word of Object.keys(schema) as Word[]) {
    const at = [...path, word];
    const kind = WORDS[word];
    if (kind === "any") continue;
    if (chosen !== undefined) problems.push({ path: at, message: `"${word}" has no place beside "${chosen}"` });
    else if (types !== undefined && !types.some((type) => type === kind || (kind === "number" && type === "integer"))) {
      problems.push({ path: at, message: `"${word}" says nothing about the type ${types.join(" or ")}` });
    }
  }
  if (schema["enum"] !== undefined && schema["const"] !== undefined) {
    problems.push({ path: [...path, "const"], message: `"const" has no place beside "enum"` });
  }
  if (problems.length > 0) return problems;
  for (const [index, name] of requiredOf(schema).entries()) {
    if (propertySchema(schema, name) !== false) continue;
    problems.push({ path: [...path, "required", index], message: `"${name}" is required and not allowed at once` });
  }
  for (const [low, high] of [
    ["minItems", "maxItems"],
    ["minLength", "maxLength"],
    ["minimum", "maximum"],
  ] as const) {
    if (Number(schema[low] ?? Number.NEGATIVE_INFINITY) > Number(schema[high] ?? Number.POSITIVE_INFINITY)) {
      problems.push({ path: [...path, low], message: `is above ${high}` });
    }
  }
  return problems;
}
