import type { Violation } from "./run.ts";
import { runSeed } from "./world.ts";

/** What one seed gave, without its trace: small enough to cross threads. */
export type Outcome = {
  seed: number;
  violations: Violation[];
  faults: [string, number][];
  events: number;
  cpuMs: number;
};

/** Every so many seeds one is run twice, to see that its seed alone decides everything. */
const TWICE_EVERY = 50;

export async function runOne(seed: number): Promise<Outcome> {
  const { violations, faults, events, cpuMs } = await measured(seed);
  if (seed % TWICE_EVERY === 0) {
    const [once, again] = [(await runSeed(seed)).hash(), (await runSeed(seed)).hash()];
    const words = `two runs of the same seed gave the traces ${once} and ${again}`;
    if (once !== again) violations.push({ invariant: "the seed decides everything", words });
  }
  return { seed, violations, faults, events, cpuMs };
}

async function measured(seed: number): Promise<Omit<Outcome, "seed">> {
  const before = process.cpuUsage();
  const { violations, faults, events } = await runSeed(seed);
  const { user, system } = process.cpuUsage(before);
  return { violations, faults: [...faults], events, cpuMs: (user + system) / 1000 };
}
