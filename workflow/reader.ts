import { parseDuration } from "./duration.ts";
import { isHodeiError } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import type { Path } from "./path.ts";
import { isJsonList, isJsonObject } from "./schema.ts";
import type { Source } from "./source.ts";
import { suggestion } from "./suggest.ts";
import type { Anchor, Violations } from "./violations.ts";

/** One value of a document and where it stands. */
export type Field = { value: Json; path: Path };

/** The fields of one object of a document; `get` answers undefined where the key is absent. */
export type Fields = { path: Path; keys: string[]; get: (key: string) => Field | undefined };

const EMPTY: Fields = { path: [], keys: [], get: () => undefined };

/** Step ids and the names beside them. */
export const NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
export const WORKFLOW_NAME = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

/**
 * Reads typed values out of a document. A wrong one is recorded and answered with undefined (or an empty value), so
 * that reading goes on and all violations come at once; what was read is only used when there are none.
 * zod was rejected here: its issues for a union of five step kinds name all five branches, and it cannot suggest.
 */
export class Reader {
  readonly violations: Violations;
  readonly #literal: Source["literal"];

  constructor(violations: Violations, literal: Source["literal"]) {
    this.violations = violations;
    this.#literal = literal;
  }

  refuse(field: { path: Path }, message: string, anchor: Anchor = "value"): undefined {
    this.violations.add(field.path, message, anchor);
  }

  /** An object whose keys are among `known`; others are violations that suggest the nearest known one. */
  fields(field: Field | undefined, known: readonly string[]): Fields {
    const read = this.record(field);
    for (const key of read.keys) {
      if (known.includes(key)) continue;
      const near = this.violations.full ? "" : suggestion(key, known) || `; known are ${known.join(", ")}`;
      this.refuse({ path: [...read.path, key] }, `"${key}" is not known here${near}`, "key");
    }
    return read;
  }

  /** An object with keys of the writer's own choice. */
  record(field: Field | undefined): Fields {
    if (field === undefined) return EMPTY;
    const { value, path } = field;
    if (!isJsonObject(value)) {
      this.#refuseType(field, "an object");
      return { ...EMPTY, path };
    }
    const get = (key: string): Field | undefined => {
      const found = Object.hasOwn(value, key) ? value[key] : undefined;
      return found === undefined ? undefined : { value: found, path: [...path, key] };
    };
    return { path, keys: Object.keys(value), get };
  }

  object(field: Field | undefined): JsonObject | undefined {
    if (field === undefined) return undefined;
    return isJsonObject(field.value) ? field.value : this.#refuseType(field, "an object");
  }

  list(field: Field | undefined, bound: number = LIMITS.iterations): Field[] | undefined {
    if (field === undefined) return undefined;
    if (!isJsonList(field.value)) return this.#refuseType(field, "a list");
    if (field.value.length > bound) return this.refuse(field, `must hold at most ${bound} entries`);
    return field.value.map((value, index) => ({ value, path: [...field.path, index] }));
  }

  string(field: Field | undefined, bound: number = LIMITS.scriptBytes): string | undefined {
    if (field === undefined) return undefined;
    if (typeof field.value !== "string") return this.#refuseType(field, "a text");
    if (Buffer.byteLength(field.value) > bound) return this.refuse(field, `must hold at most ${bound} bytes`);
    return field.value;
  }

  /** A text without expressions, where a person may expect one to work; `instead` says what does. */
  plain(field: Field | undefined, instead: string, bound?: number): string | undefined {
    const text = this.string(field, bound);
    if (field === undefined || text === undefined || !text.includes("${{")) return text;
    return this.refuse(field, `holds no expressions; ${instead}`);
  }

  /** A text; a number or boolean is taken as it is spelt, so `PORT: 8080` and `VERSION: 1.10` mean what they look like. */
  text(field: Field | undefined, bound?: number): string | undefined {
    if (field === undefined) return undefined;
    if (typeof field.value !== "number" && typeof field.value !== "boolean") return this.string(field, bound);
    const spelt = this.#literal(field.path) ?? String(field.value);
    // Only a plain object gets here: in text, such a number has its spelling.
    return spelt.includes("e+") ? this.refuse(field, "is too large a number to stand for a text; quote it") : spelt;
  }

