import { canonicalJson } from "./digest.ts";
import { accepts } from "./input.ts";
import type { Json, JsonObject } from "./json.ts";
import type { Path } from "./path.ts";
import { choicesOf, isJsonObject, propertySchema, requiredOf, SCHEMA_TYPES, typesOf } from "./schema.ts";
import type { SchemaType } from "./schema.ts";
import type { Bump } from "./version.ts";

/*
 * Whether a newer schema takes everything that an older one took. The answer errs on one side only: what is not
 * "major" is proven compatible (the tests generate values to refute it); something harmless may be called major.
 *
 * One promise is narrower than the schemas read. Where an object says nothing of `additionalProperties`, properties
 * that it does not describe are let through, but what they may be is not promised, so describing one later is an
 * addition ("minor"), not a narrowing. Who means to promise them writes `additionalProperties: true`.
 */

export type SchemaChange = { bump: Exclude<Bump, "none">; path: Path; message: string };

/** Stands for "every value": the schema of what is not described. */
const ANYTHING: JsonObject = {};

/** Empty only when the two are equal; a difference that changes nothing in what is accepted is a "patch". */
export function schemaChanges(older: JsonObject, newer: JsonObject, path: Path): SchemaChange[] {
  if (canonicalJson(older) === canonicalJson(newer)) return [];
  const found: SchemaChange[] = [];
  compare(older, newer, path, (bump, at, message) => void found.push({ bump, path: at, message }));
  // Descriptions, defaults, examples.
  if (found.length === 0) found.push({ bump: "patch", path, message: "described otherwise" });
  return found;
}

type Report = (bump: SchemaChange["bump"], path: Path, message: string) => void;

function compare(older: JsonObject, newer: JsonObject, path: Path, report: Report): void {
  if (canonicalJson(older) === canonicalJson(newer)) return;
  const before = choicesOf(older);
  const after = choicesOf(newer);
  if (before !== undefined) return compareChoices(older, newer, path, report);
  if (after !== undefined) {
    return report("major", path, `takes only ${[...after].slice(0, 5).join(", ")} now, was not limited to a choice`);
  }
  const kept = compareTypes(older, newer, path, report);
  const takes = (type: SchemaType): boolean => kept.includes(type);
  if (takes("number") || takes("integer")) compareNumbers(older, newer, path, report);
  if (takes("string")) compareCounts(older, newer, ["minLength", "maxLength"], path, report);
  if (takes("array")) compareLists(older, newer, path, report);
  if (takes("object")) compareObjects(older, newer, path, report);
}

/** The older one lists its values, so each can be tried. */
function compareChoices(older: JsonObject, newer: JsonObject, path: Path, report: Report): void {
  const before = [...(choicesOf(older) ?? [])].filter((text) => accepts(older, parse(text)));
  const lost = before.filter((text) => !accepts(newer, parse(text)));
  if (lost.length > 0) return report("major", path, `no longer takes ${lost.slice(0, 5).join(", ")}`);
  const after = choicesOf(newer);
  if (after === undefined) return report("minor", path, "is no longer limited to a choice");
  const added = [...after].filter((text) => !before.includes(text));
  if (added.length > 0) report("minor", path, `takes ${added.slice(0, 5).join(", ")} too`);
}

function parse(canonical: string): Json {
  return JSON.parse(canonical) as Json;
}

/** Reports what was lost and won; answers with the types that both take, whose further words then matter. */
function compareTypes(older: JsonObject, newer: JsonObject, path: Path, report: Report): SchemaType[] {
  const before = allTypes(older);
  const after = allTypes(newer);
  const covers = (types: SchemaType[], type: SchemaType): boolean =>
    types.includes(type) || (type === "integer" && types.includes("number"));
  const lost = before.filter((type) => !covers(after, type));
  const won = after.filter((type) => !covers(before, type));
  if (lost.length > 0) report("major", path, `no longer takes ${lost.map(plural).join(", ")}`);
  if (won.length > 0) report("minor", path, `takes ${won.map(plural).join(", ")} too`);
  return before.filter((type) => covers(after, type));
}

/** "integer" is left out where "number" covers it. */
function allTypes(schema: JsonObject): SchemaType[] {
  const types = typesOf(schema) ?? [...SCHEMA_TYPES];
  return types.includes("number") ? types.filter((type) => type !== "integer") : types;
}

function plural(type: SchemaType): string {
  return type === "null" ? "null" : `${type}s`;
}

type Limit = { value: number; open: boolean };

/** Upper limits are compared as lower ones of the negated numbers, so that "tighter" is one rule. */
function compareNumbers(older: JsonObject, newer: JsonObject, path: Path, report: Report): void {
  for (const [word, exclusive, sign] of [
    ["minimum", "exclusiveMinimum", 1],
    ["maximum", "exclusiveMaximum", -1],
  ] as const) {
    const limit = (schema: JsonObject): Limit =>
      tighter(at(schema, word, false, sign), at(schema, exclusive, true, sign));
    const order = compareLimits(limit(newer), limit(older));
    if (order > 0) report("major", path, `${word} is tighter`);
    if (order < 0) report("minor", path, `${word} is looser`);
  }
}

