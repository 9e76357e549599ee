import { SLOTS, withCpu, withWarmCluster } from "./cluster.ts";
import { journal } from "./journal.ts";
import { type Bench, counted, now } from "./measure.ts";
import { randomGraph } from "./workflows.ts";

const STEPS = 1_000;
const SEED = 20_261_120;
const DEADLINE_MS = 60_000;
/** Executions of one round: one alone is half a second. */
const EXECUTIONS = 3;

/** No-op steps whose order is a random graph, the same in every run: all of the time is overhead. */
export const graph: Bench = {
  figures: [
    {
      key: "graph",
      what: "1,000-step random graph, overhead per step",
      unit: "ms",
      goal: 0.5,
      stretch: 0.3,
      better: "less",
      floor: "graph-floor",
    },
    { key: "graph-floor", what: `· floor: one durable write per step, ${SLOTS} at a time`, unit: "ms", better: "less" },
    { key: "graph-cpu", what: "· CPU per step, all processes", unit: "ms", better: "less" },
    { key: "graph-cpu-cluster", what: "· of the cluster", unit: "ms", better: "less" },
    { key: "graph-register", what: "· registering the definition", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    const steps = counted(STEPS, scale);
    const workflow = randomGraph(steps, SEED);
    for (let round = 0; round < rounds; round += 1) {
      const floor = await journal({ writes: 1, count: steps * EXECUTIONS, width: SLOTS, mostMs: 10_000 });
      yield await withWarmCluster(scale, async ({ client, ...cluster }) => {
        const registeredAt = now();
        await client.register(workflow);
        const registerMs = now() - registeredAt;
        const one = (): Promise<unknown> => client.execute(workflow, {}, { deadlineMs: DEADLINE_MS });
        await one();
        const startedAt = now();
        const all = async (): Promise<void> => {
          for (let execution = 0; execution < EXECUTIONS; execution += 1) await one();
        };
        const { per } = await withCpu({ client, ...cluster }, all, () => EXECUTIONS * steps);
        return {
          graph: (now() - startedAt) / EXECUTIONS / steps,
          "graph-floor": 1000 / floor.perSecond,
          "graph-cpu": per.client + per.cluster + per.workers,
          "graph-cpu-cluster": per.cluster,
          "graph-register": registerMs,
        };
      });
    }
  },
};
