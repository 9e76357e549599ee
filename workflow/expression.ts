import type { ASTNode } from "@marcbachmann/cel-js";
import { check, parse, type Names, type Problem } from "./checking.ts";
import type { Template } from "./definition.ts";
import { HodeiError, isHodeiError, type Violation } from "./errors.ts";
import { type Budget, Exhausted, Failure, freshBudget, run } from "./evaluator.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { formatPath, type Path } from "./path.ts";
import { piecesOf, wholeExpression } from "./template.ts";
import { toJson, ValueError } from "./value.ts";

/** What an expression sees. A name that is not there is an error, never an empty value. */
export type Scope = {
  input: Json;
  /** By id: {state, outputs, iterations}. */
  steps: Readonly<Record<string, unknown>>;
  execution: Readonly<Record<string, unknown>>;
  matrix?: Readonly<Record<string, Json>>;
  item?: Json;
  index?: number;
};

export type { Names };

export type CheckOptions = {
  /** Where the expression stands, for the violations. */
  path?: string;
  /** What the result must be able to be: `when` wants a bool, `forEach` a list. */
  expects?: "bool" | "list";
};

/**
 * Computes a CEL expression (without `${{ }}`). Integers of JSON are CEL ints and come back as numbers.
 * Throws INVALID_EXPRESSION naming the expression, the column and what was missing or wrong; also when it needs more
 * than LIMITS.expressionSteps steps or gives more than LIMITS.expressionResultBytes.
 */
export function evaluate(expression: string, scope: Scope): Json {
  return compute(expression, scope, freshBudget());
}

/**
 * Replaces the expressions in every string within. A string that is one whole `${{ }}` becomes what it gives, in any
 * other they become text: strings as they are, everything else as JSON. Keys are not looked at. The bounds hold for all
 * expressions of the template together, else their number would be a way around them.
 */
export function render(template: Template, scope: Scope): Json {
  return renderWithin(template, scope, freshBudget(), 0);
}

function renderWithin(template: Template, scope: Scope, budget: Budget, depth: number): Json {
  if (typeof template === "string") return renderText(template, scope, budget);
  if (template === null || typeof template !== "object") return template;
  if (depth > LIMITS.expressionDepth) {
    throw new HodeiError("INVALID_EXPRESSION", `the template nests deeper than ${LIMITS.expressionDepth}`);
  }
  if (isList(template)) return template.map((element) => renderWithin(element, scope, budget, depth + 1));
  return Object.fromEntries(
    Object.entries(template).map(([key, value]) => [key, renderWithin(value, scope, budget, depth + 1)]),
  );
}

function renderText(template: string, scope: Scope, budget: Budget): Json {
  if (!template.includes("${{")) return template;
  const whole = wholeExpression(template);
  if (whole !== undefined) return compute(whole, scope, budget);
  const parts = piecesOf(template).map((piece) => {
    if (piece.kind === "text") return piece.text;
    const value = compute(piece.expression, scope, budget);
    return typeof value === "string" ? value : JSON.stringify(value);
  });
  return parts.join("");
}

/** For parsing it: 3 µs at the least, whether it is cached or not, since the same template must always cost the same. */
const EXPRESSION_STEPS = 20;

function compute(expression: string, scope: Scope, budget: Budget): Json {
  budget.steps -= EXPRESSION_STEPS + expression.length;
  if (budget.steps < 0) throw invalid(expression, { message: new Exhausted().message, at: 0 });
  const root = compiled(expression);
  try {
    return toJson(run(expression, root, scope, budget), budget);
  } catch (error) {
    // The evaluator's own errors hold the tree and the whole scope: their words go on, they do not.
    if (error instanceof Failure) throw invalid(expression, { message: error.describe(), at: error.node.pos });
    if (error instanceof Exhausted || error instanceof ValueError) {
      throw invalid(expression, { message: error.message, at: 0 });
    }
    // The engine's stack, for an expression that is all one long chain.
    if (error instanceof RangeError) throw invalid(expression, { message: error.message, at: 0 }, error);
    throw error;
  }
}

