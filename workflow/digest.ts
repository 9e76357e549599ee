import { createHash } from "node:crypto";
import type { Json } from "./json.ts";

/** JSON text with the keys of every object sorted (by UTF-16 code unit), so that equal data gives equal text. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const fields: string[] = [];
  for (const key of Object.keys(value).toSorted()) {
    const field = value[key];
    if (field !== undefined) fields.push(`${JSON.stringify(key)}:${canonicalJson(field)}`);
  }
  return `{${fields.join(",")}}`;
}

/** "sha256:" and 64 hex digits, over the canonical JSON. */
export function sha256Of(value: Json): string {
  return `sha256:${createHash("sha256").update(canonicalJson(value)).digest("hex")}`;
}

/** `Array.isArray` does not narrow a readonly array away from an object. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
