import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "./checking.ts";
import { isHodeiError } from "./errors.ts";
import { freshBudget, run } from "./evaluator.ts";
import { checkExpression, checkTemplate, evaluate, render, type Names, type Scope } from "./expression.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";

const scope: Scope = {
  input: { who: "Ada", n: 3, price: 2.5, whole: 2, list: [1, 2, 3.5], tags: ["a", "b"], nested: { deep: { x: null } } },
  steps: {
    build: { state: "succeeded", outputs: { image: "app:1", size: 12 }, iterations: [] },
    "deploy-eu": { state: "skipped", outputs: {}, iterations: [] },
  },
  execution: { id: "e-1", runNumber: 7, outcome: undefined },
  matrix: { os: "linux" },
  item: { id: 5 },
  index: 0,
};

const withInput = (input: Json): Scope => ({ ...scope, input });
const invalid = (words: string): unknown =>
  expect.objectContaining({ code: "INVALID_EXPRESSION", message: expect.stringContaining(words) });

describe("evaluate", () => {
  it.each<[string, Json]>([
    ["input.who", "Ada"],
    ["input.n", 3],
    ["7 / 2", 3],
    ["7.0 / 2.0", 3.5],
    ["7 % 4", 3],
    ["-7 / 2", -3],
    ["input.n + 1 == 4", true],
    ["input.price * 2", 5],
    ["input.whole * 1.5", 3],
    ["input.n > 2.5", true],
    ["1 in input.list && 3.5 in input.list", true],
    ["[1, 2] + input.list", [1, 2, 1, 2, 3.5]],
    ["input.list == [1, 2, 3.5]", true],
    ["input.list[0] + input.list[2]", 4.5],
    ['{"a": input.n, "b": [input.who]}', { a: 3, b: ["Ada"] }],
    ['{"a": 1} == {"a": 1.0}', true],
    ["input.nested.deep.x == null", true],
    ["has(input.who) && !has(input.none)", true],
    ['has(input.none) ? input.none : "default"', "default"],
    ["steps.build.outputs.image", "app:1"],
    ['steps["deploy-eu"].state == "skipped"', true],
    ["steps.build", { state: "succeeded", outputs: { image: "app:1", size: 12 }, iterations: [] }],
    ["has(execution.outcome)", false],
    ["execution.runNumber + index", 7],
    ["matrix.os + string(item.id)", "linux5"],
    ['input.tags.map(t, t + "!").join(",")', "a!,b!"],
    ["input.list.filter(x, x > 1).size()", 2],
    ["input.list.map(x, x > 1, x * 2)", [4, 7]],
    ["input.list.exists(x, x == 2) && input.list.all(x, x > 0) && input.list.exists_one(x, x > 3)", true],
    ["input.nested.map(key, key)", ["deep"]],
    ['input.who.replace("d", "nn").lowerAscii()', "anna"],
    ['"a-b-c".split("-", 2)', ["a", "b-c"]],
    ['"release/1.2".matches("^release/[0-9.]+$")', true],
    ['size("😀") == 1 && "abc".substring(1, 2) == "b" && "abc".indexOf("c") == 2', true],
    ['int("12") + int(3.9) + int("-1")', 14],
    ['double("2.5") + double(1)', 3.5],
    ["string(2.0) + string(true) + string(12)", "2true12"],
    ['bool("true")', true],
    ["1.0", 1],
    ["9007199254740991", 9007199254740991],
    ["null", null],
  ])("%s is %j", (expression, value) => expect(evaluate(expression, scope)).toEqual(value));

  it("gives back any JSON as it came", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const input = JSON.parse(JSON.stringify(value)) as Json;
        expect(evaluate("input", withInput(input))).toEqual(input);
      }),
    );
  });

  it("computes with whole numbers as JavaScript does while they stay exact", () => {
    const small = fc.integer({ min: -1_000_000, max: 1_000_000 });
    fc.assert(
      fc.property(small, small, (a, b) => {
        expect(evaluate("[input.a + input.b, input.a * input.b, input.a - input.b]", withInput({ a, b }))).toEqual([
          a + b,
          a * b + 0, // not -0, which ints do not have
          a - b,
        ]);
        expect(evaluate("input.a < input.b", withInput({ a, b }))).toBe(a < b);
      }),
    );
  });

  it("treats names of Object.prototype as plain fields", () => {
    const input = JSON.parse('{"constructor": 1, "__proto__": {"x": 2}}') as Json;
    expect(evaluate("input.constructor", withInput(input))).toBe(1);
    expect(evaluate('input["__proto__"].x', withInput(input))).toBe(2);
    expect(() => evaluate("input.toString", withInput({}))).toThrow(invalid('input has no "toString"'));
  });

  it.each([
    ["input.whoo", 'input has no "whoo", did you mean "who"?'],
    ["input.nested.deep.none.z", 'column 19: input.nested.deep has no "none" (it has x)'],
    ["input.nested.deep.x.z", 'input.nested.deep.x is null, it has no field "z"'],
    ['steps["deploy-eu"].outputs.url', 'has no "url" (the step is skipped)'],
    ["steps.test.outputs", 'steps has no "test"'],
    ["input.list[3]", "input.list has 3 elements, none at 3"],
    ['input.list["a"]', 'its index must be an int, not "a"'],
    ["nothing", "nothing is not known here"],
    ["input.who + 1", "+ cannot take string and int"],
    ["input.who > 1", "> cannot order string and int"],
    ["!input.who", "input.who must be a bool here, it is string"],
    ["1 / 0", "divides by zero"],
    ["9223372036854775807 + 1", "no 64-bit integer"],
    ["9007199254740993", "beyond the integers that JSON keeps exactly"],
    ["0.0 / 0.0", "NaN is no JSON number"],
    ["input.who.map(x, x)", "map() needs a list or map"],
    ["input.list.join()", "join() needs a list of strings, found int"],
    ['int("x")', 'int() cannot make an int of "x"'],
    ['"a".matches("(a")', 'pattern "(a": this "(" is never closed'],
    ['"abc".substring(2, 1)', "the end 1 is before the start 2"],
    ['b"abc"', "bytes and unsigned integers"],
    ["timestamp('2020-01-01T00:00:00Z')", "there is no function timestamp"],
    ["1 +", "column 4: unexpected token: the end"],
    ["input.in", 'x["in"]'],
    ["input.n = 3", "comparison is =="],
    ["a".repeat(LIMITS.expressionLength + 1), "longer than 4096 characters"],
    [`${"!".repeat(2000)}true`, "too large"],
    [`${"(".repeat(200)}1${")".repeat(200)}`, "too large"],
  ])("says what is wrong with %s", (expression, words) => {
    expect(() => evaluate(expression, scope)).toThrow(invalid(words));
  });

  it("absorbs a failure that the other side of a decision makes moot, in both orders", () => {
    expect(evaluate("input.none == 1 || true", scope)).toBe(true);
    expect(evaluate("false && input.none == 1", scope)).toBe(false);
    expect(evaluate("input.none == 1 && false", scope)).toBe(false);
    expect(evaluate("[0, 2].exists(x, 4 / x == 2)", scope)).toBe(true);
    expect(() => evaluate("input.none == 1 || false", scope)).toThrow(invalid('no "none"'));
    expect(() => evaluate("[0, 1].all(x, 4 / x == 4)", scope)).toThrow(invalid("divides by zero"));
  });

  it("restores an outer variable after a macro, also one that failed", () => {
    expect(evaluate("[1, 2].map(x, [10].map(x, x)[0] + x)", scope)).toEqual([11, 12]);
    expect(evaluate("[1].map(x, [[0].exists(x, 1 / x == 1) || true, x == 1])", scope)).toEqual([[true, true]]);
  });
});

