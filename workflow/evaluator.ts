import type { ASTNode } from "@marcbachmann/cel-js";
import { built, FUNCTIONS, MACROS, METHODS } from "./functions.ts";
import { LIMITS } from "./limits.ts";
import type { Pattern } from "./pattern.ts";
import { suggestion } from "./suggest.ts";
import {
  compare,
  definedKeys,
  Double,
  equal,
  int,
  isList,
  isMap,
  kindOf,
  lift,
  member,
  ValueError,
  type Value,
  type ValueMap,
} from "./value.ts";

/**
 * Runs a parsed expression. The library parses and type-checks; running is ours because that is where the bound must
 * be. Its own evaluator has no cost budget (a nested `map` over 2,000 elements ran 4 M steps in 0.5 s, and a deeper one
 * for ever), backtracks in `matches`, and keeps a type for every shape of data it has seen. Bounding the syntax instead
 * (nesting of macros times list sizes) was rejected: sizes are only known while running, `[s, s].map(...)` builds them,
 * and `==`, `in` and `+` cost what their operands weigh. So every node costs a step, every function pays for what it
 * reads before it reads it, and no error handler of the language can catch the end of the budget.
 */
export type Evaluation = {
  source: string;
  scope: Readonly<Record<string, unknown>>;
  locals: Local | undefined;
  /** Shared by the expressions of one template. */
  budget: Budget;
  patterns: Map<string, Pattern>;
  spend: (steps: number) => void;
  /** The first one that `||`, `&&` or a quantifier went on from. */
  absorbed: Failure | undefined;
};

export type Budget = { steps: number; bytes: number };
type Local = { name: string; value: Value; next: Local | undefined };

/**
 * An error within the expression, at `node`. `||`, `&&`, `all` and `exists` may absorb it, as CEL has it; so its words,
 * which look for near names, are only made when it gets out.
 */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly describe: () => string;
  readonly node: ASTNode;

  constructor(describe: string | (() => string), node: ASTNode, options?: ErrorOptions) {
    super("", options);
    this.describe = typeof describe === "string" ? () => describe : describe;
    this.node = node;
  }
}

/** The budget is spent. Nothing absorbs it. */
export class Exhausted extends Error {
  override readonly name = "Exhausted";

  constructor() {
    super(`needs more than ${LIMITS.expressionSteps} steps`);
  }
}

/** Looking for a near name is for people; a map with more keys is data. */
const MAX_SUGGESTED_FROM = 1000;
/** An error object with its stack costs as much as this many steps; a loop over failures must pay for them. */
const FAILURE_STEPS = 50;

/**
 * A step takes 100 ns once V8 has compiled all this, and up to 250 in a process that has just begun, whose 200,000 must end
 * within 50 ms too. A call takes 1.5 µs there, a map 1 µs, and one whose keys are computed 3 µs more for each: every new name
 * is a new shape of objects to V8.
 */
const CALL_STEPS = 5;
const MAP_STEPS = 4;
const ENTRY_STEPS = 1;
const COMPUTED_KEY_STEPS = 16;
/** Of a map that is gone through: each is looked up once to know that it holds something. */
const KEY_STEPS = 2;
/** Doubles are objects, and pass two more calls than ints. */
const DOUBLES_STEPS = 2;

export function freshBudget(): Budget {
  return { steps: LIMITS.expressionSteps, bytes: LIMITS.expressionResultBytes };
}

/** Throws Failure or Exhausted. */
export function run(source: string, root: ASTNode, scope: Readonly<Record<string, unknown>>, budget: Budget): Value {
  const spend = (steps: number): void => {
    budget.steps -= steps;
    if (budget.steps < 0) throw new Exhausted();
  };
  const state: Evaluation = {
    source,
    scope,
    locals: undefined,
    budget,
    patterns: new Map(),
    spend,
    absorbed: undefined,
  };
  try {
    return visit(root, state);
  } catch (error) {
    // Ten thousand failures cost more than the budget, and each of them is the mistake that the writer looks for.
    const cause = error instanceof Exhausted ? state.absorbed : undefined;
    if (cause === undefined) throw error;
    throw new Failure(() => `${cause.describe()} (and the whole needs too many steps)`, cause.node, { cause: error });
  }
}

