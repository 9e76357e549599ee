import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePattern, PatternError, patternMatches } from "./pattern.ts";

function matches(pattern: string, text: string): boolean {
  return patternMatches(parsePattern(pattern), text, () => undefined);
}

describe("patternMatches", () => {
  it.each([
    ["^release/\\d+\\.\\d+$", "release/1.20", true],
    ["^release/\\d+\\.\\d+$", "release/1.20-rc", false],
    ["a|b", "xxb", true],
    ["^(?:a|b){2,3}$", "abab", false],
    ["[^a-c]", "abc", false],
    ["[]a]", "]", true],
    ["[\\d-]", "-", true],
    ["\\bnode\\b", "a node here", true],
    ["\\bnode\\b", "nodes", false],
    [".", "\n", false],
    ["^.$", "😀", true],
    ["\\x41\\.", "A.", true],
    ["(?i)^HELLO$", "hello", true],
    ["(?i)^[^a]$", "A", false],
    ["a{2}", "a{2}", false],
    ["a{x", "a{x", true],
    ["", "", true],
    ["(a*)*b", "aab", true],
    ["()*$", "x", true],
    ["[\\D]", "5", false],
  ])("%j on %j: %s", (pattern, text, expected) => expect(matches(pattern, text)).toBe(expected));

  it("agrees with a backtracking engine wherever that one comes to an end", () => {
    const atoms = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\w", "\\b", "^", "$", "(?:a|bb)");
    const patterns = fc.letrec<{ any: string }>((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        atoms,
        fc.tuple(tie("any"), tie("any")).map(([a, b]) => a + b),
        fc.tuple(tie("any"), tie("any")).map(([a, b]) => `(${a}|${b})`),
        fc.tuple(tie("any"), fc.constantFrom("*", "+", "?", "{0,2}", "{2}")).map(([a, sign]) => `(?:${a})${sign}`),
      ),
    })).any;
    const texts = fc.array(fc.constantFrom("a", "b", " ", "\n"), { maxLength: 8 }).map((letters) => letters.join(""));
    fc.assert(
      fc.property(patterns, texts, (pattern, text) => {
        expect(matches(pattern, text)).toBe(new RegExp(pattern, "u").test(text));
      }),
      { numRuns: 1000 },
    );
  });

  it("pays in proportion to the text, however the pattern repeats", () => {
    const cost = (length: number): number => {
      let steps = 0;
      patternMatches(parsePattern("^((a+)+)+$"), `${"a".repeat(length)}!`, (spent) => (steps += spent));
      return steps;
    };
    expect(cost(2000)).toBeLessThan(2.1 * cost(1000));
    expect(cost(1000)).toBeLessThan(20_000);
  });

  it("pays for what it looks at without reading a character", () => {
    let steps = 0;
    patternMatches(parsePattern(`(?:${"|".repeat(30)}){60}b`), "a".repeat(1000), (spent) => (steps += spent));
    expect(steps, "3,600 instructions at each character").toBeGreaterThan(1000 * 200);
  });
});

describe("parsePattern", () => {
  it.each([
    ["(", 0, "never closed"],
    ["a)", 1, "closes nothing"],
    ["[a", 0, "never closed"],
    ["*a", 0, "nothing to repeat"],
    ["a**", 2, "repetition of a repetition"],
    ["a{3,2}", 1, "wrong way round"],
    ["[b-a]", 0, "wrong way round"],
    ["a\\", 1, "backslash at the end"],
    ["(a)\\1", 3, "\\1 is not known"],
    ["(?=a)", 0, "lookaround"],
    ["(?<n>a)", 0, "names"],
    ["^*", 1, "nothing to repeat"],
    ["a".repeat(600), 0, "longer than"],
    ["((((a{1000}){1000}){1000}){1000})", 0, "too large"],
    ["(((){9999}){9999}){9999}", 0, "too large"],
    ["(".repeat(100), 32, "more than 32 groups"],
  ])("refuses %s at %i", (pattern, at, words) => {
    expect(() => parsePattern(pattern)).toThrow(
      expect.objectContaining({ name: "PatternError", at, message: expect.stringContaining(words) }),
    );
  });

  it("has no other error for any text", () => {
    const pieces = fc.constantFrom(...Array.from("ab(|)[]^$*+?{}0,1-\\dx.:!<"));
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        let found: unknown;
        try {
          found = matches(parts.join(""), "abab01");
        } catch (error) {
          found = error;
        }
        expect(typeof found === "boolean" || found instanceof PatternError).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
