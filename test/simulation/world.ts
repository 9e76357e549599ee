import { Cluster } from "./cluster.ts";
import { namedRandom } from "./random.ts";
import type { Check, Finished, MakeWorkload, Plant, Violation } from "./run.ts";
import { drawShape, type Shape } from "./shape.ts";
import { hashOf, type TraceEvent } from "./trace.ts";
import { makeWorkload } from "./workload/workload.ts";

export type SeedOptions = {
  workload?: MakeWorkload;
  check?: Check;
  plant?: Plant;
  shape?: Partial<Shape>;
  /** No fault at all. */
  faultless?: boolean;
};

export type SeedResult = {
  seed: number;
  trace: TraceEvent[];
  violations: Violation[];
  /** For the story: what the seed made. */
  words: readonly string[];
  /** How often each fault has really acted. */
  faults: ReadonlyMap<string, number>;
  events: number;
  virtualMs: number;
  /** Of the trace. */
  hash(): string;
};

/** After the faults everything must have come to its end within so long. */
const REST_MS = 20 * 60_000;

/** One life of one simulated cluster. The same seed and options give the same trace, event by event. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedResult> {
  const workload = (options.workload ?? makeWorkload)(namedRandom(seed, "workload"));
  const shape = { ...drawShape(namedRandom(seed, "shape")), ...options.shape };
  const cluster = new Cluster({ seed, shape, workload, plant: options.plant });
  const violations: Violation[] = [];
  const unhandled = (error: unknown): void => void violations.push(broken("nothing is thrown at nobody", error));
  process.on("unhandledRejection", unhandled);
  try {
    cluster.boot();
    const atRest = await letRun(cluster, workload.run(cluster.clientSite()), violations);
    const run: Finished = {
      seed,
      trace: cluster.trace,
      store: cluster.bareStore.store,
      shards: shape.shards,
      healedAt: 0,
      atRest,
    };
    if (!atRest) violations.push({ invariant: "everything comes to its end", words: "the clients had not" });
    if (options.check) violations.push(...(await options.check(run)));
  } finally {
    process.off("unhandledRejection", unhandled);
  }
  return {
    seed,
    trace: cluster.trace,
    violations,
    words: workload.words,
    faults: cluster.faultCounts,
    events: cluster.timeline.ran,
    virtualMs: cluster.timeline.nowMs,
    hash: () => hashOf(cluster.trace),
  };
}

async function letRun(cluster: Cluster, clients: Promise<void>, violations: Violation[]): Promise<boolean> {
  let over = false;
  void clients.then(
    () => (over = true),
    (error: unknown) => {
      violations.push(broken("clients come to their end", error));
      over = true;
    },
  );
  await cluster.timeline.run(REST_MS, () => over);
  return over;
}

function broken(invariant: string, error: unknown): Violation {
  return { invariant, words: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
