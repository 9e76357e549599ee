import { withCpu, withWarmCluster } from "./cluster.ts";
import { journal, writesOf } from "./journal.ts";
import { type Bench, counted, inFlight, percentile } from "./measure.ts";
import { oneStep } from "./workflows.ts";

/** One after the other: what a person or a request waits for. */
export const oneStepAlone: Bench = {
  figures: [
    {
      key: "one-step-p50",
      what: "one-step start → result, one at a time, p50",
      unit: "ms",
      goal: 1.5,
      stretch: 0.8,
      better: "less",
      floor: "one-step-p50-floor",
    },
    {
      key: "one-step-p99",
      what: "one-step start → result, one at a time, p99",
      unit: "ms",
      goal: 5,
      stretch: 3,
      better: "less",
      floor: "one-step-p99-floor",
    },
    { key: "one-step-p50-floor", what: "· floor: three durable writes in a row, p50", unit: "ms", better: "less" },
    { key: "one-step-p99-floor", what: "· floor: three durable writes in a row, p99", unit: "ms", better: "less" },
    {
      key: "one-step-read",
      what: "· one read through the same door (two such calls are in it), p50",
      unit: "ms",
      better: "less",
    },
    { key: "one-step-cpu", what: "· CPU each, all processes", unit: "ms", better: "less" },
    { key: "one-step-cpu-cluster", what: "· of the cluster", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    for (let round = 0; round < rounds; round += 1) {
      const alone = { count: counted(1_500, scale), width: 1, mostMs: 5_000 };
      const floor = await journal({ writes: writesOf(1), ...alone });
      yield await withWarmCluster(scale, async (cluster) => {
        const one = (): Promise<unknown> => cluster.client.execute(oneStep, {});
        const read = (): Promise<unknown> => cluster.client.list({ limit: 1 });
        await inFlight({ ...alone, count: counted(200, scale) }, one);
        const reads = await inFlight({ ...alone, count: counted(500, scale) }, read);
        const { result, per } = await withCpu(
          cluster,
          () => inFlight(alone, one),
          ({ count }) => count,
        );
        return {
          "one-step-p50": percentile(result.durationsMs, 0.5),
          "one-step-p99": percentile(result.durationsMs, 0.99),
          "one-step-p50-floor": percentile(floor.durationsMs, 0.5),
          "one-step-p99-floor": percentile(floor.durationsMs, 0.99),
          "one-step-read": percentile(reads.durationsMs, 0.5),
          "one-step-cpu": per.client + per.cluster + per.workers,
          "one-step-cpu-cluster": per.cluster,
        };
      });
    }
  },
};
