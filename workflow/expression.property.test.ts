import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isHodeiError } from "./errors.ts";
import { Exhausted, Failure, freshBudget, run } from "./evaluator.ts";
import { parse } from "./checking.ts";
import { checkTemplate, evaluate, render, type Scope } from "./expression.ts";

/** Expressions that a grammar gives, and garbled ones, over data that is small and data that is as large as it can be. */

const text = "ab".repeat(60_000);
const list = Array.from({ length: 20_000 }, (_, at) => at);
const map = Object.fromEntries(list.slice(0, 8000).map((at) => [`k${at}`, { v: at }]));
const step = (x: unknown): object => ({
  state: "succeeded",
  outputs: { x },
  iterations: list.slice(0, 2000).map(step1),
});
const step1 = (n: number): object => ({ state: "failed", outputs: { n } });
const scopes: Scope[] = [
  { input: { n: 3, s: "hello", l: [1, 2.5, "x", null], m: { a: 1 } }, steps: { a: step(1) }, execution: { id: "e" } },
  { input: { n: 2 ** 40, s: text, l: list, m: map }, steps: { a: step(text) }, execution: {}, item: list, index: 0 },
];

const names = fc.constantFrom(
  "input",
  "input.n",
  "input.s",
  "input.l",
  "input.m",
  "steps.a.outputs.x",
  "steps.a.iterations",
  "item",
  "index",
  "x",
  "constructor",
  "__proto__",
  "input.__proto__",
  "input.m.toString",
  'input["__proto__"]',
  "execution.id",
  "steps.zz",
  "1",
  "2.5",
  "-1",
  "9223372036854775807",
  "0x7f",
  "1e308",
  "'a'",
  '"é😀"',
  "''",
  "true",
  "null",
  "[]",
  "{}",
  "b'x'",
  "1u",
);
const BINARY = "+ - * / % == != < >= in && ||".split(" ");
const MACROS = ["map", "filter", "all", "exists", "exists_one"];
const METHODS = [
  "size",
  "trim",
  "join",
  "split",
  "replace",
  "matches",
  "contains",
  "lastIndexOf",
  "substring",
  "lowerAscii",
];

const expressions = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 7 },
    names,
    fc.tuple(tie("any"), fc.constantFrom(...BINARY), tie("any")).map(([a, sign, b]) => `(${a} ${sign} ${b})`),
    fc.tuple(tie("any"), fc.constantFrom(...MACROS), tie("any")).map(([a, macro, b]) => `${a}.${macro}(x, ${b})`),
    fc
      .tuple(tie("any"), fc.constantFrom(...METHODS, "nope"), fc.array(tie("any"), { maxLength: 2 }))
      .map(([a, method, args]) => `${a}.${method}(${args.join(", ")})`),
    fc.tuple(tie("any"), tie("any")).map(([a, b]) => `${a}[${b}]`),
    fc.tuple(tie("any"), tie("any")).map(([a, b]) => `[${a}, ${b}].map(x, x + x)`),
    fc.tuple(tie("any"), tie("any"), tie("any")).map(([a, b, c]) => `(${a} ? ${b} : ${c})`),
    fc
      .constantFrom("size", "string", "int", "double", "bool", "has", "nope")
      .chain((name) => tie("any").map((a) => `${name}(${a})`)),
    tie("any").map((a) => `!${a}`),
  ),
})).any;

const garbled = fc
  .tuple(
    expressions,
    fc.nat(500),
    fc.nat(3),
    fc.oneof(fc.constantFrom("(", "]", "'", "\\", "${{", "}}", "\0", "\ud800", "//"), fc.string()),
  )
  .map(([expression, at, cut, put]) => expression.slice(0, at) + put + expression.slice(at + cut));
const any = fc.oneof({ weight: 3, arbitrary: expressions }, garbled);

/** The error's words when it is not the one that bad expressions give. */
function complaint(compute: () => unknown): string | undefined {
  try {
    compute();
    return undefined;
  } catch (error) {
    if (!isHodeiError(error, "INVALID_EXPRESSION")) throw error;
    return /\[object|native code/.test(error.message) ? error.message : undefined;
  }
}

/** How often work was paid for after the budget was spent. */
function overrun(expression: string, scope: Scope): number {
  const parsed = parse(expression);
  if ("problem" in parsed) return 0;
  const budget = freshBudget();
  let after = 0;
  const watched = {
    bytes: budget.bytes,
    get steps() {
      return budget.steps;
    },
    set steps(left: number) {
      if (budget.steps < 0) after += 1;
      budget.steps = left;
    },
  };
  try {
    run(expression, parsed.root, scope, watched);
  } catch (error) {
    if (!(error instanceof Failure || error instanceof Exhausted)) throw error;
  }
  return after;
}

describe("any expression", () => {
  it("gives a value or INVALID_EXPRESSION, over small data and large", () => {
    fc.assert(
      fc.property(any, fc.constantFrom(...scopes), (expression, scope) => {
        expect(complaint(() => evaluate(expression, scope))).toBeUndefined();
        expect(
          complaint(() => render({ a: `x\${{ ${expression} }}`, b: [`\${{${expression}}}`] }, scope)),
        ).toBeUndefined();
        const names = { steps: ["a"], has: { item: true } };
        expect(complaint(() => checkTemplate(`\${{ ${expression} }}`, names))).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it("does not run on with its budget spent", () => {
    fc.assert(
      fc.property(expressions, fc.constantFrom(...scopes), (expression, scope) => {
        expect(overrun(expression, scope)).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
