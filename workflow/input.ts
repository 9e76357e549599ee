import { canonicalJson } from "./digest.ts";
import { HodeiError, isHodeiError, type Violation } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { formatPath } from "./path.ts";
import type { Path } from "./path.ts";
import { choicesOf, isJsonList, isJsonObject, propertySchema, requiredOf, schemaProblems, typesOf } from "./schema.ts";
import type { Problem, SchemaType } from "./schema.ts";
import { suggestion } from "./suggest.ts";

/**
 * What is wrong in a schema itself, with paths from its root ("properties.who.type"); a default that its own schema
 * refuses is wrong too. Empty: it is in the subset that schema.ts describes.
 */
export function schemaViolations(schema: JsonObject): Violation[] {
  return allSchemaProblems(schema, []).map(({ path, message }) => ({ path: formatPath(path), message }));
}

export function allSchemaProblems(schema: Json, path: Path): Problem[] {
  const problems = schemaProblems(schema, path);
  return problems.length > 0 || !isJsonObject(schema) ? problems : defaultProblems(schema, path);
}

function defaultProblems(schema: JsonObject, path: Path): Problem[] {
  const found: Problem[] = [];
  if (schema["default"] !== undefined) {
    checkFilled(schema, schema["default"], [...path, "default"], found);
  }
  const problems = found.map((wrong) => ({
    path: wrong.path,
    message: `the default does not fit its own schema: ${wrong.message}`,
  }));
  const { properties, items, additionalProperties } = schema;
  const below: [Path, Json | undefined][] = [
    [[...path, "items"], items],
    [[...path, "additionalProperties"], additionalProperties],
  ];
  for (const name of isJsonObject(properties) ? Object.keys(properties) : []) {
    below.push([[...path, "properties", name], isJsonObject(properties) ? properties[name] : undefined]);
  }
  return problems.concat(below.flatMap(([at, child]) => (isJsonObject(child) ? defaultProblems(child, at) : [])));
}

/** What is wrong in a value, with paths from `path`, at most LIMITS.violations. Empty: the schema accepts it. */
export function inputViolations(schema: JsonObject, value: Json, path = "input"): Violation[] {
  if (isDeep(value)) return [{ path, message: `nests deeper than ${LIMITS.valueDepth} levels` }];
  const problems: Problem[] = [];
  checkValue(schema, value, [], problems);
  return problems.map((problem) => {
    const below = formatPath(problem.path);
    const joint = below === "" || below.startsWith("[") || path === "" ? "" : ".";
    return { path: `${path}${joint}${below}`, message: problem.message };
  });
}

/** Whether the schema accepts the value once defaults are filled in: what a start does with its input. */
export function accepts(schema: JsonObject, value: Json): boolean {
  const problems: Problem[] = [];
  checkFilled(schema, value, [], problems);
  return problems.length === 0;
}

function checkFilled(schema: JsonObject, value: Json, path: Path, found: Problem[]): void {
  try {
    checkValue(schema, withDefaults(schema, value), path, found);
  } catch (error) {
    if (!isHodeiError(error, "TOO_LARGE")) throw error;
    add(found, path, error.message);
  }
}

/** Level by level, since recursion into what is too deep is the very thing to avoid. */
function isDeep(value: Json): boolean {
  let level: Json[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > LIMITS.valueDepth) return true;
    level = level.flatMap((one) => (one !== null && typeof one === "object" ? Object.values(one) : []));
  }
  return false;
}

/** Adds to `found`, which never grows past the bound: a list of 100,000 wrong items is told by its first 50. */
function checkValue(schema: JsonObject, value: Json, path: Path, found: Problem[]): void {
  const choices = choicesOf(schema);
  if (choices !== undefined && !choices.has(canonicalJson(value))) {
    const listed = [...choices].slice(0, 10).join(", ");
    const more = choices.size > 10 ? ", …" : "";
    return add(found, path, `must be ${choices.size === 1 ? "" : "one of "}${listed}${more}, not ${brief(value)}`);
  }
  const types = typesOf(schema);
  if (types !== undefined && !types.some((type) => isOfType(value, type))) {
    return add(found, path, `must be ${types.map(withArticle).join(" or ")}, not ${brief(value)}`);
  }
  if (typeof value === "string") checkString(schema, value, path, found);
  else if (typeof value === "number") checkNumber(schema, value, path, found);
  else if (isJsonList(value)) checkList(schema, value, path, found);
  else if (isJsonObject(value)) checkObject(schema, value, path, found);
}

function add(found: Problem[], path: Path, message: string): void {
  if (found.length < LIMITS.violations) found.push({ path, message });
}

function isOfType(value: Json, type: SchemaType): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return isJsonList(value);
    case "object":
      return isJsonObject(value);
    case "integer":
      return Number.isInteger(value);
    case "string":
    case "number":
    case "boolean":
      return typeof value === type;
    default:
      return type satisfies never;
  }
}

