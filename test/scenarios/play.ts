import type { Plant, Workload } from "../simulation/run.ts";
import { runSeed, type SeedResult } from "../simulation/world.ts";
import { Hands } from "./hands.ts";
import { ScenarioError } from "./language.ts";
import type { Scenario } from "./scenario.ts";
import { Stage } from "./stage.ts";

/** Any seed will do: it decides latencies and ids alone. */
const SEED = 1;

/**
 * Plays the scenario on the simulated cluster, then lets everything heal and come to its end. Throws ScenarioError at the
 * first sentence that does not hold; what the history checker finds is in the result.
 */
export async function play(
  scenario: Scenario,
  { plant, seed = SEED }: { plant?: Plant; seed?: number } = {},
): Promise<SeedResult> {
  const hands = new Hands(scenario.handlers);
  const told = Promise.withResolvers<void>();
  const site = Promise.withResolvers<Parameters<Workload["run"]>[0]>();
  const workload: Workload = {
    words: [scenario.sentence],
    handlers: (worker) => hands.of(worker),
    run: async (clients) => {
      site.resolve(clients);
      await told.promise;
    },
  };
  return await runSeed(seed, {
    workload: () => workload,
    shape: { ...scenario.shape, fleet: undefined },
    ...(plant === undefined ? {} : { plant }),
    script: async (scripted) => {
      const stage = new Stage({ scripted, site: await site.promise, hands });
      await stage.ready();
      for (const { line, act } of scenario.sentences) await tell(scenario, line, () => act(stage));
      const [unused] = stage.unused();
      if (unused !== undefined)
        throw new ScenarioError(scenario.file, 1, `it announces a fault that never came: ${unused}`);
      void stage.end().then(told.resolve, told.reject);
    },
  });
}

async function tell({ file }: Scenario, line: number, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    throw new ScenarioError(file, line, error instanceof Error ? error.message : String(error));
  }
}