function visit(node: ASTNode, state: Evaluation): Value {
  state.spend(1);
  switch (node.op) {
    case "value":
      return literal(node, node.args);
    case "id":
      return variable(node, node.args, state);
    case ".":
      return select(node, node.args[0], node.args[1], state);
    case "[]":
      return select(node, node.args[0], visit(node.args[1], state), state);
    case "list":
      return node.args.map((element) => visit(element, state));
    case "map":
      state.spend(MAP_STEPS);
      return Object.fromEntries(node.args.map(([key, value]) => [mapKey(key, state), visit(value, state)]));
    case "?:":
      return visit(node.args[condition(node.args[0], state) ? 1 : 2], state);
    case "||":
    case "&&":
      return logical(node.args, node.op === "||", state);
    case "!_":
      return !condition(node.args, state);
    case "-_":
      return negate(node, visit(node.args, state));
    case "call":
      return call(node, node.args[0], node.args[1], state);
    case "rcall":
      return MACROS.has(node.args[0])
        ? comprehension(node, node.args[0], node.args[1], node.args[2], state)
        : method(node, node.args[0], [node.args[1], ...node.args[2]], state);
    case ".?":
    case "[?]":
      throw new Failure("optional selection is not part of the language", node);
    default:
      return binary(node, visit(node.args[0], state), visit(node.args[1], state), state);
  }
}

function literal(node: ASTNode, value: unknown): Value {
  if (typeof value === "number") return new Double(value);
  if (value === null || typeof value === "string" || typeof value === "boolean" || typeof value === "bigint")
    return value;
  throw new Failure("bytes and unsigned integers are not part of the language", node);
}

function variable(node: ASTNode, name: string, state: Evaluation): Value {
  for (let local = state.locals; local !== undefined; local = local.next) if (local.name === name) return local.value;
  const value = member(state.scope, name);
  if (value === undefined) throw new Failure(`${name} is not known here`, node);
  return lift(value);
}

function select(node: ASTNode, from: ASTNode, key: Value, state: Evaluation): Value {
  const holder = visit(from, state);
  const name = (): string => sourceOf(from, state);
  if (isMap(holder)) {
    const text = typeof key === "bigint" || typeof key === "boolean" ? String(key) : key;
    if (typeof text !== "string") throw new Failure(() => `${name()} has no field for ${kindOf(key)}`, node);
    const value = member(holder, text);
    if (value !== undefined) return lift(value);
    throw new Failure(() => missing(name(), text, holder, state), node);
  }
  if (isList(holder)) {
    const index = key instanceof Double ? key.value : Number(key);
    if ((typeof key !== "bigint" && !(key instanceof Double)) || !Number.isInteger(index)) {
      throw new Failure(() => `${name()} is a list, its index must be an int, not ${shownKey(key)}`, node);
    }
    if (index >= 0 && index < holder.length) return lift(holder[index]);
    throw new Failure(() => `${name()} has ${holder.length} elements, none at ${index}`, node);
  }
  throw new Failure(() => `${name()} is ${kindOf(holder)}, it has no field ${shownKey(key)}`, node);
}

function missing(name: string, key: string, holder: ValueMap, state: Evaluation): string {
  const keys = definedKeys(holder);
  const hint = suggestion(key, keys.slice(0, MAX_SUGGESTED_FROM));
  const known = hint !== "" || keys.length === 0 || keys.length > 10 ? "" : ` (it has ${keys.join(", ")})`;
  // What a skipped or failed step would have given is what most often is not there.
  const step = /^steps(?:\.(\w+)|\["([^"\\]+)"\])\.outputs$/.exec(name);
  const record = step === null ? undefined : member(lift(state.scope["steps"]) as ValueMap, step[1] ?? step[2] ?? "");
  const stepState = record === undefined ? null : (lift(record) as ValueMap)["state"];
  const why = typeof stepState === "string" && stepState !== "succeeded" ? ` (the step is ${stepState})` : "";
  return `${name} has no ${JSON.stringify(key)}${hint}${known}${why}`;
}

