import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";

/**
 * What expressions compute with. JSON has one kind of number, CEL two that divide and print differently, so the kinds
 * are kept apart by representation: a bigint is an int, a `Double` a double, and a plain number is JSON data not yet
 * looked at. Members of lists and maps stay as they came until they are read (`lift`): converting a whole scope for each
 * evaluation would make an expression over one field of a 10,000-way step cost 10,000.
 */
export type Value = null | boolean | string | bigint | Double | readonly unknown[] | ValueMap;
export type ValueMap = { readonly [key: string]: unknown };

export class Double {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** Thrown by everything that an expression can do wrong; the evaluator says where. */
export class ValueError extends Error {
  override readonly name = "ValueError";
}

const MAX_INT = 2n ** 63n - 1n;
const MIN_INT = -(2n ** 63n);

/** JSON data or a value, as a value: whole numbers become ints, other numbers doubles. */
export function lift(member: unknown): Value {
  switch (typeof member) {
    case "number":
      return Number.isSafeInteger(member) ? BigInt(member) : new Double(member);
    case "string":
    case "boolean":
    case "bigint":
      return member;
    case "object":
      if (member === null || member instanceof Double || Array.isArray(member)) return member;
      // Anything else that JSON.parse or the evaluator makes is a plain object.
      return member as ValueMap;
    default:
      return null;
  }
}

export function isList(value: Value): value is readonly unknown[] {
  return Array.isArray(value);
}

export function isMap(value: Value): value is ValueMap {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Double);
}

/** The member, or undefined. Never one of Object.prototype: `input.constructor` is a field like any other. */
export function member(map: ValueMap, key: string): unknown {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

export function kindOf(value: Value): string {
  if (value === null) return "null";
  if (value instanceof Double) return "double";
  if (isList(value)) return "list";
  if (typeof value === "bigint") return "int";
  return typeof value === "boolean" ? "bool" : typeof value === "string" ? "string" : "map";
}

/** int64, as CEL has it. */
export function int(value: bigint): bigint {
  if (value > MAX_INT || value < MIN_INT) throw new ValueError("the result is no 64-bit integer");
  return value;
}

/** Deep; numbers by amount, whatever their kind; values of different kinds are unequal. `spend` pays for every member. */
export function equal(a: Value, b: Value, spend: (steps: number) => void): boolean {
  spend(1);
  if (typeof a === "string" && typeof b === "string") spend(a.length === b.length ? a.length >> 4 : 0);
  if (a === b) return true;
  const left = amount(a);
  // Loose equality is exact between bigint and number, a conversion would not be.
  // oxlint-disable-next-line eqeqeq
  if (left !== undefined) return left == amount(b);
  if (isList(a) && isList(b)) {
    return a.length === b.length && a.every((element, index) => equal(lift(element), lift(b[index]), spend));
  }
  if (!isMap(a) || !isMap(b)) return false;
  const keys = definedKeys(a);
  spend(keys.length);
  return (
    keys.length === definedKeys(b).length &&
    keys.every((key) => member(b, key) !== undefined && equal(lift(a[key]), lift(b[key]), spend))
  );
}

/** Negative, 0 or positive; NaN when not ordered. Numbers of both kinds, texts, booleans. */
export function compare(a: Value, b: Value, spend: (steps: number) => void): number {
  const left = amount(a);
  const right = amount(b);
  if (left !== undefined && right !== undefined) return left < right ? -1 : left > right ? 1 : left >= right ? 0 : NaN;
  if (typeof a === "string" && typeof b === "string") {
    spend(Math.min(a.length, b.length) >> 4);
    return a < b ? -1 : a > b ? 1 : 0;
  }
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  throw new ValueError(`cannot order ${kindOf(a)} and ${kindOf(b)}`);
}

function amount(value: Value): bigint | number | undefined {
  return typeof value === "bigint" ? value : value instanceof Double ? value.value : undefined;
}

/** Keys that hold something: scopes are built with optional members, and JSON has no undefined. */
export function definedKeys(map: ValueMap): string[] {
  return Object.keys(map).filter((key) => map[key] !== undefined);
}

/**
 * As JSON. `room` is what is left of the result bound; it is counted down while walking, so that a huge value is refused
 * before it is copied. Throws ValueError for what JSON cannot hold: NaN, infinities, integers that a double would bend.
 */
export function toJson(value: Value, room: { bytes: number }, depth = 0): Json {
  if (depth > LIMITS.expressionDepth) throw new ValueError(`the result nests deeper than ${LIMITS.expressionDepth}`);
  take(room, typeof value === "string" ? value.length + 2 : 4);
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "bigint") {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new ValueError(`${value} is beyond the integers that JSON keeps exactly; make it a text with string()`);
  }
  if (value instanceof Double) {
    if (Number.isFinite(value.value)) return value.value;
    throw new ValueError(`${value.value} is no JSON number`);
  }
  if (isList(value)) return value.map((element) => toJson(lift(element), room, depth + 1));
  const entries: [string, Json][] = [];
  for (const key of definedKeys(value)) {
    take(room, key.length + 4);
    entries.push([key, toJson(lift(value[key]), room, depth + 1)]);
  }
  // fromEntries defines, so a key "__proto__" stays a key.
  return Object.fromEntries(entries);
}

function take(room: { bytes: number }, bytes: number): void {
  room.bytes -= bytes;
  if (room.bytes < 0) throw new ValueError(`the result is larger than ${LIMITS.expressionResultBytes} bytes`);
}
