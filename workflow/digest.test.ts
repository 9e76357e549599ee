import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, sha256Of } from "./digest.ts";
import type { Json } from "./json.ts";

describe("canonical JSON", () => {
  it("sorts keys at every depth and keeps the order of lists", () => {
    expect(canonicalJson({ b: [{ d: 1, c: 2 }, 3], a: null })).toBe('{"a":null,"b":[{"c":2,"d":1},3]}');
    expect(canonicalJson(["b", "a"])).not.toBe(canonicalJson(["a", "b"]));
  });

  it("reads back as the same data, and the same data gives the same text", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const data = JSON.parse(JSON.stringify(value)) as Json;
        const text = canonicalJson(data);
        expect(JSON.parse(text)).toEqual(data);
        expect(canonicalJson(JSON.parse(text) as Json)).toBe(text);
      }),
    );
  });

  it("of what nests too deep is TOO_LARGE, not the end of the stack", () => {
    let deep: Json = 1;
    for (let level = 0; level < 100_000; level++) deep = { deep };
    expect(() => sha256Of(deep)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
  });

  it("digests to a known value", () => {
    // printf '{"a":1}' | sha256sum
    expect(sha256Of({ a: 1 })).toBe("sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
  });
});