function shownKey(key: Value): string {
  return typeof key === "string" ? JSON.stringify(key) : kindOf(key);
}

function sourceOf(node: ASTNode, state: Evaluation): string {
  const text = state.source.slice(node.start, node.end);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function mapKey(node: ASTNode, state: Evaluation): string {
  state.spend(node.op === "value" ? ENTRY_STEPS : COMPUTED_KEY_STEPS);
  const key = visit(node, state);
  if (typeof key === "string") return key;
  if (typeof key === "bigint" || typeof key === "boolean") return String(key);
  throw new Failure(`a map key must be a string, not ${kindOf(key)}`, node);
}

function condition(node: ASTNode, state: Evaluation): boolean {
  const value = visit(node, state);
  if (typeof value === "boolean") return value;
  throw new Failure(() => `${sourceOf(node, state)} must be a bool here, it is ${kindOf(value)}`, node);
}

/** Either side may decide alone, even when the other fails: `has(x.y) && x.y > 1` in both orders. */
function logical(sides: readonly [ASTNode, ASTNode], decisive: boolean, state: Evaluation): boolean {
  const left = attempt(sides[0], state);
  if (left === decisive) return decisive;
  const right = attempt(sides[1], state);
  if (right === decisive) return decisive;
  if (left instanceof Failure) throw left;
  if (right instanceof Failure) throw right;
  return !decisive;
}

function attempt(node: ASTNode, state: Evaluation): boolean | Failure {
  const { locals } = state;
  try {
    return condition(node, state);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    state.locals = locals;
    state.absorbed ??= error;
    state.spend(FAILURE_STEPS);
    return error;
  }
}

function call(node: ASTNode, name: string, args: readonly ASTNode[], state: Evaluation): Value {
  if (name === "has") return has(node, args, state);
  const apply = FUNCTIONS.get(name);
  if (apply === undefined) throw new Failure(`there is no function ${name}`, node);
  state.spend(CALL_STEPS);
  const values = args.map((arg) => visit(arg, state));
  return located(node, `${name}()`, () => apply(values, state));
}

function method(node: ASTNode, name: string, args: readonly ASTNode[], state: Evaluation): Value {
  const apply = METHODS.get(name);
  if (apply === undefined) throw new Failure(`there is no function ${name}`, node);
  state.spend(CALL_STEPS);
  const values = args.map((arg) => visit(arg, state));
  return located(node, `${name}()`, () => apply(values, state));
}

function has(node: ASTNode, args: readonly ASTNode[], state: Evaluation): boolean {
  const [selection] = args;
  if (selection?.op !== ".") throw new Failure("has() takes a selection such as input.name", node);
  const holder = visit(selection.args[0], state);
  return isMap(holder) && member(holder, selection.args[1]) !== undefined;
}

/** Values know what is wrong, not where. */
function located<T>(node: ASTNode, what: string, compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    if (error instanceof ValueError) throw new Failure(`${what} ${error.message}`, node, { cause: error });
    throw error;
  }
}

function comprehension(
  node: ASTNode,
  name: string,
  receiver: ASTNode,
  args: readonly ASTNode[],
  state: Evaluation,
): Value {
  const [variableNode, first, second] = args;
  if (variableNode?.op !== "id" || first === undefined) throw new Failure(`${name}() takes a name and a body`, node);
  const range = visit(receiver, state);
  if (!isList(range) && !isMap(range)) {
    throw new Failure(
      () => `${sourceOf(receiver, state)} is ${kindOf(range)}, ${name}() needs a list or map`,
      receiver,
    );
  }
  const elements = isList(range) ? range : definedKeys(range);
  if (isMap(range)) state.spend(KEY_STEPS * elements.length);
  const outer = state.locals;
  const local: Local = { name: variableNode.args, value: null, next: outer };
  state.locals = local;
  const bind = (element: unknown): void => {
    local.value = lift(element);
    state.locals = local;
  };
  try {
    return name === "all" || name === "exists"
      ? quantify(elements, bind, first, name === "exists", state)
      : collect(elements, bind, { name, first, second }, state);
  } finally {
    state.locals = outer;
  }
}

