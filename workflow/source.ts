import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from "yaml";
import type { Document, ParsedNode } from "yaml";
import { HodeiError } from "./errors.ts";
import type { Violation } from "./errors.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { formatPath } from "./path.ts";
import type { Path } from "./path.ts";
import { isJsonObject } from "./schema.ts";
import { invalidDefinition } from "./violations.ts";
import type { Locate } from "./violations.ts";

/** A document as plain JSON data, with the way back to the text it was read from. */
export type Source = {
  value: Json;
  locate: Locate;
  /**
   * How a number or boolean is spelt in the text, for fields that want text: `VERSION: 1.10` is "1.10" and not "1.1".
   * Undefined where the text says no more than the value.
   */
  literal: (path: Path) => string | undefined;
};

const RESERVED_KEY = "__proto__";

/** Reads YAML 1.2 text, and so JSON text too. Throws INVALID_DEFINITION (syntax) or TOO_LARGE. */
export function parseSource(text: string, file?: string): Source {
  const bytes = Buffer.byteLength(text);
  if (bytes > LIMITS.definitionBytes) throw tooLarge(bytes);
  const lines = new LineCounter();
  const document = withoutStacks(() => compose(text, lines));
  const reader = new NodeReader(lines, file);
  // The composer recurses, and turns the end of the stack into one error per level.
  const deep = document.errors.findLast((problem) => problem.message.includes("call stack"));
  if (deep !== undefined) reader.report([], deep.pos[0], "it nests too deeply");
  for (const problem of deep === undefined ? [...document.errors, ...document.warnings] : []) {
    reader.report([], problem.pos[0], inOurWords(problem));
  }
  if (document.directives.yaml.version !== "1.2") reader.report([], 0, "only YAML 1.2 is read; remove the directive");
  if (reader.violations.length > 0) throw invalidDefinition(reader.violations);
  const value = document.contents === null ? null : reader.read(document.contents, []);
  if (reader.violations.length > 0) throw invalidDefinition(reader.violations);
  return {
    value,
    locate: (path, anchor) => reader.locate(document.contents, path, anchor),
    literal: (path) => reader.literals.get(formatPath(path)),
  };
}

function compose(text: string, lines: LineCounter): Document.Parsed {
  return parseDocument(text, {
    lineCounter: lines,
    schema: "core",
    resolveKnownTags: false,
    stringKeys: true,
    // The library compares every key with every other one: quadratic. NodeReader checks with a set.
    uniqueKeys: false,
    prettyErrors: false,
    // "silent" would also silence the error for a second document.
    logLevel: "error",
  });
}

/**
 * The library makes an error of every character that it cannot use, and reads on. 250,000 brackets took 2.3 s, of which
 * 1.7 s were stack traces that nobody sees.
 */
function withoutStacks<T>(parse: () => T): T {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return parse();
  } finally {
    Error.stackTraceLimit = before;
  }
}

function inOurWords(problem: { code: string; message: string }): string {
  return problem.code === "MULTIPLE_DOCS" ? "a file holds one document; a second one begins here" : problem.message;
}

function tooLarge(bytes: number | string): HodeiError {
  return new HodeiError("TOO_LARGE", `the definition has ${bytes} bytes, the bound is ${LIMITS.definitionBytes}`, {
    field: "definition",
  });
}

/** Walks the syntax tree once: resolves aliases within a budget, refuses what JSON cannot hold. */
class NodeReader {
  readonly violations: Violation[] = [];
  readonly literals = new Map<string, string>();
  readonly #lines: LineCounter;
  readonly #file: string | undefined;
  /** By name, as of the current point of the walk: YAML lets a later anchor of the same name win. */
  readonly #anchors = new Map<string, ParsedNode>();
  readonly #targets = new Map<ParsedNode, ParsedNode>();
  readonly #open = new Set<ParsedNode>();
  #nodes = 0;
  #characters = 0;
  #overflown = false;

