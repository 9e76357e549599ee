import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Masker, secretsOf } from "./mask.ts";

function masked(secrets: string[], chunks: string[]): string {
  const masker = new Masker(secrets);
  const shown = chunks.map((chunk) => masker.push(Buffer.from(chunk)));
  return Buffer.concat([...shown, masker.end()]).toString();
}

describe("Masker", () => {
  it("hides secrets within a chunk, across chunks, and the longer of two that begin alike", () => {
    expect(masked(["hunter22"], ["a hunter22 b hun", "ter2", "2 c hunt"])).toBe("a *** b *** c hunt");
    expect(masked(["abcd", "abcdef"], ["x abcdef y abcd z"])).toBe("x *** y *** z");
  });

  it("hides the lines of a secret of many lines, and leaves very short ones", () => {
    expect(masked(["-----BEGIN\nsecretbody\n--END"], ["key: secretbody."])).toBe("key: ***.");
    expect(masked(["no"], ["now"])).toBe("now");
  });

  it("never shows a secret, and changes nothing else, however the text is cut", () => {
    const text = fc.array(fc.constantFrom("s3cret", "s3c", "ret", "s", "\n", "x", "s3crets3cret"), { maxLength: 30 });
    fc.assert(
      fc.property(text, fc.array(fc.nat(8), { maxLength: 60 }), (words, cuts) => {
        const whole = words.join("");
        const chunks: string[] = [];
        let from = 0;
        for (const length of cuts) {
          chunks.push(whole.slice(from, from + length));
          from += length;
        }
        chunks.push(whole.slice(from));
        expect(masked(["s3cret"], chunks)).toBe(whole.replaceAll("s3cret", "***"));
      }),
    );
  });

  it("takes secrets from names that look so", () => {
    const env = {
      A_TOKEN: "1",
      DB_PASSWORD: "2",
      my_secret: "3",
      API_KEY: "4",
      TOKEN: "5",
      KEYBOARD: "6",
      TOKENS: "7",
    };
    expect(secretsOf(env, ["given"]).toSorted()).toEqual(["1", "2", "3", "4", "5", "given"]);
  });
});
