import { LIMITS } from "./limits.ts";
import { parsePattern, PatternError, patternMatches, type Pattern } from "./pattern.ts";
import { definedKeys, Double, int, isList, isMap, kindOf, lift, ValueError, type Value } from "./value.ts";

/**
 * The functions of the expression language: a closed list. Standard CEL is larger; left out is what reads a clock's time
 * zone tables (timestamps: another answer on another machine), what JSON cannot hold (bytes, uint, durations, types) and
 * macros that only save typing. Everything here is total, and pays by the size of what it reads before it reads it.
 */
export type Spending = { spend: (steps: number) => void; patterns: Map<string, Pattern> };
type Apply = (args: readonly Value[], spending: Spending) => Value;

/** `lastIndexOf`, the slowest, compares letter by letter: 3.6 of them take a ns, a step about 100 ns. */
const COMPARISONS_PER_STEP = 360;

/** Reading a pattern that is new: 10 µs for a short one in a process that has just begun. */
const PATTERN_STEPS = 40;
const PATTERN_STEPS_PER_LETTER = 4;
/** Of one match, before its first letter. */
const MATCH_STEPS = 5;

/** Longest text an expression can build on its way to a result. */
const MAX_TEXT = 4 * LIMITS.expressionResultBytes;

/** Called as `name(x)`. */
export const FUNCTIONS: ReadonlyMap<string, Apply> = new Map<string, Apply>([
  ["size", (args, spending) => size(only(args), spending)],
  ["string", (args) => string(only(args))],
  ["int", (args) => toInt(only(args))],
  ["double", (args) => toDouble(only(args))],
  ["bool", (args) => toBool(only(args))],
  ["dyn", (args) => only(args)],
]);

/** Called as `x.name(…)`; the receiver is the first argument. */
export const METHODS: ReadonlyMap<string, Apply> = new Map<string, Apply>([
  ["size", (args, spending) => size(only(args), spending)],
  ["contains", search((text, part) => text.includes(part))],
  ["startsWith", search((text, part) => text.startsWith(part))],
  ["endsWith", search((text, part) => text.endsWith(part))],
  ["indexOf", search((text, part) => BigInt(text.indexOf(part)))],
  ["lastIndexOf", search((text, part) => BigInt(text.lastIndexOf(part)))],
  ["matches", matches],
  // The ASCII ones of CEL: what a locale makes of "I" must not differ between machines.
  ["lowerAscii", asciiCase(/[A-Z]+/g, (letters) => letters.toLowerCase())],
  ["upperAscii", asciiCase(/[a-z]+/g, (letters) => letters.toUpperCase())],
  ["trim", (args, spending) => whole(args, spending).trim()],
  ["substring", substring],
  ["split", split],
  ["replace", replace],
  ["join", join],
]);

/** `x.name(variable, body)`: the evaluator runs these, since their body is not a value. */
export const MACROS: ReadonlySet<string> = new Set(["map", "filter", "all", "exists", "exists_one"]);

function only(args: readonly Value[]): Value {
  if (args.length !== 1) throw new ValueError(`takes one value, got ${args.length}`);
  return args[0] ?? null;
}

function text(args: readonly Value[], index: number): string {
  const value = args[index] ?? null;
  if (typeof value === "string") return value;
  throw new ValueError(index === 0 ? `needs a string, got ${kindOf(value)}` : `takes a string, got ${kindOf(value)}`);
}

function whole(args: readonly Value[], { spend }: Spending): string {
  const value = text(args, 0);
  spend(value.length >> 4);
  return value;
}

/** Letter by letter in the worst case, 40 ns each; a text that is ASCII as a whole is one call. */
function asciiCase(letters: RegExp, change: (text: string) => string): Apply {
  return (args, spending) => {
    const value = whole(args, spending);
    if (!/[\u0080-\uffff]/.test(value)) return change(value);
    spending.spend(value.length >> 1);
    return value.replace(letters, change);
  };
}

function position(args: readonly Value[], index: number, last: number): number {
  const value = args[index] ?? null;
  if (typeof value !== "bigint") throw new ValueError(`takes an int, got ${kindOf(value)}`);
  if (value < 0n || value > BigInt(last)) throw new ValueError(`position ${value} is outside of 0 to ${last}`);
  return Number(value);
}

/**
 * Searching is linear in practice and quadratic for texts made to be so, and the worst case is what is paid for. Divided
 * and not shifted: a shift takes the product modulo 2^32, and 2^18 letters sought in 2^19 cost 20 s for nothing.
 */
function search(find: (text: string, part: string) => Value): Apply {
  return (args, { spend }) => {
    const [where, part] = [text(args, 0), text(args, 1)];
    spend(searchCost(where, part));
    return find(where, part);
  };
}

