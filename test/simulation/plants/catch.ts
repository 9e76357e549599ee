import type { Plant, Violation } from "../run.ts";
import { runSeed } from "../world.ts";

/** The first seed that sees the bug, and what it saw. `seeds` is how many were run. */
export type Caught = { seed: number; seeds: number; violation: Violation };

/** Runs seeds from `start` on until one sees the bug, and nothing without it; undefined when none of `seeds` does. */
export async function catchBug(
  plant: Plant,
  { start, seeds }: { start: number; seeds: number },
): Promise<Caught | undefined> {
  for (let seed = start; seed < start + seeds; seed++) {
    const [violation] = (await runSeed(seed, { plant })).violations;
    // A bug that is there without the planted one is no proof.
    if (violation && (await runSeed(seed)).violations.length === 0) return { seed, seeds: seed - start + 1, violation };
  }
  return undefined;
}
