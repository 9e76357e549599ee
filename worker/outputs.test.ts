import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HodeiError } from "../workflow/errors.ts";
import { parseOutputs } from "./outputs.ts";

describe("parseOutputs", () => {
  it("reads both forms; later values win; blank lines and CRLF do not matter", () => {
    expect(parseOutputs("a=1\r\n\nb<<E\nx=1\n\ny\nE\na=2\nc=")).toEqual({ a: "2", b: "x=1\n\ny", c: "" });
    expect(parseOutputs("a=b<<c\n")).toEqual({ a: "b<<c" });
    expect(parseOutputs("e<<E\nE\n")).toEqual({ e: "" });
    expect(parseOutputs("constructor=1\n__proto__=2\n")["constructor"]).toBe("1");
    expect(parseOutputs("")).toEqual({});
  });

  it.each([
    ["a=1\nnonsense", 2, "expected name=value"],
    ["=1", 1, "no output name"],
    ["a b=1", 1, "no output name"],
    ["\nv<<\nx", 2, "needs a word"],
    ["v<<END\nx\n", 1, "never ends"],
  ])("names the line of %j", (text, line, words) => {
    const error = (() => {
      try {
        return parseOutputs(text);
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(HodeiError);
    expect((error as HodeiError).message).toContain(`line ${line} of $HODEI_OUTPUT`);
    expect((error as HodeiError).message).toContain(words);
    expect((error as HodeiError).violations[0]?.line).toBe(line);
  });

  it("refuses more than the bound", () => {
    expect(() => parseOutputs(`a=${"x".repeat(70_000)}`)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
  });

  it("gives back what was written, or says what is wrong", () => {
    const entry = fc.tuple(fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/), fc.string());
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
        const lines = entries.map(([name, value]) => [name, value.replaceAll(/[\r\n]/g, " ")] as const);
        const heredocs = lines.map(([name, value]) => `${name}<<_END_OF_IT_\n${value}\n_END_OF_IT_\n`).join("");
        expect(parseOutputs(heredocs)).toEqual(Object.fromEntries(lines));
        const plain = lines.map(([name, value]) => `${name}=${value}\n`).join("");
        expect(parseOutputs(plain)).toEqual(Object.fromEntries(lines));
      }),
    );
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        try {
          parseOutputs(text);
        } catch (error) {
          if (!(error instanceof HodeiError)) throw error;
        }
      }),
    );
  });
});
