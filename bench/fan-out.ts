import { systemClock } from "../base/clock.ts";
import { type BenchCluster, SLOTS, withCpu, withWarmCluster } from "./cluster.ts";
import { journal } from "./journal.ts";
import { type Bench, counted, now } from "./measure.ts";
import { fanOut, itemsOf } from "./workflows.ts";

const ITERATIONS = 10_000;
const DEADLINE_MS = 60_000;
const SAMPLE_MS = 100;

/** 10,000 iterations of one step: that they end, how long they take, and what they hold meanwhile. */
export const wideFanOut: Bench = {
  figures: [
    {
      key: "fan-out",
      what: "10,000-way forEach of no-ops",
      unit: "ms",
      goal: 3000,
      stretch: 1500,
      better: "less",
      floor: "fan-out-floor",
    },
    { key: "fan-out-floor", what: `· floor: as many durable writes, ${SLOTS} at a time`, unit: "ms", better: "less" },
    {
      key: "fan-out-heap",
      what: "· heap growth at its highest, uncollected garbage included",
      unit: "MiB",
      goal: 100,
      better: "less",
    },
    { key: "fan-out-resident", what: "· RSS growth at its highest", unit: "MiB", better: "less" },
    { key: "fan-out-cpu-cluster", what: "· CPU per step of the cluster", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    const count = counted(ITERATIONS, scale);
    for (let round = 0; round < rounds; round += 1) {
      const floor = await journal({ writes: 1, count, width: SLOTS, mostMs: 10_000 });
      yield await withWarmCluster(scale, async (cluster) => {
        const { client } = cluster;
        await client.register(fanOut);
        await client.execute(fanOut, itemsOf(counted(300, scale)), { deadlineMs: DEADLINE_MS });
        const before = await held(cluster);
        const ended = new AbortController();
        const peak = highest(cluster, ended.signal);
        const startedAt = now();
        const { per } = await withCpu(
          cluster,
          () => client.execute(fanOut, itemsOf(count), { deadlineMs: DEADLINE_MS }).finally(() => ended.abort()),
          () => count,
        );
        const tookMs = now() - startedAt;
        const { heap, resident } = await peak;
        return {
          "fan-out": tookMs,
          "fan-out-floor": (1000 * count) / floor.perSecond,
          "fan-out-heap": heap - before.heap,
          "fan-out-resident": resident - before.resident,
          "fan-out-cpu-cluster": per.cluster,
        };
      });
    }
  },
};

type Held = { heap: number; resident: number };

/** In MiB. */
async function held(cluster: BenchCluster): Promise<Held> {
  const metric = await cluster.metrics();
  return { heap: metric("nodejs_heap_size_used_bytes") / 1024 ** 2, resident: cluster.residentMiB().cluster };
}

async function highest(cluster: BenchCluster, until: AbortSignal): Promise<Held> {
  let peak: Held = { heap: 0, resident: 0 };
  for (;;) {
    const { heap, resident } = await held(cluster);
    peak = { heap: Math.max(peak.heap, heap), resident: Math.max(peak.resident, resident) };
    if (until.aborted) return peak;
    await systemClock.sleep(SAMPLE_MS);
  }
}
