import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "./duration.ts";
import { isHodeiError } from "./errors.ts";

function outcomeOf(text: string | number): string {
  try {
    return Number.isSafeInteger(parseDuration(text)) ? "whole ms" : "a fraction";
  } catch (error) {
    if (isHodeiError(error)) return error.code;
    throw error;
  }
}

describe("durations", () => {
  it.each([
    ["500ms", 500],
    ["90s", 90_000],
    ["1h30m", 5_400_000],
    ["1.5h", 5_400_000],
    ["2d", 172_800_000],
    ["1w", 604_800_000],
    ["0s", 0],
    ["90", 90_000],
    [" 5m ", 300_000],
    [90, 90_000],
    [0.25, 250],
  ])("%j is %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "m", "5x", "-5s", "1h 30m", "30m1h", "1h1h", "1e3s", "5 m", ".5h", "Infinity", "9".repeat(70)])(
    "%j is no duration",
    (text) => {
      expect(() => parseDuration(text)).toThrow(/is not a duration/);
    },
  );

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY])("the number %d is refused", (number) => {
    expect(() => parseDuration(number)).toThrow(/is not a duration/);
  });

  it("more than ten years is refused, ten years is not", () => {
    expect(parseDuration("3650d")).toBe(MAX_DURATION_MS);
    expect(() => parseDuration("3651d")).toThrow(/longer than ten years/);
  });

  it("what is formatted reads back as the same ms", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  it("any text gives whole ms or INVALID_ARGUMENT", () => {
    const nearly = fc.stringMatching(/^[0-9.wdhms ]{0,12}$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearly, fc.double()), (text) => {
        expect(outcomeOf(text)).toMatch(/^(?:whole ms|INVALID_ARGUMENT)$/);
      }),
    );
  });
});
