import { Environment, type ASTNode } from "@marcbachmann/cel-js";
import { FUNCTIONS, MACROS, METHODS } from "./functions.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { parsePattern, PatternError } from "./pattern.ts";
import { suggestion } from "./suggest.ts";

/** What an expression may name. `input` is the workflow's input schema; without one any field is allowed. */
export type Names = { steps: readonly string[]; has: { matrix?: boolean; item?: boolean }; input?: JsonObject };

/** `at` counts from 0 within the expression. */
export type Problem = { message: string; at: number };

/** What is known of a value before it is there. `fields` of a closed map are all it can have. */
type Shape =
  | { kind: "any" | "string" | "int" | "bool" }
  | { kind: "list"; of: Shape }
  | { kind: "map"; name: string; fields: ReadonlyMap<string, () => Shape>; closed: boolean };

const ANY: Shape = { kind: "any" };
const STRING: Shape = { kind: "string" };
const INT: Shape = { kind: "int" };
const anything = (): Shape => ANY;

const EXECUTION: Shape = {
  kind: "map",
  name: "execution",
  closed: true,
  fields: new Map<string, () => Shape>([
    ...["id", "uid", "namespace", "workflow", "version", "state", "outcome"].map((key) => [key, () => STRING] as const),
    ["runNumber", () => INT],
    ["labels", (): Shape => ({ kind: "map", name: "labels", closed: false, fields: new Map() })],
  ]),
};

/**
 * The library's parser and type checker. It takes the same functions as the evaluator, plus sums of an int and a double.
 * Optional types stay off: `a.?b` answers with values that JSON does not have.
 */
const environment = new Environment({
  homogeneousAggregateLiterals: false,
  limits: {
    maxAstNodes: LIMITS.expressionNodes,
    maxDepth: LIMITS.expressionDepth,
    maxListElements: 256,
    maxMapEntries: 256,
    maxCallArguments: 8,
  },
});
for (const name of ["input", "steps", "execution", "matrix", "item", "index"])
  environment.registerVariable(name, "dyn");
for (const [left, right] of [
  ["int", "double"],
  ["double", "int"],
] as const) {
  for (const operator of ["+", "-", "*", "/"]) {
    environment.registerOperator(`${left} ${operator} ${right}: double`, () => 0);
  }
}
environment.registerOperator("int == double", () => false);
environment.registerFunction("string.replace(string, string): string", () => "", { async: false });

/** The syntax tree, or what is wrong with the text. */
export function parse(expression: string): { root: ASTNode } | { problem: Problem } {
  if (expression.length > LIMITS.expressionLength) {
    return { problem: { message: `is longer than ${LIMITS.expressionLength} characters`, at: 0 } };
  }
  try {
    return { root: environment.parse(expression).ast };
  } catch (error) {
    return { problem: problemOf(error) };
  }
}

const TOKEN_WORDS: Record<string, string> = {
  EOF: "the end",
  IDENTIFIER: "a name",
  RPAREN: '")"',
  LPAREN: '"("',
  RBRACKET: '"]"',
  LBRACKET: '"["',
  RBRACE: '"}"',
  LBRACE: '"{"',
  COMMA: '","',
  COLON: '":"',
  DOT: '"."',
  QUESTION: '"?"',
};

/** In the words of the language instead of those of the library's lexer. */
function problemOf(error: unknown): Problem {
  if (!(error instanceof Error)) throw error;
  const { summary, code, range } = error as Error & { summary?: string; code?: string; range?: { start: number } };
  // Only the library's own errors carry a code; anything else (a stack overflow) is still the expression's fault.
  let message = (code === undefined ? error.message : (summary ?? error.message)).replace(
    /\b[A-Z]{2,}\b/g,
    (token) => TOKEN_WORDS[token] ?? token.toLowerCase(),
  );
  if (code === "limit_exceeded") {
    message = `is too large: more than ${LIMITS.expressionNodes} terms, ${LIMITS.expressionDepth} levels, 256 elements of a literal or 8 arguments`;
  }
  if (message.endsWith("got in") || code === "reserved_identifier") {
    message += `; a field with the name of a keyword is written x["in"]`;
  }
  if (/character: [=&|]/.test(message)) message += "; comparison is ==, and is &&, or is ||";
  return { message: message.charAt(0).toLowerCase() + message.slice(1), at: range?.start ?? 0 };
}

type Walk = {
  source: string;
  roots: ReadonlyMap<string, Shape>;
  names: Names;
  locals: ReadonlyMap<string, Shape>;
  problems: Problem[];
  /** Selections whose type is known, to be typed for the library. */
  typed: { start: number; end: number; shape: Shape }[];
  maps: number;
};

/**
 * Everything that can be said without running: unknown names, steps, fields and functions, patterns, and by the
 * library's checker the types. `type` is the CEL type of the result, "dyn" when it is not known.
 */