  name(field: Field | undefined, what: string): string | undefined {
    const text = this.string(field, LIMITS.idLength);
    if (field === undefined || text === undefined || NAME.test(text)) return text;
    return this.refuse(field, `${JSON.stringify(text)} is no ${what}: letters, digits, _ and -, a letter first`);
  }

  boolean(field: Field | undefined): boolean | undefined {
    if (field === undefined || typeof field.value === "boolean") return field?.value as boolean | undefined;
    return this.#refuseType(field, "true or false");
  }

  number(field: Field | undefined, least: number, most: number, whole = true): number | undefined {
    if (field === undefined) return undefined;
    const value = field.value;
    const kind = whole ? "a whole number" : "a number";
    if (typeof value !== "number") return this.#refuseType(field, kind);
    if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
    return this.refuse(field, `must be ${kind} from ${least} to ${most}, is ${value}`);
  }

  choice<T extends string>(field: Field | undefined, choices: readonly T[]): T | undefined {
    if (field === undefined) return undefined;
    const found = choices.find((choice) => choice === field.value);
    if (found !== undefined) return found;
    const near = typeof field.value === "string" && !this.violations.full ? suggestion(field.value, choices) : "";
    return this.refuse(field, `must be ${choices.join(" or ")}, is ${JSON.stringify(field.value)}${near}`);
  }

  /** A duration in ms, above zero unless `zero`. */
  duration(field: Field | undefined, zero = false): number | undefined {
    if (field === undefined) return undefined;
    const { value } = field;
    if (typeof value !== "string" && typeof value !== "number") {
      return this.#refuseType(field, "a duration (90s, 1h30m, a number of seconds)");
    }
    const ms = this.attempt(field, () => parseDuration(value));
    return ms === 0 && !zero ? this.refuse(field, "must be longer than 0") : ms;
  }

  /** What `parse` gives, or its INVALID_ARGUMENT or INVALID_EXPRESSION as a violation here. */
  attempt<T>(field: { path: Path }, parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!isHodeiError(error, "INVALID_ARGUMENT", "INVALID_EXPRESSION")) throw error;
      // Further lines draw an arrow under the text, which has no place in a list.
      const message = error.message.split("\n", 1)[0] ?? "";
      return this.refuse(field, error.hint === undefined ? message : `${message}; ${error.hint}`);
    }
  }

  /** Environment variables: names fit for a shell, values texts (which may hold expressions). */
  env(field: Field | undefined): Record<string, string> {
    return this.#texts(field, LIMITS.envEntries, (name) =>
      VARIABLE.test(name) ? undefined : "letters, digits and _, no digit first",
    );
  }

  labels(field: Field | undefined): Record<string, string> {
    return this.#texts(field, LIMITS.labels, (name) =>
      /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/.test(name) ? undefined : "letters, digits and . _ - /",
    );
  }

  #texts(field: Field | undefined, bound: number, wrong: (name: string) => string | undefined): Record<string, string> {
    const read = this.record(field);
    if (read.keys.length > bound) this.refuse(read, `must hold at most ${bound} entries`);
    const texts: Record<string, string> = {};
    for (const name of read.keys) {
      const value = this.text(read.get(name));
      const rule = wrong(name);
      if (rule !== undefined) {
        this.refuse({ path: [...read.path, name] }, `${JSON.stringify(name)} is no name here: ${rule}`, "key");
      }
      if (value !== undefined) texts[name] = value;
    }
    return texts;
  }

  #refuseType(field: Field, wanted: string): undefined {
    const { value } = field;
    const found =
      value === null ? "nothing" : isJsonList(value) ? "a list" : isJsonObject(value) ? "an object" : undefined;
    this.refuse(field, `must be ${wanted}, is ${found ?? JSON.stringify(value).slice(0, 60)}`);
  }
}