function searchCost(where: string, part: string): number {
  const comparisons = (Math.max(0, where.length - part.length) + 1) * part.length;
  return (where.length >> 4) + Math.floor(comparisons / COMPARISONS_PER_STEP);
}

function size(value: Value, { spend }: Spending): Value {
  if (isList(value)) return BigInt(value.length);
  if (isMap(value)) {
    const keys = definedKeys(value);
    spend(keys.length);
    return BigInt(keys.length);
  }
  if (typeof value !== "string") throw new ValueError(`needs a string, list or map, got ${kindOf(value)}`);
  spend(value.length >> 2);
  let characters = 0;
  for (const _character of value) characters += 1;
  return BigInt(characters);
}

function string(value: Value): Value {
  if (typeof value === "string") return value;
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value instanceof Double) return String(value.value);
  throw new ValueError(`cannot make a string of ${kindOf(value)}`);
}

function toInt(value: Value): Value {
  if (typeof value === "bigint") return value;
  if (value instanceof Double && Number.isFinite(value.value)) return int(BigInt(Math.trunc(value.value)));
  if (typeof value === "string" && /^[+-]?\d{1,19}$/.test(value)) return int(BigInt(value.replace(/^\+/, "")));
  throw new ValueError(`cannot make an int of ${shown(value)}`);
}

function toDouble(value: Value): Value {
  if (value instanceof Double) return value;
  if (typeof value === "bigint") return new Double(Number(value));
  if (typeof value === "string" && /^[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?$/.test(value)) {
    return new Double(Number(value));
  }
  throw new ValueError(`cannot make a double of ${shown(value)}`);
}

function toBool(value: Value): Value {
  if (typeof value === "boolean") return value;
  if (value === "true" || value === "false") return value === "true";
  throw new ValueError(`cannot make a bool of ${shown(value)}`);
}

function matches(args: readonly Value[], { spend, patterns }: Spending): Value {
  const [where, source] = [text(args, 0), text(args, 1)];
  let pattern = patterns.get(source);
  if (pattern === undefined) {
    spend(PATTERN_STEPS + PATTERN_STEPS_PER_LETTER * source.length);
    try {
      pattern = parsePattern(source);
    } catch (error) {
      if (error instanceof PatternError) {
        throw new ValueError(`pattern ${shown(source)}: ${error.message}`, { cause: error });
      }
      throw error;
    }
    spend(pattern.program.length);
    patterns.set(source, pattern);
  }
  spend(MATCH_STEPS);
  return patternMatches(pattern, where, spend);
}

function substring(args: readonly Value[], spending: Spending): Value {
  const value = whole(args, spending);
  const start = position(args, 1, value.length);
  const end = args.length > 2 ? position(args, 2, value.length) : value.length;
  if (end < start) throw new ValueError(`the end ${end} is before the start ${start}`);
  return value.slice(start, end);
}

function split(args: readonly Value[], { spend }: Spending): Value {
  const [value, separator] = [text(args, 0), text(args, 1)];
  spend(searchCost(value, separator) + (separator === "" ? value.length : 0));
  const parts = value.split(separator);
  spend(parts.length);
  if (args.length <= 2) return parts;
  const limit = args[2] ?? null;
  if (typeof limit !== "bigint") throw new ValueError(`takes an int as limit, got ${kindOf(limit)}`);
  if (limit < 0n || limit >= BigInt(parts.length)) return parts;
  const kept = Number(limit);
  return kept === 0 ? [] : [...parts.slice(0, kept - 1), parts.slice(kept - 1).join(separator)];
}

function replace(args: readonly Value[], { spend }: Spending): Value {
  const [value, from, to] = [text(args, 0), text(args, 1), text(args, 2)];
  spend(searchCost(value, from) + (from === "" ? value.length : 0));
  const parts = value.split(from);
  spend(parts.length);
  const length = value.length + (parts.length - 1) * (to.length - from.length);
  return parts.length === 1 ? value : built(length, spend, () => parts.join(to));
}

function join(args: readonly Value[], { spend }: Spending): Value {
  const list = args[0] ?? null;
  if (!isList(list)) throw new ValueError(`needs a list, got ${kindOf(list)}`);
  const separator = args.length > 1 ? text(args, 1) : "";
  spend(list.length);
  let length = 0;
  for (const element of list) {
    const part = lift(element);
    if (typeof part !== "string") throw new ValueError(`needs a list of strings, found ${kindOf(part)}`);
    length += part.length + separator.length;
  }
  return built(length, spend, () => list.join(separator));
}

/** Refuses a text that would be too long before it is built. */
export function built(length: number, spend: (steps: number) => void, build: () => string): string {
  if (length > MAX_TEXT) throw new ValueError(`makes a text longer than ${MAX_TEXT} characters`);
  spend(length >> 4);
  return build();
}

function shown(value: Value): string {
  if (typeof value !== "string") return kindOf(value);
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}
