import { describe, expect, it } from "vitest";
import { expand } from "./expand.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { run } from "./scenario.fixture.ts";

const scope = { input: {}, steps: {}, execution: {} };
const over = (forEach: Json[] | string): Json[] | undefined => expand(run({ forEach })("s"), scope);
const refusal = (code: string, message: string) => expect.objectContaining({ code, message });
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

function product(
  axes: Record<string, Json[]>,
  exclude: Record<string, Json>[] = [],
  include: Record<string, Json>[] = [],
) {
  return expand(run({ matrix: { axes, exclude, include } })("s"), scope);
}

describe("forEach", () => {
  it("takes as many items as a step may have, and not one more", () => {
    expect(over(numbers(LIMITS.iterations))).toHaveLength(10_000);
    expect(() => over(numbers(LIMITS.iterations + 1))).toThrow(
      refusal("TOO_LARGE", "10001 iterations are more than the 10000 that a step may have"),
    );
  });

  it("takes half a commit of items, and not one byte more", () => {
    const bytes = LIMITS.commitBytes / 2;
    expect(over(["x".repeat(bytes - 4)])).toHaveLength(1);
    expect(() => over(["x".repeat(bytes - 3)])).toThrow(
      refusal("TOO_LARGE", `the items are ${bytes + 1} bytes long, at most ${bytes} are kept`),
    );
  });

  it("says what it got instead of a list, cut after 80 characters", () => {
    expect(() => over("1 + 1")).toThrow(refusal("INVALID_EXPRESSION", "forEach needs a list and got 2"));
    const long = `"${"x".repeat(100)}"`;
    expect(() => over(long)).toThrow(
      refusal("INVALID_EXPRESSION", `forEach needs a list and got ${long.slice(0, 80)}`),
    );
  });
});

describe("matrix", () => {
  it("is refused by its size before it is built, whatever `exclude` would leave", () => {
    const axes = { a: numbers(101), b: numbers(100) };
    expect(() => product(axes, [{ a: 100 }])).toThrow(
      refusal("TOO_LARGE", "10100 iterations are more than the 10000 that a step may have"),
    );
    expect(product({ a: numbers(100), b: numbers(100) })).toHaveLength(10_000);
  });

  it("drops what any of the excluded patterns matches", () => {
    expect(product({ a: [1, 2, 3] }, [{ a: 1 }, { a: 3 }])).toEqual([{ a: 2 }]);
  });

  it("without axes is what it includes", () => {
    expect(product({}, [], [{ os: "bsd" }])).toEqual([{ os: "bsd" }]);
  });

  it("names the axis that is no list", () => {
    const step = run({ matrix: { axes: { os: "input" }, exclude: [], include: [] } })("s");
    expect(() => expand(step, scope)).toThrow(refusal("INVALID_EXPRESSION", "os needs a list and got {}"));
  });
});
