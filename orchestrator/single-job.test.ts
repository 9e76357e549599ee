import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../workflow/limits.ts";
import { shellQuoted, singleJob } from "./single-job.ts";

const request = (command: string[]) => ({ id: "one", command, env: {}, labels: {} });

describe("a single job", () => {
  it("passes every word to the command as it was given, whatever it holds", () => {
    const word = fc.oneof(
      fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0")),
      fc.constantFrom("", "it's", "a b", "$HOME", "`id`", "${{ input.x }}", "'${{'", "*", "\\", "a\nb", "-n", "~"),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (words) => {
        const script = `exec ${["printf", "%s\\0", ...words].map(shellQuoted).join(" ")}`;
        const ran = spawnSync("sh", ["-c", script], { encoding: "utf8" });
        expect(ran.stdout).toBe(words.length === 0 ? "\0" : words.map((one) => `${one}\0`).join(""));
      }),
      { numRuns: 50 },
    );
  });

  it("takes a word that looks like an expression, which a script may not hold", () => {
    const { closure } = singleJob(request(["echo", "${{ input.who }}"]));
    expect(closure.definition.steps["job"]).toMatchObject({ kind: "run" });
    expect(Object.keys(closure.definitions)).toEqual([closure.digest]);
  });

  it("is one definition for equal commands, whatever the values of the environment", () => {
    const of = (value: string) => singleJob({ ...request(["env"]), env: { WHO: value } }).closure.digest;
    expect(of("sea")).toBe(of("sky"));
  });

  it("refuses a command beyond the bound of a script", () => {
    const long = "x".repeat(LIMITS.scriptBytes);
    expect(() => singleJob(request(["echo", long]))).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
  });
});