  constructor(lines: LineCounter, file: string | undefined) {
    this.#lines = lines;
    this.#file = file;
  }

  report(path: Path, offset: number, message: string): void {
    if (this.violations.length >= LIMITS.violations) return;
    const { line, col } = this.#lines.linePos(offset);
    const violation: Violation = { path: formatPath(path), message, line: Math.max(1, line), column: Math.max(1, col) };
    if (this.#file !== undefined) violation.file = this.#file;
    this.violations.push(violation);
  }

  read(node: ParsedNode, path: Path): Json {
    this.#nodes += 1;
    if (isScalar(node) && typeof node.value === "string") this.#characters += node.value.length;
    if (this.#overflows(node, path)) return null;
    if (path.length > LIMITS.definitionDepth) {
      this.report(path, node.range[0], `it nests deeper than ${LIMITS.definitionDepth} levels`);
      return null;
    }
    if (isAlias(node)) return this.#readAlias(node, path);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return this.#readScalar(node, path);
    this.#open.add(node);
    const value = isSeq(node)
      ? (node.items as ParsedNode[]).map((item, index) => this.read(item, [...path, index]))
      : this.#readMap(node, path);
    this.#open.delete(node);
    return value;
  }

  /** Text of the published size cannot reach these bounds by itself: aliases that multiply can. */
  #overflows(node: ParsedNode, path: Path): boolean {
    const many = this.#nodes > LIMITS.definitionNodes;
    if (!many && this.#characters <= LIMITS.normalFormBytes) return false;
    const bound = many ? `${LIMITS.definitionNodes} values` : `${LIMITS.normalFormBytes} characters`;
    if (!this.#overflown) this.report(path, node.range[0], `aliases make it larger than ${bound}`);
    this.#overflown = true;
    return true;
  }

  #readAlias(node: ParsedNode & { source: string }, path: Path): Json {
    const target = this.#anchors.get(node.source);
    if (target === undefined || this.#open.has(target)) {
      const why = target === undefined ? "has no anchor before it" : "stands within its own anchor";
      this.report(path, node.range[0], `the alias *${node.source} ${why}`);
      return null;
    }
    this.#targets.set(node, target);
    return this.read(target, path);
  }

  #readScalar(node: ParsedNode & { value: unknown; source?: string }, path: Path): Json {
    const value = node.value;
    if (typeof value === "string" || value === null) return value;
    if (typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))) {
      if (node.source !== undefined && node.source !== String(value)) this.literals.set(formatPath(path), node.source);
      return value === 0 ? 0 : value;
    }
    this.report(path, node.range[0], `${node.source ?? "this"} cannot be written in JSON; quote it if it is text`);
    return null;
  }

  #readMap(node: ParsedNode, path: Path): Json {
    const value: Record<string, Json> = {};
    for (const { key, value: field } of pairsOf(node)) {
      const name = keyOf(key);
      const at = [...path, name ?? ""];
      if (name === undefined || name === RESERVED_KEY) {
        const message = name === undefined ? "a key must be a plain text" : `the key ${RESERVED_KEY} is reserved`;
        this.report(name === undefined ? path : at, key.range[0], message);
      } else if (Object.hasOwn(value, name)) {
        this.report(at, key.range[0], `the key ${JSON.stringify(name)} stands here twice`);
      } else {
        this.#characters += name.length;
        value[name] = field === null ? null : this.read(field, at);
      }
    }
    return value;
  }

  /** The place of the deepest part of `path` that stands in the text. */
  locate(root: ParsedNode | null, path: Path, anchor: "key" | "value"): { line: number; column: number } | undefined {
    if (root === null) return { line: 1, column: 1 };
    let node: ParsedNode = root;
    let offset = node.range[0];
    for (const [depth, part] of path.entries()) {
      const step = childOf(this.#targets.get(node) ?? node, part);
      if (step === undefined) break;
      const last = depth === path.length - 1;
      offset = (last && anchor === "key") || step.node === null ? step.keyOffset : step.node.range[0];
      if (step.node === null) break;
      node = step.node;
    }
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}

function pairsOf(node: ParsedNode): { key: ParsedNode; value: ParsedNode | null }[] {
  return isMap<ParsedNode, ParsedNode | null>(node) ? node.items : [];
}

function keyOf(key: ParsedNode): string | undefined {
  return isScalar(key) && typeof key.value === "string" ? key.value : undefined;
}

function childOf(node: ParsedNode, part: string | number): { node: ParsedNode | null; keyOffset: number } | undefined {
  if (typeof part === "number") {
    const item = isSeq<ParsedNode>(node) ? node.items[part] : undefined;
    return item === undefined ? undefined : { node: item, keyOffset: item.range[0] };
  }
  const pair = pairsOf(node).find(({ key }) => keyOf(key) === part);
  return pair === undefined ? undefined : { node: pair.value, keyOffset: pair.key.range[0] };
}

/** Whether the document itself has something there, and what: the normal form has defaults filled and needs sorted. */
export function written(document: Json, path: Path): Json | undefined {
  let value: Json | undefined = document;
  for (const part of path) {
    value = isJsonObject(value) && typeof part === "string" && Object.hasOwn(value, part) ? value[part] : undefined;
  }
  return value;
}

/**
 * Copies a plain object (what a program built) to JSON data. Properties that are undefined are left out; anything
 * that JSON cannot hold, a cycle and a depth past the bound are violations.
 */
export function plainSource(document: unknown, file?: string): Source {
  const copier = new Copier(file);
  const value = copier.copy(document, []);
  if (copier.violations.length > 0) throw invalidDefinition(copier.violations);
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > LIMITS.definitionBytes) throw tooLarge(bytes);
  return { value, locate: () => undefined, literal: () => undefined };
}

