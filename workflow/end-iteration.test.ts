import { describe, expect, it } from "vitest";
import { reasonOf, tooLarge } from "./end-iteration.ts";
import { HodeiError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

describe("what a rule threw", () => {
  it("is a failure of the step when it is about the definition or its data", () => {
    expect(reasonOf(new HodeiError("TOO_LARGE", "long"))).toEqual({
      code: "TOO_LARGE",
      message: "long",
      class: "config",
    });
    expect(reasonOf(new HodeiError("WORKSPACE_LOST", "gone")).class).toBe("infrastructure");
  });

  it("goes on when it is a defect of ours", () => {
    for (const defect of [new HodeiError("INTERNAL", "a bug"), new TypeError("a bug")]) {
      expect(() => reasonOf(defect)).toThrow(defect);
    }
  });
});

it("outputs may be as large as the bound", () => {
  expect(tooLarge({ v: "x".repeat(LIMITS.outputBytes - 8) })).toBeUndefined();
  expect(tooLarge({ v: "x".repeat(LIMITS.outputBytes - 7) })?.message).toBe(
    "the outputs are 65537 bytes long, at most 65536 are kept",
  );
});
