import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HodeiError, isHodeiError } from "./errors.ts";
import {
  formatLabel,
  labelFailure,
  labelMatches,
  labelPostfix,
  parseLabel,
  widenLabels,
  type LabelExpression,
} from "./label.ts";
import { LIMITS } from "./limits.ts";

const matches = (text: string, labels: string[]): boolean => labelMatches(parseLabel(text), labels);

function errorOf(text: string): HodeiError {
  try {
    parseLabel(text);
  } catch (error) {
    if (error instanceof HodeiError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(text)} parsed`);
}

describe("parseLabel", () => {
  it("binds ! before && before ||", () => {
    const a = { kind: "label", name: "a" };
    const b = { kind: "label", name: "b" };
    const c = { kind: "label", name: "c" };
    expect(parseLabel("!a && b || c")).toEqual({
      kind: "or",
      terms: [{ kind: "and", terms: [{ kind: "not", term: a }, b] }, c],
    });
    expect(parseLabel("!(a && (b || c))")).toEqual({
      kind: "not",
      term: { kind: "and", terms: [a, { kind: "or", terms: [b, c] }] },
    });
  });

  it("keeps a negated label in a conjunction", () => {
    expect(matches("linux && java-11 && !windows", ["linux", "java-11"])).toBe(true);
    expect(matches("linux && java-11 && !windows", ["linux", "java-11", "windows"])).toBe(false);
  });

  it.each([
    ["node@>=20", "node", ">=20"],
    ["node@^20.1", "node", "^20.1"],
    ["node@20.x", "node", "20.x"],
    ["node@>=20&&linux", "node", ">=20"],
    ['"node@>=18 <21"', "node", ">=18 <21"],
    ["'node@ 18  ||  20 '", "node", "18 || 20"],
  ])("reads the range of %s", (text, name, range) => {
    const parsed = parseLabel(text);
    expect(parsed.kind === "and" ? parsed.terms[0] : parsed).toEqual({ kind: "version", name, range });
  });

  it("reads everything between quotes as one label", () => {
    expect(parseLabel(`"RTX 4090 \\"Ti\\""`)).toEqual({ kind: "label", name: 'RTX 4090 "Ti"' });
  });

  it.each([
    ["", 1, "expected a label"],
    ["linux &&", 9, 'expected a label after "&&"'],
    ["linux gpu", 7, 'expected "&&" or "||"'],
    ["linux & gpu", 7, 'write "&&"'],
    ["(linux || gpu", 1, "never closed"],
    ["linux)", 6, "closes nothing"],
    ["a && !", 7, 'expected a label after "!"'],
    ["a || (b c)", 9, 'expected "&&", "||" or ")"'],
    ['a && "b', 6, "never closed"],
    ['""', 1, "cannot be empty"],
    ["node@", 6, 'range after "@"'],
    ["node@banana", 6, "no semver range"],
    ["@1", 1, 'name before "@"'],
    ["a, b", 2, 'unexpected ","'],
    ["a -> b", 4, 'unexpected ">"'],
  ])("answers %j with column %i", (text, column, words) => {
    const error = errorOf(text);
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.facts["column"]).toBe(String(column));
    expect(error.message).toContain(words);
    const [, line, caret] = error.message.split("\n");
    expect(line).toBe(`  ${text}`);
    expect(caret).toBe(`  ${" ".repeat(column - 1)}^`);
  });

  it("bounds length and depth", () => {
    expect(errorOf("a".repeat(LIMITS.labelExpressionLength + 1)).message).toContain("at most");
    expect(errorOf(`${"(".repeat(200)}a${")".repeat(200)}`).message).toContain("deeper");
    expect(errorOf(`${"!".repeat(200)}a`).message).toContain("deeper");
  });

  it("refuses what would not parse again in its canonical form", () => {
    const crowded = Array.from({ length: 300 }, () => "a").join("&&");
    expect(crowded.length).toBeLessThan(LIMITS.labelExpressionLength);
    expect(errorOf(crowded).message).toContain("at most");
  });

  it("never fails with anything but its own error", () => {
    const pieces = fc.constantFrom(
      "a",
      "!",
      "&&",
      "||",
      "(",
      ")",
      " ",
      "@",
      ">=1",
      '"',
      "'",
      "\\",
      "&",
      "\n",
      "node@1.x",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((parts) => parts.join("")),
        ),
        (text) => {
          try {
            const formatted = formatLabel(parseLabel(text));
            expect(parseLabel(formatted)).toEqual(parseLabel(text));
          } catch (error) {
            if (!isHodeiError(error, "INVALID_ARGUMENT")) throw error;
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

const NAMES = ["a", "b", "c", "d"];
const atom = fc.oneof(
  fc.constantFrom(...NAMES).map((name): LabelExpression => ({ kind: "label", name })),
  fc
    .constantFrom("two words", 'q"uote', "back\\slash", "c++")
    .map((name): LabelExpression => ({ kind: "label", name })),
  fc
    .constantFrom(">=18", "^20.1", "20.x", ">=18 <21", "18 || 20")
    .map((range): LabelExpression => ({ kind: "version", name: "node", range })),
);
/** Only what the parser itself builds: no list within a list of its kind. */
function listOf(kind: "and" | "or", term: fc.Arbitrary<LabelExpression>): fc.Arbitrary<LabelExpression> {
  const terms = fc.array(
    term.filter((inner) => inner.kind !== kind),
    { minLength: 2, maxLength: 3 },
  );
  return terms.map((found) => ({ kind, terms: found }));
}
const expressions = fc.letrec<{ any: LabelExpression }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    atom,
    listOf("and", tie("any")),
    listOf("or", tie("any")),
    tie("any").map((term) => ({ kind: "not" as const, term })),
  ),
})).any;
const offers = fc.subarray([...NAMES, "two words", "node@18.19.0", "node@20.11.1", "node"]);

/** The postfix form, run on a stack: another way to the same answer. */
function runPostfix(postfix: string[], labels: string[]): boolean {
  const stack: boolean[] = [];
  const pop = (): boolean => {
    const top = stack.pop();
    if (top === undefined) throw new Error(`the stack is empty in ${postfix.join(" ")}`);
    return top;
  };
  for (const token of postfix) {
    if (token === "!") stack.push(!pop());
    else if (token === "&" || token === "|") {
      const [right, left] = [pop(), pop()];
      stack.push(token === "&" ? left && right : left || right);
    } else if (token.startsWith("=")) stack.push(labelMatches({ kind: "label", name: token.slice(1) }, labels));
    else {
      const [name = "", ...range] = token.slice(1).split(" ");
      stack.push(labelMatches({ kind: "version", name, range: range.join(" ") }, labels));
    }
  }
  const result = pop();
  if (stack.length > 0) throw new Error(`operands are left of ${postfix.join(" ")}`);
  return result;
}

/** A text beside what it means, built together: the reference that the parser is held to. */
type Meaning = { text: string; holds: (labels: readonly string[]) => boolean };
const meanings = fc.letrec<{ any: Meaning }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(...NAMES).map((name): Meaning => ({ text: name, holds: (labels) => labels.includes(name) })),
    fc
      .tuple(tie("any"), tie("any"))
      .map(([a, b]): Meaning => ({ text: `(${a.text} && ${b.text})`, holds: (set) => a.holds(set) && b.holds(set) })),
    fc
      .tuple(tie("any"), tie("any"))
      .map(([a, b]): Meaning => ({ text: `(${a.text}||${b.text})`, holds: (set) => a.holds(set) || b.holds(set) })),
    tie("any").map((inner): Meaning => ({ text: `!${inner.text}`, holds: (set) => !inner.holds(set) })),
  ),
})).any;

describe("formatLabel", () => {
  it("parses back to the same expression and formats to itself", () => {
    fc.assert(
      fc.property(expressions, (expression) => {
        const text = formatLabel(expression);
        fc.pre(text.length <= LIMITS.labelExpressionLength);
        expect(parseLabel(text)).toEqual(expression);
        expect(formatLabel(parseLabel(text))).toBe(text);
      }),
    );
  });

  it("writes parentheses only where they change the meaning", () => {
    expect(formatLabel(parseLabel("((a)&&(b))||(!(c))"))).toBe("a && b || !c");
    expect(formatLabel(parseLabel("(a||b)&&!(c&&d)"))).toBe("(a || b) && !(c && d)");
  });
});

describe("labelMatches", () => {
  it("agrees with boolean algebra on all sixteen sets of four labels", () => {
    fc.assert(
      fc.property(meanings, ({ text, holds }) => {
        fc.pre(text.length < 400);
        for (let set = 0; set < 16; set += 1) {
          const labels = NAMES.filter((_, bit) => (set >> bit) % 2 === 1);
          expect(matches(text, labels)).toBe(holds(labels));
        }
      }),
    );
  });

  it("negation turns every answer, and De Morgan holds", () => {
    fc.assert(
      fc.property(expressions, expressions, offers, (a, b, labels) => {
        const not = (term: LabelExpression): LabelExpression => ({ kind: "not", term });
        expect(labelMatches(not(a), labels)).toBe(!labelMatches(a, labels));
        expect(labelMatches(not({ kind: "and", terms: [a, b] }), labels)).toBe(
          labelMatches({ kind: "or", terms: [not(a), not(b)] }, labels),
        );
      }),
    );
  });

  it("agrees with the postfix form", () => {
    fc.assert(
      fc.property(expressions, offers, (expression, labels) => {
        expect(runPostfix(labelPostfix(expression), labels)).toBe(labelMatches(expression, labels));
      }),
    );
  });

  it.each([
    ["node@>=20", "node@20.11.1", true],
    ["node@>=20", "node@18.19.0", false],
    ["node@^20.1", "node@20.0.9", false],
    ["node@20.x", "node@20", true],
    ["java@17", "java@17.0.9", true],
    ["python@>=3.10", "python@3.9", false],
    ["docker@>=24", "docker@23.0.6-ce", false],
    ["docker@>=24", "docker@24.0.7-ce", true],
    ["node", "node@20.11.1", true],
    ["node@20", "node", false],
    ["node", "nodejs", false],
    ["node@1", "node@unknown", false],
  ])("%s on a worker that offers %s: %s", (text, label, expected) => expect(matches(text, [label])).toBe(expected));
});

describe("labelFailure", () => {
  it.each([
    ["linux && gpu", ["linux"], "no label gpu"],
    ["gpu && !spot", ["spot"], "no label gpu, spot is excluded"],
    ["gpu || tpu", [], "no label gpu and no label tpu"],
    ["node@>=20", ["node@18.19.0"], "node is 18.19.0, not >=20"],
    ["node@>=20", ["node"], "the version of node is not known"],
    ["node@>=20", [], "no label node"],
    ["!(a && b)", ["a", "b"], "a && b is excluded"],
  ])("says why %s does not match %j", (text, labels, reason) => {
    expect(labelFailure(parseLabel(text), labels)).toBe(reason);
  });

  it("has something to say exactly when there is no match", () => {
    fc.assert(
      fc.property(expressions, offers, (expression, labels) => {
        expect(labelFailure(expression, labels) === undefined).toBe(labelMatches(expression, labels));
        expect(labelFailure(expression, labels)).not.toBe("");
      }),
    );
  });
});

describe("widenLabels", () => {
  it("reads a version at the end of a seed style label", () => {
    expect(widenLabels(["java-17", "maven-3.8", "linux"])).toEqual(
      "java-17 java java@17 maven-3.8 maven maven@3.8 linux".split(" "),
    );
    expect(widenLabels(["python-3.11"])).toContain("python@3.11");
  });

  it("leaves names that only have a hyphen", () => {
    const names = ["kubernetes-deploy", "us-east", "node@20.11.1", "a-1b"];
    expect(widenLabels(names)).toEqual(names);
  });

  it("says nothing twice, also when widened again", () => {
    const once = widenLabels(["java-17", "java", "java-11"]);
    expect(new Set(once).size).toBe(once.length);
    expect(widenLabels(once)).toEqual(once);
  });
});