export function check(source: string, root: ASTNode, names: Names): { problems: Problem[]; type: string } {
  const walk: Walk = { source, roots: rootsOf(names), names, locals: new Map(), problems: [], typed: [], maps: 0 };
  visit(root, walk);
  if (walk.problems.length > 0 || literalDepth(root) + walk.maps > MAX_TYPE_DEPTH) {
    return { problems: walk.problems, type: "dyn" };
  }
  const result = environment.check(withTypedNames(source, walk));
  return result.valid
    ? { problems: [], type: result.type ?? "dyn" }
    : { problems: [problemOf(result.error)], type: "dyn" };
}

/**
 * The library keeps each type it ever built, process-wide and for ever. Four levels of lists and maps are some hundred
 * types; without a bound every new way of nesting that someone submits would stay in memory.
 */
const MAX_TYPE_DEPTH = 4;

function literalDepth(node: ASTNode): number {
  const own = node.op === "list" || node.op === "map" ? 1 : 0;
  return own + Math.max(0, ...childrenOf(node).map(literalDepth));
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case "value":
    case "id":
      return [];
    case ".":
    case ".?":
      return [node.args[0]];
    case "call":
      return node.args[1];
    case "rcall":
      return [node.args[1], ...node.args[2]];
    case "map":
      return node.args.flat();
    case "!_":
    case "-_":
      return [node.args];
    default:
      return node.args;
  }
}

/** A checker asks of the same names for each expression: a thousand steps in 15,000 expressions took 2 s. */
const rootsByNames = new WeakMap<Names, ReadonlyMap<string, Shape>>();

function rootsOf(names: Names): ReadonlyMap<string, Shape> {
  const known = rootsByNames.get(names);
  if (known !== undefined) return known;
  const roots = buildRoots(names);
  rootsByNames.set(names, roots);
  return roots;
}

function buildRoots({ steps, has, input }: Names): ReadonlyMap<string, Shape> {
  const step = (id: string): Shape => ({
    kind: "map",
    name: `steps.${id}`,
    closed: true,
    fields: new Map<string, () => Shape>([
      ["state", () => STRING],
      ["outputs", (): Shape => ({ kind: "map", name: "outputs", closed: false, fields: new Map() })],
      ["iterations", (): Shape => ({ kind: "list", of: ITERATION })],
    ]),
  });
  const fields = new Map(steps.map((id) => [id, () => step(id)]));
  return new Map<string, Shape>([
    ["input", input === undefined ? ANY : shapeOf(input, "input")],
    ["steps", { kind: "map", name: "steps", closed: true, fields }],
    ["execution", EXECUTION],
    ...(has.matrix === true ? [["matrix", ANY] as const] : []),
    ...(has.item === true ? [["item", ANY] as const, ["index", INT] as const] : []),
  ]);
}

const ITERATION: Shape = {
  kind: "map",
  name: "an iteration",
  closed: true,
  fields: new Map([
    ["state", () => STRING],
    ["outputs", anything],
  ]),
};

