import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, ROOT, run } from "./harness.ts";

afterEach(cleanUp);

const bench = (...args: string[]) => run(process.execPath, [join(ROOT, "bench/main.ts"), ...args]);

describe("the benchmark", () => {
  it("prints one JSON line per number, with the floor and the ratio to it", async () => {
    const { code, stdout } = await bench("embedded", "--only", "three-step", "--scale", "0.005");
    expect(code).toBe(0);
    const lines = stdout.trim().split("\n");
    expect(lines).toHaveLength(1);
    const result = JSON.parse(lines[0] ?? "") as { value: number; floor: number; ratio: number };
    expect(result).toMatchObject({ bench: "three-step", unit: "workflows/s", count: 30, inFlight: 64 });
    expect(result.value).toBeGreaterThan(0);
    expect(result.ratio).toBeCloseTo(result.value / result.floor, 2);
  });

  it("says which benches there are, when asked for one that is not", async () => {
    const { code, stderr } = await bench("embedded", "--only", "nothing");
    expect(code).toBe(2);
    expect(stderr).toContain("there is no bench nothing");
    expect(stderr).toContain("floor|three-step|one-step|for-each|fan-out|cold-start");
  });
});
