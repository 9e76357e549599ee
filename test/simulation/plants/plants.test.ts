import { describe, expect, it } from "vitest";
import { PLANTED_BUGS } from "./all.ts";
import { catchBug } from "./catch.ts";

const ENOUGH_SEEDS = 1_000;

describe("a planted bug is seen", () => {
  it.each(PLANTED_BUGS.map((plant) => [plant.name, plant] as const))("%s", { timeout: 300_000 }, async (_, plant) => {
    expect(await catchBug(plant, { start: 1, seeds: ENOUGH_SEEDS })).toBeDefined();
  });
});