/** Of a JSON Schema; whatever is not plainly one type is `any`. A number may be an int or a double. */
function shapeOf(schema: Json | undefined, name: string): Shape {
  if (!isObject(schema)) return ANY;
  switch (schema["type"]) {
    case "string":
      return STRING;
    case "integer":
      return INT;
    case "boolean":
      return { kind: "bool" };
    case "array":
      return { kind: "list", of: shapeOf(schema["items"], `an element of ${name}`) };
    case "object": {
      const properties = schema["properties"];
      const fields = new Map<string, () => Shape>();
      if (isObject(properties)) {
        for (const [key, property] of Object.entries(properties)) {
          fields.set(key, () => shapeOf(property, `${name}.${key}`));
        }
      }
      return { kind: "map", name, fields, closed: schema["additionalProperties"] === false };
    }
    default:
      return ANY;
  }
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function visit(node: ASTNode, walk: Walk): Shape {
  switch (node.op) {
    case "id":
    case ".":
    case "[]": {
      const shape = chain(node, walk);
      if (shape.kind !== "any") walk.typed.push({ start: node.start, end: node.end, shape });
      return shape;
    }
    case "value":
      if (typeof node.args === "object" && node.args !== null) {
        walk.problems.push({ message: "bytes and unsigned integers are not part of the language", at: node.pos });
      }
      return ANY;
    case "call":
      visitCall(node, node.args[0], node.args[1], walk);
      return ANY;
    case "rcall":
      visitMethod(node, node.args, walk);
      return ANY;
    default:
      for (const child of childrenOf(node)) visit(child, walk);
      return ANY;
  }
}

function visitCall(node: ASTNode, name: string, args: readonly ASTNode[], walk: Walk): void {
  if (name === "has") {
    // The library wants a selection here, so its parts are looked at without being typed.
    for (const arg of args) if (arg.op === ".") chain(arg, walk);
    return;
  }
  if (!FUNCTIONS.has(name)) unknownFunction(name, [...FUNCTIONS.keys(), "has"], node, walk);
  for (const arg of args) visit(arg, walk);
}

function visitMethod(node: ASTNode, [name, receiver, args]: [string, ASTNode, ASTNode[]], walk: Walk): void {
  const shape = visit(receiver, walk);
  const [variable, ...bodies] = args;
  if (MACROS.has(name) && variable?.op === "id") {
    if (name === "map") walk.maps += 1;
    const element = shape.kind === "list" ? shape.of : shape.kind === "map" ? STRING : ANY;
    const inner = { ...walk, locals: new Map([...walk.locals, [variable.args, element]]) };
    for (const body of bodies) visit(body, inner);
    walk.maps = inner.maps;
    return;
  }
  if (!METHODS.has(name)) unknownFunction(name, [...METHODS.keys(), ...MACROS], node, walk);
  for (const arg of args) visit(arg, walk);
  const [pattern] = args;
  if (name !== "matches" || pattern?.op !== "value" || typeof pattern.args !== "string") return;
  try {
    parsePattern(pattern.args);
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    walk.problems.push({ message: `pattern ${JSON.stringify(pattern.args)}: ${error.message}`, at: pattern.start });
  }
}

function unknownFunction(name: string, known: readonly string[], node: ASTNode, walk: Walk): void {
  const hint = suggestion(name, known) || `; known are ${known.join(", ")}`;
  walk.problems.push({ message: `there is no function ${name}()${hint}`, at: node.pos });
}

/** The shape that a name and the fields selected from it lead to. */
function chain(node: ASTNode, walk: Walk): Shape {
  switch (node.op) {
    case "id":
      return named(node, node.args, walk);
    case ".":
      return field(node, chain(node.args[0], walk), node.args[1], walk);
    case "[]": {
      const [holder, key] = node.args;
      const shape = chain(holder, walk);
      if (key.op === "value" && typeof key.args === "string") return field(node, shape, key.args, walk);
      visit(key, walk);
      return shape.kind === "list" ? shape.of : ANY;
    }
    default:
      return visit(node, walk);
  }
}

const ABSENT: ReadonlyMap<string, string> = new Map([
  ["matrix", "the step has no matrix"],
  ["item", "the step has no forEach"],
  ["index", "the step has no forEach"],
]);

function named(node: ASTNode, name: string, walk: Walk): Shape {
  const shape = walk.locals.get(name) ?? walk.roots.get(name);
  if (shape !== undefined) return shape;
  const known = [...walk.roots.keys(), ...walk.locals.keys()];
  const reason = ABSENT.get(name);
  const hint = reason === undefined ? suggestion(name, known) || `; known are ${known.join(", ")}` : `, ${reason}`;
  walk.problems.push({ message: `${name} is not known here${hint}`, at: node.pos });
  return ANY;
}

function field(node: ASTNode, shape: Shape, key: string, walk: Walk): Shape {
  if (shape.kind !== "map") return ANY;
  const known = shape.fields.get(key);
  if (known !== undefined) return known();
  if (!shape.closed) return ANY;
  const keys = [...shape.fields.keys()];
  // `steps.build-app` is a subtraction to CEL, and `steps.build` then a step that nobody has.
  const hyphened = keys.find((name) => name.includes("-") && walk.source.startsWith(name, node.end - key.length));
  const hint =
    hyphened === undefined
      ? suggestion(key, keys)
      : `; a name with a hyphen is written ${shape.name}[${JSON.stringify(hyphened)}]`;
  const what =
    shape.name === "steps"
      ? `step ${JSON.stringify(key)} is not known here${hint || (keys.length === 0 ? "; there is none before this" : "")}`
      : `${shape.name} has no ${JSON.stringify(key)}${hint}`;
  walk.problems.push({ message: what, at: node.pos });
  return ANY;
}

/**
 * The source with each selection of known type replaced by a variable of that type and the same length, so that
 * positions stay. Declaring the types of `input` to the library instead would make closed messages of its objects, and
 * those do not know `in`, `size` or `map`.
 */
function withTypedNames(source: string, walk: Walk): string {
  let text = source;
  for (const { start, end, shape } of walk.typed) {
    const type = celType(shape);
    const written = source.slice(start, end);
    // A parenthesis may be half inside; a macro's own variable gets its type from its list.
    const root = /^\w+/.exec(written)?.[0] ?? "";
    if (type === undefined || written.length > MAX_TYPED_NAME || /[()]/.test(written) || !walk.roots.has(root))
      continue;
    const variable = `_${TYPE_CODES[type] ?? ""}`.padEnd(written.length, "_");
    if (!environment.hasVariable(variable)) environment.registerVariable(variable, type);
    text = text.slice(0, start) + variable + text.slice(end);
  }
  return text;
}

/** Bounds the variables that the environment can come to hold: one per type and length. */
const MAX_TYPED_NAME = 120;
const TYPE_CODES: Record<string, string> = {
  string: "s",
  int: "i",
  bool: "b",
  "map<string, dyn>": "m",
  "list<dyn>": "l",
  "list<string>": "ls",
  "list<int>": "li",
  "list<bool>": "lb",
};

function celType(shape: Shape): string | undefined {
  switch (shape.kind) {
    case "any":
      return undefined;
    case "map":
      return "map<string, dyn>";
    case "list": {
      const scalar = shape.of.kind === "string" || shape.of.kind === "int" || shape.of.kind === "bool";
      return scalar ? `list<${shape.of.kind}>` : "list<dyn>";
    }
    default:
      return shape.kind;
  }
}