function checkString(schema: JsonObject, value: string, path: Path, found: Problem[]): void {
  if (schema["minLength"] === undefined && schema["maxLength"] === undefined) return;
  let length = 0;
  for (const _ of value) length += 1;
  checkCount(schema, ["minLength", "maxLength"], length, "characters", path, found);
}

function checkList(schema: JsonObject, value: readonly Json[], path: Path, found: Problem[]): void {
  checkCount(schema, ["minItems", "maxItems"], value.length, "items", path, found);
  if (schema["uniqueItems"] === true) {
    const seen = new Set<string>();
    const twice = value.findIndex((item) => seen.size === seen.add(canonicalJson(item)).size);
    if (twice >= 0) add(found, [...path, twice], "repeats an earlier item");
  }
  const items = schema["items"];
  if (!isJsonObject(items)) return;
  for (const [index, item] of value.entries()) {
    if (found.length >= LIMITS.violations) return;
    checkValue(items, item, [...path, index], found);
  }
}

function checkCount(
  schema: JsonObject,
  words: ["minItems" | "minLength", "maxItems" | "maxLength"],
  count: number,
  what: string,
  path: Path,
  found: Problem[],
): void {
  const least = Number(schema[words[0]] ?? 0);
  const most = Number(schema[words[1]] ?? Number.POSITIVE_INFINITY);
  if (count < least) add(found, path, `must have at least ${least} ${what}, has ${count}`);
  if (count > most) add(found, path, `must have at most ${most} ${what}, has ${count}`);
}

function checkNumber(schema: JsonObject, value: number, path: Path, found: Problem[]): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
  const must = (what: string): void => add(found, path, `must be ${what}, is ${value}`);
  if (typeof minimum === "number" && value < minimum) must(`at least ${minimum}`);
  if (typeof maximum === "number" && value > maximum) must(`at most ${maximum}`);
  if (typeof exclusiveMinimum === "number" && value <= exclusiveMinimum) must(`above ${exclusiveMinimum}`);
  if (typeof exclusiveMaximum === "number" && value >= exclusiveMaximum) must(`below ${exclusiveMaximum}`);
}

function checkObject(schema: JsonObject, value: JsonObject, path: Path, found: Problem[]): void {
  for (const name of requiredOf(schema)) {
    if (!Object.hasOwn(value, name)) add(found, [...path, name], "is required");
  }
  for (const [name, field] of Object.entries(value)) {
    if (found.length >= LIMITS.violations) return;
    const property = propertySchema(schema, name);
    const at = [...path, name];
    if (property === false) {
      const known = isJsonObject(schema["properties"]) ? Object.keys(schema["properties"]) : [];
      add(found, at, `is not known here${suggestion(name, known)}`);
    } else if (property !== true) {
      checkValue(property, field, at, found);
    }
  }
}

/**
 * The value with absent properties filled from `default`, at every depth that the schema describes. The value is not
 * changed. Throws TOO_LARGE when more than LIMITS.inputBytes would be filled in.
 */
export function withDefaults(schema: JsonObject, value: Json, room = { bytes: LIMITS.inputBytes as number }): Json {
  if (isJsonList(value)) {
    const items = schema["items"];
    return isJsonObject(items) ? value.map((item) => withDefaults(items, item, room)) : value;
  }
  if (!isJsonObject(value)) return value;
  const filled = Object.entries(value).map(([name, field]): [string, Json] => {
    const property = propertySchema(schema, name);
    return [name, typeof property === "boolean" ? field : withDefaults(property, field, room)];
  });
  const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
  for (const [name, property] of Object.entries(properties)) {
    if (Object.hasOwn(value, name) || !isJsonObject(property) || property["default"] === undefined) continue;
    take(room, name, property["default"]);
    filled.push([name, withDefaults(property, property["default"], room)]);
  }
  // fromEntries defines, so a key "__proto__" stays a key.
  return Object.fromEntries(filled);
}

/** A default of 5 KB in each item of a list of 80,000 is 400 MB, from a request of 240 KB. */
function take(room: { bytes: number }, name: string, value: Json): void {
  room.bytes -= Buffer.byteLength(name) + Buffer.byteLength(JSON.stringify(value));
  if (room.bytes >= 0) return;
  throw new HodeiError("TOO_LARGE", `the defaults of the input's schema add more than ${LIMITS.inputBytes} bytes`, {
    field: "input",
  });
}

function withArticle(type: SchemaType): string {
  if (type === "null") return "null";
  return `${/^[aio]/.test(type) ? "an" : "a"} ${type}`;
}

function brief(value: Json): string {
  const text = JSON.stringify(value);
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`;
}