describe("the bounds of evaluate", () => {
  const many = Array.from({ length: 10_000 }, (_, index) => index);
  const big = withInput({ many, text: "a".repeat(200_000), records: many.map((n) => ({ n, state: "ok" })) });
  const steps = invalid(`more than ${LIMITS.expressionSteps} steps`);

  it.each([
    "input.many.map(x, input.many.map(y, x * y))",
    "input.many.map(x, input.many).map(l, l.map(x, x))",
    "[input.many].map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x)",
    "input.many.filter(x, x in input.many)",
    "input.many.map(x, input.records == input.records.filter(r, true))",
    "input.many.map(x, input.text.contains('b'))",
    "input.many.map(x, input.text.matches('a*b'))",
    "input.many.map(x, input.text == input.text.trim())",
    "input.many.exists(x, input.many.exists(y, y < 0))",
    "input.many.exists(x, input.many.all(y, true) && false)",
  ])("stops %s", (expression) => expect(() => evaluate(expression, big)).toThrow(steps));

  // Unpaid they took 10 s each: the product of the lengths is a multiple of 2^32.
  it.each(["contains(p)", "lastIndexOf(p)", "split(p)", "replace(p, '')"])("stops text.%s of half a text", (method) => {
    const part = "[input.half + 'b' + input.half].map(p, ";
    const expression = `${part}[input.long + input.long].map(t, t.${method} == null))`;
    const lengths = { half: "a".repeat(2 ** 15), long: "a".repeat(2 ** 17) };
    expect(() => evaluate(expression, withInput(lengths))).toThrow(steps);
  });

  it("stops empty alternatives of a pattern at each character", () => {
    const expression = `input.text.matches("(?:${"|".repeat(30)}){60}x")`;
    expect(() => evaluate(expression, withInput({ text: "a".repeat(10_000) }))).toThrow(steps);
  });

  it("pays for case letter by letter where a text is not all ASCII", () => {
    const text = "aA".repeat(20_000);
    const expression = "input.list.all(x, input.text.lowerAscii().size() > 0)";
    const list = Array.from({ length: 8 }, () => 0);
    expect(evaluate(expression, withInput({ text, list }))).toBe(true);
    expect(() => evaluate(expression, withInput({ text: `${text}é`, list }))).toThrow(steps);
  });

  it("stops a template of ten thousand expressions, whose parsing alone would take longer", () => {
    const template = Array.from({ length: 10_000 }, (_, at) => `\${{ ${at} }}`);
    expect(render(template.slice(0, 5_000), scope)).toHaveLength(5_000);
    expect(() => render(template, scope)).toThrow(steps);
  });

  it("stops a loop over failures, and says which failure", () => {
    expect(() => evaluate("input.many.all(x, input.many.exists(y, y.nope > x))", big)).toThrow(
      invalid('y is int, it has no field "nope" (and the whole needs too many steps)'),
    );
  });

  it("stops a text that doubles before it is built", () => {
    const doubled = `[input.text]${".map(x, x + x)".repeat(30)}`;
    expect(() => evaluate(doubled, big)).toThrow(invalid("makes a text longer than"));
    expect(() => evaluate("input.many.map(x, input.text).join('')", big)).toThrow(invalid("makes a text longer than"));
    expect(() => evaluate("input.text.replace('a', 'aaaaaaaaaa')", big)).toThrow(steps);
  });

  it("stops a result that is too large, before it is copied", () => {
    expect(() => evaluate("[input.text, input.text]", big)).toThrow(invalid("larger than"));
    expect(() => evaluate("input", big)).toThrow(invalid("larger than"));
  });

  it("leaves room for ordinary work over the largest forEach there can be", () => {
    const iterations = many.map((n) => ({ state: n % 2 === 0 ? "succeeded" : "failed", outputs: { n } }));
    const wide = { ...scope, steps: { wide: { state: "failed", outputs: {}, iterations } } };
    const expression = 'steps.wide.iterations.filter(i, i.state == "succeeded").map(i, i.outputs.n)';
    expect(evaluate(expression, wide)).toHaveLength(many.length / 2);
  });

  it("holds for all expressions of a template together", () => {
    const sum = "${{ input.many.filter(x, x > 5).size() }}";
    expect(render([sum], big)).toEqual([9994]);
    expect(() =>
      render(
        Array.from({ length: 10 }, () => sum),
        big,
      ),
    ).toThrow(steps);
    expect(() => render(["${{ input.text }}", "${{ input.text }}"], big)).toThrow(invalid("larger than"));
  });

  it("ends every expression with a value or INVALID_EXPRESSION", () => {
    const names = fc.constantFrom(
      "input",
      "input.many",
      "input.text",
      "x",
      "1",
      "2.5",
      '"s"',
      "true",
      "null",
      "[]",
      "{}",
    );
    const expressions = fc.letrec<{ any: string }>((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        names,
        fc
          .tuple(tie("any"), fc.constantFrom(..."+ - * / % == != < >= in && ||".split(" ")), tie("any"))
          .map(([a, sign, b]) => `(${a} ${sign} ${b})`),
        fc
          .tuple(tie("any"), fc.constantFrom("map", "filter", "all", "exists", "exists_one"), tie("any"))
          .map(([a, macro, b]) => `${a}.${macro}(x, ${b})`),
        fc.tuple(tie("any"), fc.constantFrom("size", "trim", "join", "foo")).map(([a, method]) => `${a}.${method}()`),
        fc.tuple(tie("any"), tie("any")).map(([a, b]) => `${a}[${b}]`),
        fc.tuple(tie("any"), tie("any"), tie("any")).map(([a, b, c]) => `(${a} ? ${b} : ${c})`),
      ),
    })).any;
    const names_: Names = { steps: [], has: {} };
    fc.assert(
      fc.property(fc.oneof(expressions, fc.string()), (expression) => {
        expect(Array.isArray(checkExpression(expression, names_))).toBe(true);
        try {
          JSON.stringify(evaluate(expression, big));
        } catch (error) {
          if (!isHodeiError(error, "INVALID_EXPRESSION")) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("what is dearer than a step, so that 200,000 take 50 ms in a cold process too", () => {
  /** Steps of one element, its reading left out. */
  const paid = (body: string): number => {
    const steps = (length: number): number => {
      const list = Array.from({ length }, (_, at) => at);
      const parsed = parse(`input.list.map(x, ${body})`);
      if ("problem" in parsed) throw new Error(parsed.problem.message);
      const budget = freshBudget();
      run(
        "",
        parsed.root,
        withInput({ list, text: "12", num: 1.5, keys: Object.fromEntries(list.map((at) => [at, at])) }),
        budget,
      );
      return LIMITS.expressionSteps - budget.steps;
    };
    return (steps(200) - steps(100)) / 100;
  };
  it.each([
    ["x", 1],
    ["x + x", 3],
    ["string(x)", 7],
    ["int('7')", 7],
    ["x * 1.5", 5],
    ["{'a': x}", 8],
    ["{string(x): x}", 29],
    ["'a'.matches('a')", 14],
  ])("%s", (body, steps) => expect(paid(body)).toBeGreaterThanOrEqual(steps));

  it("a map by its keys, a pattern when it is new", () => {
    expect(paid("input.keys.size()")).toBeGreaterThan(300);
    expect(paid("input.keys.map(k, 1)")).toBeGreaterThan(900);
    expect(paid("'a'.matches('^' + string(x))") - paid("'a'.matches('^' + string(1))")).toBeGreaterThan(40);
  });

  it("and leaves room for ten thousand iterations", () => {
    const list = Array.from({ length: LIMITS.iterations }, (_, at) => at);
    for (const body of ["string(x)", "x * 1.5", "{'n': x, 'a': x % 7}", "'image-' + string(x % 100)"])
      expect(evaluate(`input.list.map(x, ${body})`, withInput({ list }))).toHaveLength(LIMITS.iterations);
  });
});

describe("render", () => {
  it("keeps the type of a whole expression and makes text of a mixed one", () => {
    expect(
      render(
        {
          whole: "${{ input.list }}",
          mixed: "n=${{ input.n }}, ${{ input.who }}, ${{ input.tags }} ${{ input.nested.deep }} ${{ true }}",
          deep: [{ x: "${{ input.n }}" }, 1, null, true],
          "${{ key }}": "literal $${{ input.n }}",
        },
        scope,
      ),
    ).toEqual({
      whole: [1, 2, 3.5],
      mixed: 'n=3, Ada, ["a","b"] {"x":null} true',
      deep: [{ x: 3 }, 1, null, true],
      "${{ key }}": "literal ${{ input.n }}",
    });
  });

  it("leaves what holds no expression as it is", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const template = JSON.parse(JSON.stringify(value).replaceAll("$", "S")) as Json;
        expect(render(template, scope)).toEqual(template);
      }),
    );
  });

  it("refuses a template without end in depth", () => {
    let template: Json = "x";
    for (let depth = 0; depth < 100; depth += 1) template = [template];
    expect(() => render(template, scope)).toThrow(invalid("nests deeper"));
  });
});

const schema: JsonObject = {
  type: "object",
  additionalProperties: false,
  properties: {
    count: { type: "integer" },
    name: { type: "string" },
    ratio: { type: "number" },
    dry: { type: "boolean" },
    tags: { type: "array", items: { type: "string" } },
    hosts: {
      type: "array",
      items: { type: "object", additionalProperties: false, properties: { ip: { type: "string" } } },
    },
    open: { type: "object", properties: { known: { type: "string" } } },
    either: { type: ["string", "integer"] },
  },
};
const names: Names = { steps: ["build", "deploy-eu"], has: {}, input: schema };
const messages = (expression: string, more: Partial<Names> = {}): string[] =>
  checkExpression(expression, { ...names, ...more }).map((violation) => violation.message);

describe("checkExpression", () => {
  it.each([
    "input.count + 1 == 2 && input.name.startsWith('a')",
    "input.ratio * 2 > 1",
    "input.either == 'x'",
    "input.open.anything.goes && input.open.known == 'x'",
    "'a' in input.tags && 'known' in input.open && size(input.open) > 0",
    "input.hosts.map(h, h.ip).join(',')",
    "steps.build.outputs.image + steps['deploy-eu'].outputs.url",
    "steps.build.iterations.all(i, i.state == 'succeeded')",
    "execution.labels.team == 'x' && execution.runNumber > 1",
    "has(input.name) ? input.name : ''",
    "(input.count + 1.5) * 2",
    "{'a': 1, 'b': 'x', 'c': [1, 'x']}",
    "[[[[[[1]]]]]]",
  ])("has nothing against %s", (expression) => expect(messages(expression)).toEqual([]));

  it.each([
    ["input.nam", 'column 7: input has no "nam", did you mean "name"?'],
    ["input.hosts[0].port", 'an element of input.hosts has no "port"'],
    ["input.tags[input.count] + 1", "no such overload: string + int"],
    ["has(input.nope)", 'input has no "nope"'],
    ["input.count + 'x'", "column 1: no such overload: int + string"],
    ["'x' == 'y' && input.count", "requires bool operands, got 'int'"],
    ["input.tags.map(t, t + 1)", "no such overload: string + int"],
    ["input.name.size() > 'x'", "no such overload: int > string"],
    ["steps.biuld.outputs.x", 'column 7: step "biuld" is not known here, did you mean "build"?'],
    ["steps.build.output.x", 'steps.build has no "output", did you mean "outputs"?'],
    ["steps.deploy-eu.outputs.url", 'a name with a hyphen is written steps["deploy-eu"]'],
    ["steps.build.iterations.map(i, i.output)", 'an iteration has no "output", did you mean "outputs"?'],
    ["execution.ids", 'execution has no "ids", did you mean "id"?'],
    ["inptu.name", 'inptu is not known here, did you mean "input"?'],
    ["matrix.os == 'x'", "matrix is not known here, the step has no matrix"],
    ["item.id", "item is not known here, the step has no forEach"],
    ["input.name.startWith('a')", 'there is no function startWith(), did you mean "startsWith"?'],
    ["now()", "there is no function now(); known are size"],
    ["input.name.matches('(')", `column 20: pattern "(": this "(" is never closed`],
    ["input.name ==", "column 14: unexpected token: the end"],
    ["b'x' == b'x'", "bytes and unsigned integers"],
  ])("finds what is wrong with %s", (expression, words) => {
    const found = messages(expression);
    expect(found.length).toBeGreaterThan(0);
    expect(found.join("; ")).toContain(words);
  });

  it("knows matrix, item and index where they are", () => {
    expect(messages("matrix.os", { has: { matrix: true } })).toEqual([]);
    expect(messages("item.id + index", { has: { item: true } })).toEqual([]);
    expect(messages("index + 'x'", { has: { item: true } })).toEqual(["column 1: no such overload: int + string"]);
  });

  it("has words of its own for a name that every object knows", () => {
    for (const name of ["constructor", "toString", "valueOf"]) {
      expect(messages(name)).toEqual([expect.stringMatching(`${name} is not known here; known are input, `)]);
    }
  });

  it("takes any field of an input without a schema", () => {
    expect(messages("input.anything + 1", { input: undefined })).toEqual([]);
  });

  it("says when the result cannot be what is expected", () => {
    const expecting = (expression: string, expects: "bool" | "list"): string[] =>
      checkExpression(expression, names, { path: "spec.when", expects }).map(
        ({ path, message }) => `${path} ${message}`,
      );
    expect(expecting("input.name", "bool")).toEqual(["spec.when must give a bool, this gives a string"]);
    expect(expecting("input.count", "list")).toEqual(["spec.when must give a list, this gives an int"]);
    expect(expecting("input.dry", "bool")).toEqual([]);
    expect(expecting("input.tags", "list")).toEqual([]);
    expect(expecting("steps.build.outputs.anything", "bool")).toEqual([]);
  });

  it("passes nothing that then fails for a reason it could have seen", () => {
    const input = { count: 1, name: "n", ratio: 1.5, dry: true, tags: ["t"], hosts: [], open: {}, either: "e" };
    const operands = fc.constantFrom(
      ...["count", "name", "dry", "tags"].map((key) => `input.${key}`),
      "1",
      "'x'",
      "[1]",
    );
    const signs = fc.constantFrom(..."+ - == < && in".split(" "));
    fc.assert(
      fc.property(operands, signs, operands, (a, sign, b) => {
        const expression = `${a} ${sign} ${b}`;
        fc.pre(messages(expression).length === 0);
        expect(() => evaluate(expression, withInput(input))).not.toThrow();
      }),
    );
  });
});

describe("checkTemplate", () => {
  it("names the place of each expression that is wrong", () => {
    const template = {
      image: "${{ input.nam }}",
      list: ["ok", "x ${{ steps.biuld }}", "${{ open"],
      n: 1,
      k: "${{ input.name }}",
    };
    expect(checkTemplate(template, names, { path: "spec.env" })).toEqual([
      { path: "spec.env.image", message: 'column 7: input has no "nam", did you mean "name"?' },
      { path: "spec.env.list[1]", message: 'column 7: step "biuld" is not known here, did you mean "build"?' },
      { path: "spec.env.list[2]", message: 'the expression at column 1, "${{ open", has no closing "}}"' },
    ]);
  });

  it("expects a type of a template that is one whole expression", () => {
    expect(checkTemplate("${{ input.name }}", names, { path: "forEach", expects: "list" })).toHaveLength(1);
    expect(checkTemplate("${{ input.tags }}", names, { path: "forEach", expects: "list" })).toEqual([]);
  });
});
