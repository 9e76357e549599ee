import { hash } from "node:crypto";
import { HodeiError } from "./errors.ts";
import type { Json } from "./json.ts";

/** Far above LIMITS.valueDepth and LIMITS.definitionDepth, far below what the stack takes. */
const MAX_DEPTH = 512;

/**
 * JSON text with the keys of every object sorted (by UTF-16 code unit), so that equal data gives equal text.
 * Throws TOO_LARGE past 512 levels: a request is digested before anything else has looked at its depth.
 */
export function canonicalJson(value: Json, depth = 0): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (depth > MAX_DEPTH) throw new HodeiError("TOO_LARGE", `the value nests deeper than ${MAX_DEPTH} levels`);
  if (isList(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(",")}]`;
  const fields: string[] = [];
  for (const key of Object.keys(value).toSorted()) {
    const field = value[key];
    if (field !== undefined) fields.push(`${JSON.stringify(key)}:${canonicalJson(field, depth + 1)}`);
  }
  return `{${fields.join(",")}}`;
}

/** "sha256:" and 64 hex digits, over the canonical JSON. */
export function sha256Of(value: Json): string {
  return `sha256:${hash("sha256", canonicalJson(value), "hex")}`;
}

/** `Array.isArray` does not narrow a readonly array away from an object. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
