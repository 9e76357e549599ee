import type { Definition, Step } from "./definition.ts";
import { sha256Of } from "./digest.ts";
import { HodeiError } from "./errors.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { readDefinition } from "./read-definition.ts";
import { Reader } from "./reader.ts";
import { parseSource, plainSource } from "./source.ts";
import type { Source } from "./source.ts";
import { validateDefinition } from "./validate.ts";
import { Violations } from "./violations.ts";

/**
 * The definition that YAML or JSON text gives. Throws INVALID_DEFINITION with every violation (up to LIMITS.violations),
 * each with path, line, column and `file`; TOO_LARGE when the text or what it comes to is past its bound.
 */
export function loadDefinition(source: string, options: { file?: string } = {}): Definition {
  return read(parseSource(source, options.file), options.file);
}

/** The same from a plain object, as the TypeScript builder makes it; violations have a path and no line. */
export function definitionOf(document: unknown, options: { file?: string } = {}): Definition {
  return read(plainSource(document, options.file), options.file);
}

function read(source: Source, file: string | undefined): Definition {
  const violations = new Violations(source.locate, file);
  if (source.value === null) violations.add([], "the document is empty");
  violations.throwIfAny();
  const definition = readDefinition(new Reader(violations, source.literal), source.value);
  checkSize(definition);
  // Only on what was read whole: of a half-read step this would tell what is not so.
  if (violations.empty) validateDefinition(definition, source.value, violations);
  violations.throwIfAny();
  return definition;
}

/** Step by step, so that a large `spec.env` copied into a thousand steps is refused before it is one text. */
function checkSize(definition: Definition): void {
  let bytes = 0;
  for (const step of [...Object.values(definition.steps), ...Object.values(definition.finally)]) {
    bytes += Buffer.byteLength(JSON.stringify(step));
    if (bytes <= LIMITS.normalFormBytes) continue;
    throw new HodeiError(
      "TOO_LARGE",
      `with the defaults filled into every step the definition has more than ${LIMITS.normalFormBytes} bytes`,
      { field: "spec.steps", hint: "move large values out of spec.env" },
    );
  }
}

/**
 * The definition as JSON text: what is stored and copied. Steps and axes stand in the order they were written, since
 * people read them so; that order is no part of the digest.
 */
export function normalForm(definition: Definition): string {
  return JSON.stringify(definition);
}

/** "sha256:…" over the canonical JSON of the normal form. */
export function digestOf(definition: Definition): string {
  return sha256Of(JSON.parse(normalForm(definition)) as Json);
}

const KINDS: readonly string[] = ["run", "task", "workflow", "wait", "sleep"] satisfies Step["kind"][];

/**
 * Reads back what `normalForm` wrote. The rules of loading are not applied again: a published definition stays what it
 * was, also when a later Hodei would refuse to publish it. Throws DATA_CORRUPT when it is no normal form.
 */
export function parseNormalForm(text: string): Definition {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HodeiError("DATA_CORRUPT", "a stored definition is not JSON", { cause: error });
  }
  if (isDefinition(value)) return value;
  throw new HodeiError("DATA_CORRUPT", "a stored definition is not in a normal form that this version reads");
}

function isDefinition(value: unknown): value is Definition {
  if (!isRecord(value) || typeof value["name"] !== "string" || typeof value["version"] !== "string") return false;
  if (!isRecord(value["labels"]) || !isRecord(value["output"])) return false;
  return [value["steps"], value["finally"]].every(
    (steps) =>
      isRecord(steps) &&
      Object.entries(steps).every(
        ([id, step]) =>
          isRecord(step) &&
          step["id"] === id &&
          typeof step["kind"] === "string" &&
          KINDS.includes(step["kind"]) &&
          Array.isArray(step["needs"]) &&
          isRecord(step["timeout"]) &&
          isRecord(step["retry"]),
      ),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
