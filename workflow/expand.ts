import type { Matrix, Step } from "./definition.ts";
import { HodeiError } from "./errors.ts";
import { evaluate, render, type Scope } from "./expression.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { isJsonList } from "./schema.ts";

/** What a step runs over, one value per iteration; undefined for a plain step. Throws what makes the list unusable. */
export function expand(step: Step, scope: Scope): Json[] | undefined {
  const items = itemsOf(step, scope);
  if (items === undefined) return undefined;
  if (items.length > LIMITS.iterations) throw tooMany(items.length);
  const bytes = Buffer.byteLength(JSON.stringify(items));
  // They are recorded in one event, which has to fit a commit beside the first jobs.
  if (bytes > LIMITS.commitBytes / 2) {
    throw new HodeiError("TOO_LARGE", `the items are ${bytes} bytes long, at most ${LIMITS.commitBytes / 2} are kept`);
  }
  return items;
}

function itemsOf({ matrix, forEach }: Step, scope: Scope): Json[] | undefined {
  if (matrix !== undefined) return combine(matrix, scope);
  return forEach === undefined ? undefined : listOf("forEach", forEach, scope);
}

/** A literal list, whose elements may hold expressions, or one expression that gives a list. */
function listOf(what: string, written: Json[] | string, scope: Scope): Json[] {
  let value: Json;
  if (typeof written !== "string") value = render(written, scope);
  else value = written.includes("${{") ? render(written, scope) : evaluate(written, scope);
  if (isJsonList(value)) return [...value];
  throw new HodeiError("INVALID_EXPRESSION", `${what} needs a list and got ${JSON.stringify(value).slice(0, 80)}`);
}

/** Every combination of the axes in the order they are written, the last one fastest; without `exclude`, with `include`. */
function combine(matrix: Matrix, scope: Scope): Json[] {
  const axes = Object.entries(matrix.axes).map(([name, written]) => ({ name, values: listOf(name, written, scope) }));
  // Before they are built: a product of small axes can be of any size.
  const size = axes.reduce((product, axis) => product * axis.values.length, 1);
  if (size > LIMITS.iterations) throw tooMany(size);
  let combinations: Record<string, Json>[] = axes.length === 0 ? [] : [{}];
  for (const { name, values } of axes) {
    combinations = combinations.flatMap((partial) => values.map((value) => ({ ...partial, [name]: value })));
  }
  const kept = combinations.filter((combination) => !matrix.exclude.some((pattern) => matches(combination, pattern)));
  return [...kept, ...matrix.include];
}

function matches(combination: Record<string, Json>, pattern: Record<string, Json>): boolean {
  return Object.entries(pattern).every(([name, value]) => JSON.stringify(combination[name]) === JSON.stringify(value));
}

function tooMany(count: number): HodeiError {
  return new HodeiError("TOO_LARGE", `${count} iterations are more than the ${LIMITS.iterations} that a step may have`);
}