/** One decisive element decides, whatever fails beside it; without one the first failure counts. */
function quantify(
  elements: readonly unknown[],
  bind: (element: unknown) => void,
  body: ASTNode,
  decisive: boolean,
  state: Evaluation,
): boolean {
  let failure: Failure | undefined;
  for (const element of elements) {
    bind(element);
    const result = attempt(body, state);
    if (result === decisive) return decisive;
    if (result instanceof Failure) failure ??= result;
  }
  if (failure !== undefined) throw failure;
  return !decisive;
}

function collect(
  elements: readonly unknown[],
  bind: (element: unknown) => void,
  macro: { name: string; first: ASTNode; second: ASTNode | undefined },
  state: Evaluation,
): Value {
  const kept: Value[] = [];
  const predicate = macro.name === "map" && macro.second === undefined ? undefined : macro.first;
  const transform = macro.name === "map" ? (macro.second ?? macro.first) : undefined;
  for (const element of elements) {
    bind(element);
    if (predicate !== undefined && !condition(predicate, state)) continue;
    kept.push(transform === undefined ? lift(element) : visit(transform, state));
  }
  return macro.name === "exists_one" ? kept.length === 1 : kept;
}

function negate(node: ASTNode, value: Value): Value {
  if (typeof value === "bigint") return located(node, "-", () => int(-value));
  if (value instanceof Double) return new Double(-value.value);
  throw new Failure(`- needs a number, got ${kindOf(value)}`, node);
}

function binary(node: ASTNode, left: Value, right: Value, state: Evaluation): Value {
  return located(node, node.op, () => {
    switch (node.op) {
      case "==":
        return equal(left, right, state.spend);
      case "!=":
        return !equal(left, right, state.spend);
      case "<":
        return compare(left, right, state.spend) < 0;
      case "<=":
        return compare(left, right, state.spend) <= 0;
      case ">":
        return compare(left, right, state.spend) > 0;
      case ">=":
        return compare(left, right, state.spend) >= 0;
      case "in":
        return contained(left, right, state);
      default:
        return arithmetic(node.op, left, right, state);
    }
  });
}

function contained(key: Value, range: Value, state: Evaluation): boolean {
  if (isMap(range)) return typeof key === "string" && member(range, key) !== undefined;
  if (isList(range)) return range.some((element) => equal(key, lift(element), state.spend));
  throw new ValueError(`needs a list or map at its right, got ${kindOf(range)}`);
}

function arithmetic(operator: string, left: Value, right: Value, state: Evaluation): Value {
  if (typeof left === "bigint" && typeof right === "bigint") return integers(operator, left, right);
  const [a, b] = [number(left), number(right)];
  if (a !== undefined && b !== undefined) {
    state.spend(DOUBLES_STEPS);
    return new Double(doubles(operator, a, b));
  }
  if (operator === "+" && typeof left === "string" && typeof right === "string") {
    return built(left.length + right.length, state.spend, () => left + right);
  }
  if (operator === "+" && isList(left) && isList(right)) {
    state.spend(left.length + right.length);
    return [...left, ...right];
  }
  throw new ValueError(`cannot take ${kindOf(left)} and ${kindOf(right)}`);
}

function integers(operator: string, left: bigint, right: bigint): bigint {
  if ((operator === "/" || operator === "%") && right === 0n) throw new ValueError("divides by zero");
  switch (operator) {
    case "+":
      return int(left + right);
    case "-":
      return int(left - right);
    case "*":
      return int(left * right);
    case "/":
      return int(left / right);
    case "%":
      return left % right;
    default:
      throw new ValueError("is not known");
  }
}

/**
 * Mixed kinds make a double. Standard CEL refuses them, but here 2 and 2.5 are both just a JSON number: a price times
 * 1.5 must not fail for the customer whose price is whole.
 */
function doubles(operator: string, left: number, right: number): number {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    default:
      throw new ValueError("needs two ints");
  }
}

function number(value: Value): number | undefined {
  if (typeof value === "bigint") return Number(value);
  return value instanceof Double ? value.value : undefined;
}
