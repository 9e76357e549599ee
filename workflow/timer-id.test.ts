import { expect, it } from "vitest";
import { iterationTimer, parseTimer, stepGraceTimer } from "./timer-id.ts";

it("an id of a timer reads back", () => {
  expect(parseTimer("execution")).toStrictEqual({ kind: "execution" });
  expect(parseTimer("grace")).toStrictEqual({ kind: "grace" });
  expect(parseTimer(stepGraceTimer("a"))).toStrictEqual({ kind: "grace", step: "a" });
  for (const kind of ["queue", "retry", "sleep", "total"] as const) {
    expect(parseTimer(iterationTimer(kind, "a", "3.1"))).toStrictEqual({ kind, step: "a", iteration: "3.1" });
    expect(parseTimer(`${kind}/a`)).toBeUndefined();
    expect(parseTimer(kind)).toBeUndefined();
  }
  expect(parseTimer("later/a/0")).toBeUndefined();
});
