import type { Matrix } from "./definition.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { NAME } from "./reader.ts";
import type { Field, Reader } from "./reader.ts";
import { isJsonList, isJsonObject } from "./schema.ts";
import { wholeExpression } from "./template.ts";

const BESIDE_AXES = ["include", "exclude"];

/** Axes are the keys beside `include` and `exclude`; each is a list or one expression that gives one. */
export function readMatrix(reader: Reader, field: Field | undefined): Matrix | undefined {
  if (field === undefined) return undefined;
  const matrix = reader.record(field);
  const axes: Record<string, Json[] | string> = {};
  let combinations = 1;
  for (const name of matrix.keys.filter((key) => !BESIDE_AXES.includes(key))) {
    const axis = matrix.get(name);
    if (axis === undefined) continue;
    if (!NAME.test(name))
      reader.refuse(axis, `${JSON.stringify(name)} is no axis name: letters, digits, _ and -`, "key");
    const values = readItems(reader, axis);
    if (values === undefined) continue;
    if (values.length === 0) reader.refuse(axis, "must hold at least one value");
    axes[name] = values;
    if (typeof values !== "string") combinations *= values.length;
  }
  const include = readCombinations(reader, matrix.get("include"));
  const exclude = readCombinations(reader, matrix.get("exclude"));
  for (const [index, combination] of exclude.entries()) {
    for (const name of Object.keys(combination)) {
      if (Object.hasOwn(axes, name)) continue;
      reader.refuse({ path: [...matrix.path, "exclude", index, name] }, `"${name}" is not an axis`, "key");
    }
  }
  if (Object.keys(axes).length === 0 && include.length === 0) reader.refuse(matrix, "must have an axis or an include");
  if (combinations + include.length > LIMITS.iterations) {
    reader.refuse(matrix, `has more than ${LIMITS.iterations} combinations`);
  }
  return { axes, include, exclude };
}

export function readForEach(reader: Reader, field: Field | undefined): Json[] | string | undefined {
  return field === undefined ? undefined : readItems(reader, field);
}

/** A list of values, which may hold expressions, or one whole `${{ expression }}` that gives a list. */
function readItems(reader: Reader, field: Field): Json[] | string | undefined {
  if (typeof field.value === "string") {
    const text = field.value.trim();
    const whole = reader.attempt(field, () => wholeExpression(text) ?? null);
    if (whole === null) reader.refuse(field, "must be a list, or one expression that gives a list: ${{ … }}");
    return typeof whole === "string" ? text : undefined;
  }
  return reader.list(field)?.map((item) => item.value);
}

function readCombinations(reader: Reader, field: Field | undefined): Record<string, Json>[] {
  const combinations = reader.list(field)?.map((entry) => {
    refuseExpressions(reader, entry);
    return reader.object(entry) ?? {};
  });
  return combinations ?? [];
}

/** Unlike axes, these are taken as they are: an expression among them would reach the step unevaluated. */
function refuseExpressions(reader: Reader, field: Field): void {
  const { value, path } = field;
  if (typeof value === "string") reader.plain(field, "only axes do");
  else if (isJsonList(value)) {
    for (const [index, item] of value.entries()) refuseExpressions(reader, { value: item, path: [...path, index] });
  } else if (isJsonObject(value)) {
    for (const [key, item] of Object.entries(value)) refuseExpressions(reader, { value: item, path: [...path, key] });
  }
}
