import { HodeiError } from "./errors.ts";
import type { Violation } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { formatPath } from "./path.ts";
import type { Path } from "./path.ts";

/** Where a violation stands in the text: its key (an unknown field) or its value (a bad one). */
export type Anchor = "key" | "value";

/** Gives line and column of a path in the text a document came from; undefined for plain objects. */
export type Locate = (path: Path, anchor: Anchor) => { line: number; column: number } | undefined;

/** Collects what is wrong, all of it up to the published bound, so that one run shows a person every error. */
export class Violations {
  readonly #found: Violation[] = [];
  readonly #seen = new Set<string>();
  readonly #locate: Locate;
  readonly #file: string | undefined;
  #unlisted = 0;

  constructor(locate: Locate, file: string | undefined) {
    this.#locate = locate;
    this.#file = file;
  }

  get empty(): boolean {
    return this.#found.length === 0;
  }

  /** No more are listed, only counted: looking for words for them is in vain. */
  get full(): boolean {
    return this.#found.length >= LIMITS.violations;
  }

  /** The same message at the same path is kept once: a bad spec-level default would else be told once per step. */
  add(path: Path, message: string, anchor: Anchor = "value"): void {
    const text = formatPath(path);
    const key = `${text}\n${message}`;
    if (this.#seen.has(key)) return;
    if (this.full) {
      this.#unlisted += 1;
      return;
    }
    this.#seen.add(key);
    const violation: Violation = { path: text, message };
    if (this.#file !== undefined) violation.file = this.#file;
    this.#found.push({ ...violation, ...this.#locate(path, anchor) });
  }

  /** Throws INVALID_DEFINITION with all violations, in the order of the text where that is known. */
  throwIfAny(): void {
    if (!this.empty) throw invalidDefinition(this.#found.toSorted(byPosition), this.#unlisted);
  }
}

export function invalidDefinition(violations: Violation[], unlisted = 0, cause?: unknown): HodeiError {
  const [first, ...others] = violations;
  const more = others.length + unlisted;
  const message = `the definition does not hold: ${first === undefined ? "it is empty" : formatViolation(first)}`;
  return new HodeiError("INVALID_DEFINITION", more === 0 ? message : `${message} (and ${more} more)`, {
    // Of the document as a whole there is no path to name.
    field: first?.path || undefined,
    violations,
    cause,
  });
}

/** One line for people and editors: `ci.yaml:12:9: spec.steps.build.needs[0]: unknown step "biuld"`. */
export function formatViolation({ file, line, column, path, message }: Violation): string {
  const place = file === undefined && line === undefined ? "" : `${file ?? "line"}:${line ?? 1}:${column ?? 1}: `;
  return `${place}${path === "" ? "" : `${path}: `}${message}`;
}

function byPosition(a: Violation, b: Violation): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}