function at(schema: JsonObject, word: string, open: boolean, sign: 1 | -1): Limit {
  const value = schema[word];
  return { value: typeof value === "number" ? value * sign : Number.NEGATIVE_INFINITY, open };
}

function tighter(a: Limit, b: Limit): Limit {
  return compareLimits(a, b) >= 0 ? a : b;
}

function compareLimits(a: Limit, b: Limit): number {
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.value === Number.NEGATIVE_INFINITY ? 0 : Number(a.open) - Number(b.open);
}

function compareCounts(
  older: JsonObject,
  newer: JsonObject,
  [least, most]: ["minLength" | "minItems", "maxLength" | "maxItems"],
  path: Path,
  report: Report,
): void {
  const change = (word: string, absent: number, sign: number): void => {
    const difference = sign * (Number(newer[word] ?? absent) - Number(older[word] ?? absent));
    if (difference > 0) report("major", path, `${word} is tighter`);
    if (difference < 0) report("minor", path, `${word} is looser`);
  };
  change(least, 0, 1);
  // Not infinity: two absent bounds must differ by 0.
  change(most, Number.MAX_SAFE_INTEGER, -1);
}

function compareLists(older: JsonObject, newer: JsonObject, path: Path, report: Report): void {
  compareCounts(older, newer, ["minItems", "maxItems"], path, report);
  const before = older["uniqueItems"] === true;
  const after = newer["uniqueItems"] === true;
  if (after && !before) report("major", path, "items must be unique now");
  if (before && !after) report("minor", path, "items may repeat now");
  const from = isJsonObject(older["items"]) ? older["items"] : ANYTHING;
  const to = isJsonObject(newer["items"]) ? newer["items"] : ANYTHING;
  // Filling other defaults can make two items equal that were not.
  if (after && before && canonicalJson(from) !== canonicalJson(to) && (hasDefault(from) || hasDefault(to))) {
    report("major", [...path, "items"], "items that must be unique are described otherwise, with defaults");
  }
  compare(from, to, [...path, "items"], report);
}

function hasDefault(schema: Json): boolean {
  if (schema === null || typeof schema !== "object") return false;
  return "default" in schema || Object.values(schema).some(hasDefault);
}

function compareObjects(older: JsonObject, newer: JsonObject, path: Path, report: Report): void {
  const mustGive = (schema: JsonObject): string[] => requiredOf(schema).filter((name) => !hasOwnDefault(schema, name));
  const before = mustGive(older);
  const after = mustGive(newer);
  const described = (schema: JsonObject): string[] => Object.keys(propertiesOf(schema));
  const names = new Set([...described(older), ...described(newer), ...before, ...after]);
  for (const name of names) {
    const here = [...path, "properties", name];
    if (after.includes(name) && !before.includes(name)) report("major", here, `"${name}" is required now`);
    if (before.includes(name) && !after.includes(name)) report("minor", here, `"${name}" is optional now`);
    compareProperty(older, newer, name, here, report);
  }
  compareRest(older, newer, path, report);
}

function compareProperty(older: JsonObject, newer: JsonObject, name: string, path: Path, report: Report): void {
  const wasDescribed = Object.hasOwn(propertiesOf(older), name);
  const isDescribed = Object.hasOwn(propertiesOf(newer), name);
  if (!wasDescribed && isDescribed && older["additionalProperties"] === undefined) {
    // No promise was made of it; whether it is required now is told by the caller.
    report("minor", path, `"${name}" is added`);
    return;
  }
  const from = propertySchema(older, name);
  const to = propertySchema(newer, name);
  if (to === false && from !== false) report("major", path, `"${name}" is removed, and other properties are refused`);
  else if (from === false && to !== false) report("minor", path, `"${name}" is added`);
  else compare(asSchema(from), asSchema(to), path, report);
}

/** What holds for the properties that neither describes. */
function compareRest(older: JsonObject, newer: JsonObject, path: Path, report: Report): void {
  const from = older["additionalProperties"];
  const to = newer["additionalProperties"];
  const here = [...path, "additionalProperties"];
  if (canonicalJson(from ?? null) === canonicalJson(to ?? null)) return;
  if (to === false) return report("major", here, "properties that are not described are refused now");
  if (from === false) return report("minor", here, "properties that are not described are let through now");
  // From "let through" to a schema is a narrowing even where nothing was promised: it can refuse a running caller.
  compare(asSchema(isJsonObject(from) ? from : true), asSchema(isJsonObject(to) ? to : true), here, report);
}

function asSchema(property: JsonObject | boolean): JsonObject {
  return isJsonObject(property) ? property : ANYTHING;
}

function propertiesOf(schema: JsonObject): JsonObject {
  return isJsonObject(schema["properties"]) ? schema["properties"] : {};
}

function hasOwnDefault(schema: JsonObject, name: string): boolean {
  const properties = propertiesOf(schema);
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
  return isJsonObject(property) && property["default"] !== undefined;
}
