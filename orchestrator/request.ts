import type { Json } from "../workflow/json.ts";
import { HodeiError } from "../workflow/errors.ts";
import { inputViolations } from "../workflow/input.ts";
import { LIMITS } from "../workflow/limits.ts";
import type { Priority } from "../workflow/definition.ts";

/** Checks of what comes from outside, at the edge and nowhere else. Every error names the field and what would do. */

/** `/` separates parent, step and iteration in the ids of children, braces choose what is hashed. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._:@+=~-]*$/;
const LABEL_KEY = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE_LENGTH = 256;
const MESSAGE_ID_LENGTH = 128;
/** Sixteen levels of parent/step/iteration, each part within its own bound, with room to spare. */
const KNOWN_ID_LENGTH = 8 * 1024;
/** A name, a version or a range: the longest sensible range has a dozen parts. */
const REFERENCE_LENGTH = 256;

/** An id that a client gives. */
export function checkNewId(id: string): void {
  if (id === "") {
    throw new HodeiError("INVALID_ARGUMENT", "the execution has no id", {
      field: "id",
      hint: "Make one before sending (any unique text), so that repeating the request is safe.",
    });
  }
  if (id.length > LIMITS.idLength) {
    throw new HodeiError("TOO_LARGE", `the id has ${id.length} characters, the bound is ${LIMITS.idLength}`, {
      field: "id",
    });
  }
  const reserved = /[/{}]/.exec(id);
  if (reserved) {
    throw new HodeiError(
      "INVALID_ARGUMENT",
      `the id "${id}" holds "${reserved[0]}", which is reserved for sub-workflows`,
      {
        field: "id",
        hint: "Use letters, digits and . _ : @ + = ~ - instead.",
      },
    );
  }
  if (!ID.test(id)) {
    throw new HodeiError("INVALID_ARGUMENT", `the id ${JSON.stringify(id)} is not allowed`, {
      field: "id",
      hint: "Ids begin with a letter or digit and hold letters, digits and . _ : @ + = ~ - only.",
    });
  }
}

/**
 * An id that names what exists, an execution or a job: a child's may hold slashes and braces. Bounded all the same, so
 * that nothing behind has to walk a megabyte to find that it is unknown.
 */
export function checkKnownId(id: string, field = "id"): void {
  if (id === "") throw new HodeiError("INVALID_ARGUMENT", `the request has no ${field}`, { field });
  checkLength(id, KNOWN_ID_LENGTH, field);
}

export function checkLength(text: string, most: number, field: string): void {
  if (text.length <= most) return;
  throw new HodeiError("TOO_LARGE", `${field} has ${text.length} characters, the bound is ${most}`, { field });
}

export function checkCount(list: readonly unknown[], most: number, field: string): void {
  if (list.length <= most) return;
  throw new HodeiError("TOO_LARGE", `${field} has ${list.length} entries, the bound is ${most}`, { field });
}

/** What names a workflow and picks one of its versions. */
export function checkReference(name: string, range: string, fields: { name: string; range: string }): void {
  if (name === "") throw new HodeiError("INVALID_ARGUMENT", "the request names no workflow", { field: fields.name });
  checkLength(name, REFERENCE_LENGTH, fields.name);
  checkLength(range, REFERENCE_LENGTH, fields.range);
}

/** Empty: `fresh` makes one, and the sender gives up idempotence. */
export function messageId(id: string, fresh: () => string): string {
  if (id.length <= MESSAGE_ID_LENGTH) return id === "" ? fresh() : id;
  const bound = `the bound is ${MESSAGE_ID_LENGTH}`;
  throw new HodeiError("TOO_LARGE", `the message id has ${id.length} characters, ${bound}`, { field: "messageId" });
}

/** JSON text within a bound of bytes and of depth, so that whoever walks it may recurse; empty is `otherwise`. */
export function parseJson(text: string, field: string, maxBytes: number, otherwise: Json): Json {
  if (text === "") return otherwise;
  const bytes = Buffer.byteLength(text);
  if (bytes > maxBytes) {
    throw new HodeiError("TOO_LARGE", `${field} has ${bytes} bytes, the bound is ${maxBytes}`, {
      field,
      hint: "Put large data into a store of your own and send a reference to it.",
    });
  }
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HodeiError("INVALID_ARGUMENT", `${field} is no JSON: ${reason}`, { field, cause: error });
  }
  // A schema that asks for nothing: only the depth is left to find fault with.
  const [deep] = inputViolations({}, value);
  if (deep) throw new HodeiError("INVALID_ARGUMENT", `${field} ${deep.message}`, { field });
  return value;
}

export function checkLabels(labels: Record<string, string>): void {
  const names = Object.keys(labels);
  if (names.length > LIMITS.labels) {
    throw new HodeiError("TOO_LARGE", `${names.length} labels, the bound is ${LIMITS.labels}`, { field: "labels" });
  }
  for (const name of names) {
    const value = labels[name] ?? "";
    if (!LABEL_KEY.test(name)) {
      throw new HodeiError("INVALID_ARGUMENT", `the label name ${JSON.stringify(name)} is not allowed`, {
        field: `labels.${name}`,
        hint: "At most 63 letters, digits and . _ / -, beginning and ending with a letter or digit.",
      });
    }
    if (typeof value !== "string" || value.length > LABEL_VALUE_LENGTH) {
      throw new HodeiError("TOO_LARGE", `the label ${name} is longer than ${LABEL_VALUE_LENGTH} characters`, {
        field: `labels.${name}`,
      });
    }
  }
}

export function checkPriority(priority: Priority | undefined): void {
  if (priority === undefined || ["low", "normal", "high"].includes(priority)) return;
  throw new HodeiError("INVALID_ARGUMENT", `there is no priority "${String(priority)}"`, {
    field: "priority",
    hint: "It is low, normal or high.",
  });
}

/** A page size: absent (0) is `usual`, more than `most` is cut to it. */
export function pageSize(limit: number, usual: number, most: number, field = "limit"): number {
  if (!Number.isInteger(limit) || limit < 0) {
    throw new HodeiError("INVALID_ARGUMENT", `${field} must be a whole number from 0, not ${limit}`, { field });
  }
  return limit === 0 ? usual : Math.min(limit, most);
}
