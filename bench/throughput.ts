import { cpus } from "node:os";
import { type Cpu, WORKERS, withCpu, withWarmCluster, SLOTS } from "./cluster.ts";
import { journal, writesOf } from "./journal.ts";
import { type Bench, counted, inFlight, percentile } from "./measure.ts";
import { fanOut, itemsOf, threeSteps } from "./workflows.ts";

const WIDTH = 64;

/**
 * The bound that CPU sets, were nothing ever waited for: all cores share all of the work, and the cluster's part of it is
 * one event loop, so one core.
 */
const mostPerSecond = ({ client, cluster, workers }: Cpu): number =>
  Math.min((cpus().length * 1000) / (client + cluster + workers), 1000 / cluster);

/** 3-step no-op workflows, 64 in flight, start and wait, next to the bare journal. */
export const threeStep: Bench = {
  figures: [
    {
      key: "three-step",
      what: "3-step no-op workflow, 64 in flight",
      unit: "/s",
      goal: 2000,
      stretch: 3500,
      better: "more",
      floor: "three-step-floor",
    },
    { key: "three-step-floor", what: "· floor: five durable writes each, nothing around", unit: "/s", better: "more" },
    { key: "three-step-p50", what: "· start → result, p50", unit: "ms", better: "less" },
    { key: "three-step-p99", what: "· start → result, p99", unit: "ms", better: "less" },
    {
      key: "three-step-cpu",
      what: "· CPU per workflow, all processes",
      unit: "ms",
      better: "less",
      floor: "three-step-cpu-floor",
    },
    {
      key: "three-step-most",
      what: "· what that CPU allows: all cores, one of them for the cluster",
      unit: "/s",
      better: "more",
    },
    {
      key: "three-step-cpu-cluster",
      what: "· of the cluster",
      unit: "ms",
      better: "less",
      floor: "three-step-cpu-floor",
    },
    { key: "three-step-cpu-client", what: "· of the client", unit: "ms", better: "less" },
    { key: "three-step-cpu-workers", what: `· of the ${WORKERS} workers`, unit: "ms", better: "less" },
    { key: "three-step-cpu-floor", what: "· of the floor", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    for (let round = 0; round < rounds; round += 1) {
      const floor = await journal({ writes: writesOf(3), count: counted(10_000, scale), width: WIDTH, mostMs: 4_000 });
      yield await withWarmCluster(scale, async (cluster) => {
        await cluster.client.register(threeSteps);
        const one = (): Promise<unknown> => cluster.client.execute(threeSteps, {});
        await inFlight({ count: counted(500, scale), width: WIDTH, mostMs: 2_000 }, one);
        const { result, per } = await withCpu(
          cluster,
          () => inFlight({ count: counted(6_000, scale), width: WIDTH, mostMs: 8_000 }, one),
          ({ count }) => count,
        );
        return {
          "three-step": result.perSecond,
          "three-step-floor": floor.perSecond,
          "three-step-p50": percentile(result.durationsMs, 0.5),
          "three-step-p99": percentile(result.durationsMs, 0.99),
          "three-step-cpu": per.client + per.cluster + per.workers,
          "three-step-most": mostPerSecond(per),
          "three-step-cpu-cluster": per.cluster,
          "three-step-cpu-client": per.client,
          "three-step-cpu-workers": per.workers,
          "three-step-cpu-floor": floor.cpuMsEach,
        };
      });
    }
  },
};

const EXECUTIONS = 16;
const DEADLINE_MS = 60_000;

/** Steps of 16 forEach executions side by side. */
export const forEach: Bench = {
  figures: [
    {
      key: "for-each",
      what: `no-op steps of ${EXECUTIONS} forEach executions, ${WORKERS} workers`,
      unit: "steps/s",
      goal: 8000,
      stretch: 12_000,
      better: "more",
      floor: "for-each-floor",
    },
    {
      key: "for-each-floor",
      what: `· floor: one durable write each, ${SLOTS} at a time (as many as the workers run)`,
      unit: "/s",
      better: "more",
    },
    {
      key: "for-each-cpu",
      what: "· CPU per step, all processes",
      unit: "ms",
      better: "less",
      floor: "for-each-cpu-floor",
    },
    { key: "for-each-cpu-cluster", what: "· of the cluster", unit: "ms", better: "less", floor: "for-each-cpu-floor" },
    { key: "for-each-cpu-workers", what: `· of the ${WORKERS} workers`, unit: "ms", better: "less" },
    { key: "for-each-cpu-floor", what: "· of the floor", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    const each = counted(1_500, scale);
    for (let round = 0; round < rounds; round += 1) {
      const floor = await journal({ writes: 1, count: counted(20_000, scale), width: SLOTS, mostMs: 4_000 });
      yield await withWarmCluster(scale, async (cluster) => {
        await cluster.client.register(fanOut);
        const many = (count: number): Promise<{ tookMs: number }> =>
          inFlight({ count: EXECUTIONS, width: EXECUTIONS, mostMs: DEADLINE_MS }, () =>
            cluster.client.execute(fanOut, itemsOf(count), { deadlineMs: DEADLINE_MS }),
          );
        await many(counted(100, scale));
        const { result, per } = await withCpu(
          cluster,
          () => many(each),
          () => EXECUTIONS * each,
        );
        return {
          "for-each": (EXECUTIONS * each * 1000) / result.tookMs,
          "for-each-floor": floor.perSecond,
          "for-each-cpu": per.client + per.cluster + per.workers,
          "for-each-most": mostPerSecond(per),
          "for-each-cpu-cluster": per.cluster,
          "for-each-cpu-workers": per.workers,
          "for-each-cpu-floor": floor.cpuMsEach,
        };
      });
    }
  },
};