class Copier {
  readonly violations: Violation[] = [];
  readonly #file: string | undefined;
  #nodes = 0;
  #characters = 0;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  copy(value: unknown, path: Path): Json {
    this.#nodes += 1;
    if (this.#nodes > LIMITS.definitionNodes) return this.#refuse(path, `more than ${LIMITS.definitionNodes} values`);
    // A cycle ends here too: it needs no detection of its own.
    if (path.length > LIMITS.definitionDepth) {
      return this.#refuse(path, `it nests deeper than ${LIMITS.definitionDepth} levels, or holds itself`);
    }
    if (typeof value === "string") return this.#counted(value);
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "number" && Number.isFinite(value)) return value === 0 ? 0 : value;
    if (Array.isArray(value) && value.length > LIMITS.definitionNodes) return this.#refuse(path, "a list too long");
    if (Array.isArray(value)) return Array.from(value, (item, index) => this.copy(item, [...path, index]));
    if (!isPlainObject(value)) return this.#refuse(path, `${describe(value)} cannot be written in JSON`);
    const copied: Record<string, Json> = {};
    for (const [key, field] of Object.entries(value)) {
      if (key === RESERVED_KEY) this.#refuse([...path, key], `the key ${RESERVED_KEY} is reserved`);
      else if (field !== undefined) copied[this.#counted(key)] = this.copy(field, [...path, key]);
    }
    return copied;
  }

  /** One text in a hundred thousand places is no memory here, and more than a string can hold when it is written out. */
  #counted(text: string): string {
    this.#characters += text.length;
    if (this.#characters > LIMITS.definitionBytes) throw tooLarge("more");
    return text;
  }

  #refuse(path: Path, message: string): null {
    if (this.violations.length >= LIMITS.violations) return null;
    const file = this.#file === undefined ? {} : { file: this.#file };
    this.violations.push({ path: formatPath(path), message, ...file });
    return null;
  }
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (typeof value === "number" || typeof value === "undefined") return String(value);
  if (typeof value !== "object" || value === null) return `a ${typeof value}`;
  return `a ${value.constructor?.name ?? "value"}`;
}
