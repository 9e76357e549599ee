import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, ROOT, run } from "./harness.ts";

afterEach(cleanUp);

const bench = (...args: string[]) => run(process.execPath, [join(ROOT, "bench/main.ts"), ...args]);

describe("the benchmark", () => {
  it("prints one JSON line per figure; those with a floor say the ratio to it", async () => {
    const args = ["--only", "three-step", "--scale", "0.005", "--rounds", "1", "-o", "json"];
    const { code, stdout } = await bench("embedded", ...args);
    expect(code).toBe(0);
    const figures = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const rate = figures.find(({ what }) => what === "3-step no-op workflow, 64 in flight");
    expect(rate).toMatchObject({ bench: "three-step", unit: "/s", goal: 2000, stretch: 3500 });
    expect(rate?.["value"]).toBeGreaterThan(0);
    expect(rate?.["ratio"]).toBeGreaterThan(0);
  });

  it("says which benches there are, when asked for one that is not", async () => {
    const { code, stderr } = await bench("embedded", "--only", "nothing");
    expect(code).toBe(2);
    expect(stderr).toContain("there is no bench nothing");
    expect(stderr).toContain("benches: three-step, one-step, for-each, fan-out, graph, history, cold-start, finished");
  });
});
