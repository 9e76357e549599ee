import { describe, expect, it } from "vitest";
import { runOne } from "./batch.ts";
import { corpusSeeds } from "./corpus.ts";
import { FAULT_KINDS } from "./nemesis.ts";
import { runSeed } from "./world.ts";

const SEEDS = 500;
const START = 1;

describe("the simulator", () => {
  it("gives the same trace for the same seed, and another for another", async () => {
    const [once, again, other] = [await runSeed(1), await runSeed(1), await runSeed(2)];
    expect(again.hash()).toBe(once.hash());
    expect(other.hash()).not.toBe(once.hash());
  });
});

describe("simulated lives of a cluster", () => {
  it(`${SEEDS} seeds hold every invariant, and every kind of fault acts`, { timeout: 300_000 }, async () => {
    const acted = new Set<string>();
    const failed: string[] = [];
    for (let seed = START; seed < START + SEEDS; seed++) {
      const { violations, faults } = await runOne(seed);
      for (const [fault] of faults) acted.add(fault);
      for (const { invariant, words } of violations) failed.push(`seed ${seed}: ${invariant}: ${words}`);
    }
    expect(failed).toEqual([]);
    expect([...acted].toSorted()).toEqual([...FAULT_KINDS].toSorted());
  });

  it("so do the seeds that have failed once", { timeout: 300_000 }, async () => {
    const failed: string[] = [];
    for (const { seed } of corpusSeeds()) {
      const { violations } = await runOne(seed);
      for (const { invariant, words } of violations) failed.push(`seed ${seed}: ${invariant}: ${words}`);
    }
    expect(failed).toEqual([]);
  });
});