function invalid(expression: string, { message, at }: Problem, cause?: unknown): HodeiError {
  const shown = expression.length > MAX_SHOWN ? `${expression.slice(0, MAX_SHOWN)}…` : expression;
  return new HodeiError("INVALID_EXPRESSION", `expression \`${shown}\`, column ${at + 1}: ${message}`, {
    facts: { expression: shown, column: String(at + 1) },
    ...(cause === undefined ? {} : { cause }),
  });
}

const MAX_SHOWN = 200;

/**
 * Parsed expressions, oldest use first. Bounded by their text, since a tree is a fixed multiple of it: 200,000 characters
 * are some thousand ordinary expressions and at most a few dozen MiB.
 */
const cache = new Map<string, ASTNode>();
let cachedCharacters = 0;
const CACHE_CHARACTERS = 200_000;
/** What an entry costs apart from its text. */
const ENTRY_CHARACTERS = 50;

function compiled(expression: string): ASTNode {
  const known = cache.get(expression);
  if (known !== undefined) {
    cache.delete(expression);
    cache.set(expression, known);
    return known;
  }
  const result = parse(expression);
  // Failures are not kept: they end an execution, and are met once.
  if ("problem" in result) throw invalid(expression, result.problem);
  cache.set(expression, result.root);
  cachedCharacters += expression.length + ENTRY_CHARACTERS;
  for (const oldest of cache.keys()) {
    if (cachedCharacters <= CACHE_CHARACTERS) break;
    cache.delete(oldest);
    cachedCharacters -= oldest.length + ENTRY_CHARACTERS;
  }
  return result.root;
}

/** What can be known to be wrong with an expression before it runs; empty when nothing. Never throws for bad text. */
export function checkExpression(expression: string, names: Names, options: CheckOptions = {}): Violation[] {
  const path = options.path ?? "";
  const parsed = parse(expression);
  if ("problem" in parsed) return [violation(path, parsed.problem)];
  const { problems, type } = check(expression, parsed.root, names);
  if (problems.length > 0) return problems.map((problem) => violation(path, problem));
  const given = type.replace(/<.*/, "");
  const { expects } = options;
  if (expects === undefined || given === "dyn" || given === expects) return [];
  return [{ path, message: `must give a ${expects}, this gives ${/^[aeiou]/.test(given) ? "an" : "a"} ${given}` }];
}

/**
 * The same for every expression in every string within. `expects` applies when the template itself is one whole
 * expression.
 */
export function checkTemplate(template: Template, names: Names, options: CheckOptions = {}): Violation[] {
  return checkWithin(template, names, options, []);
}

function checkWithin(template: Template, names: Names, options: CheckOptions, at: Path): Violation[] {
  if (template === null || (typeof template !== "object" && typeof template !== "string")) return [];
  const inner = formatPath(at);
  const path = `${options.path ?? ""}${options.path === undefined || inner === "" || inner.startsWith("[") ? "" : "."}${inner}`;
  if (typeof template === "string") return checkText(template, names, { ...options, path });
  if (at.length > LIMITS.expressionDepth) return [{ path, message: `nests deeper than ${LIMITS.expressionDepth}` }];
  const members = isList(template) ? template.entries() : Object.entries(template);
  const expectsNothing = { path: options.path };
  return [...members].flatMap(([key, value]) => checkWithin(value, names, expectsNothing, [...at, key]));
}

function checkText(template: string, names: Names, options: CheckOptions): Violation[] {
  if (!template.includes("${{")) return [];
  try {
    const whole = wholeExpression(template);
    if (whole !== undefined) return checkExpression(whole, names, options);
    return piecesOf(template).flatMap((piece) =>
      piece.kind === "text" ? [] : checkExpression(piece.expression, names, { path: options.path }),
    );
  } catch (error) {
    if (isHodeiError(error, "INVALID_EXPRESSION")) return [{ path: options.path ?? "", message: error.message }];
    throw error;
  }
}

function violation(path: string, { message, at }: Problem): Violation {
  return { path, message: `column ${at + 1}: ${message}` };
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
