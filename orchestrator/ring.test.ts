import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assignShards, LOAD_CAP } from "./ring.ts";

const SHARDS = 2048;

const counts = (assigned: readonly string[]): Map<string, number> => {
  const load = new Map<string, number>();
  for (const engine of assigned) load.set(engine, (load.get(engine) ?? 0) + 1);
  return load;
};
const moved = (before: readonly string[], after: readonly string[]): number =>
  before.filter((engine, shard) => engine !== after[shard]).length / before.length;

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `engine-${index}`);

describe("the ring", () => {
  it("keeps the heaviest engine within the cap and gives every shard an engine, for 3 to 50 engines", () => {
    for (let count = 3; count <= 50; count++) {
      const assigned = assignShards(numbered(count), SHARDS, "consistent-hash");
      const load = counts(assigned);
      expect(assigned).toHaveLength(SHARDS);
      expect(load.size).toBe(count);
      expect(Math.max(...load.values())).toBeLessThanOrEqual((LOAD_CAP * SHARDS) / count);
    }
  });

  it("moves at most 1.5/n of the shards when one engine comes or goes, for 3 to 50 engines", () => {
    for (let count = 3; count <= 50; count++) {
      const before = assignShards(numbered(count), SHARDS, "consistent-hash");
      const joined = assignShards(numbered(count + 1), SHARDS, "consistent-hash");
      expect(moved(before, joined), `${count} → ${count + 1}`).toBeLessThanOrEqual(1.5 / count);
    }
  });

  it("depends on the set of names alone, not on their order or repetition", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,20}$/), { minLength: 1 }), (names) => {
        const assigned = assignShards(names, 256, "consistent-hash");
        expect(assignShards([...names.toReversed(), ...names], 256, "consistent-hash")).toEqual(assigned);
        expect(assigned.every((name) => names.includes(name))).toBe(true);
        const cap = Math.max(Math.floor((LOAD_CAP * 256) / names.length), Math.ceil(256 / names.length));
        expect(Math.max(...counts(assigned).values())).toBeLessThanOrEqual(cap);
      }),
      { numRuns: 30 },
    );
  });

  it("round-robin spreads within one shard of the mean", () => {
    const load = counts(assignShards(numbered(7), SHARDS, "round-robin"));
    expect(Math.max(...load.values()) - Math.min(...load.values())).toBeLessThanOrEqual(1);
  });

  it("assigns nothing without engines and everything to a single one", () => {
    expect(assignShards([], SHARDS, "consistent-hash")).toEqual([]);
    expect(new Set(assignShards(["only"], SHARDS, "consistent-hash"))).toEqual(new Set(["only"]));
  });
});
