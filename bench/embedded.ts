import { systemClock } from "../base/clock.ts";
import { type BenchCluster, startCluster } from "./cluster.ts";
import { journal } from "./journal.ts";
import { inFlight, now, percentile, type Result, rounded } from "./measure.ts";
import { fanOut, oneStep, threeSteps } from "./workflows.ts";

/** Each gives some lines. `scale` shrinks the counts (1: as published). The whole run stays under three minutes. */
type Bench = (scale: number) => Promise<Result[]>;

const WIDTH = 64;
const WORKERS = 2;

export const EMBEDDED: Readonly<Record<string, Bench>> = {
  floor: async (scale) => [
    {
      bench: "floor",
      value: rounded(await floor(scale), 0),
      unit: "workflows/s",
      what: "five durable writes per workflow, 64 in flight, node:sqlite WAL FULL with group commit, nothing around",
    },
  ],
  "three-step": threeStep,
  "one-step": oneStepAlone,
  "for-each": forEachSteps,
  "fan-out": wideFanOut,
  "cold-start": coldStart,
};

const counted = (count: number, scale: number): number => Math.max(1, Math.round(count * scale));

function floor(scale: number): Promise<number> {
  return journal({ count: counted(20_000, scale), width: WIDTH, mostMs: 8_000 });
}

/** Compilers and connections warm up first: it is the running cluster that is measured. */
async function withCluster<T>(scale: number, run: (cluster: BenchCluster) => Promise<T>): Promise<T> {
  const cluster = await startCluster({ workers: WORKERS });
  try {
    for (const workflow of [threeSteps, oneStep, fanOut]) await cluster.client.register(workflow);
    const warmUp = { count: counted(1500, scale), width: WIDTH, mostMs: 5_000 };
    await inFlight(warmUp, () => cluster.client.execute(oneStep, {}));
    return await run(cluster);
  } finally {
    await cluster.stop();
  }
}

/** CPU per unit of work, by process; the machine's cores are what limits. */
async function withCpu<T>(
  cluster: BenchCluster,
  run: () => Promise<T>,
  units: (result: T) => number,
): Promise<{ result: T; cpuMs: { client: number; cluster: number; workers: number } }> {
  const before = cluster.cpu();
  const result = await run();
  const after = cluster.cpu();
  const per = (name: keyof typeof before): number => rounded((after[name] - before[name]) / units(result), 3);
  return { result, cpuMs: { client: per("client"), cluster: per("cluster"), workers: per("workers") } };
}

async function threeStep(scale: number): Promise<Result[]> {
  const floorPerSecond = await floor(scale / 2);
  return withCluster(scale, async (cluster) => {
    const { result, cpuMs } = await withCpu(
      cluster,
      () =>
        inFlight({ count: counted(6_000, scale), width: WIDTH, mostMs: 15_000 }, () =>
          cluster.client.execute(threeSteps, {}),
        ),
      ({ count }) => count,
    );
    return [
      {
        bench: "three-step",
        value: rounded(result.perSecond, 0),
        unit: "workflows/s",
        floor: rounded(floorPerSecond, 0),
        ratio: rounded(result.perSecond / floorPerSecond, 3),
        p50Ms: rounded(percentile(result.durationsMs, 0.5)),
        p99Ms: rounded(percentile(result.durationsMs, 0.99)),
        count: result.count,
        inFlight: WIDTH,
        cpuMsPerWorkflow: cpuMs,
      },
    ];
  });
}

async function oneStepAlone(scale: number): Promise<Result[]> {
  return withCluster(scale, async (cluster) => {
    const { count, durationsMs } = await inFlight({ count: counted(1_000, scale), width: 1, mostMs: 10_000 }, () =>
      cluster.client.execute(oneStep, {}),
    );
    const p50 = rounded(percentile(durationsMs, 0.5));
    return [{ bench: "one-step", value: p50, unit: "ms p50", p99Ms: rounded(percentile(durationsMs, 0.99)), count }];
  });
}

async function forEachSteps(scale: number): Promise<Result[]> {
  const executions = 16;
  const items = Array.from({ length: counted(1_000, scale) }, (_, at) => at);
  return withCluster(scale, async (cluster) => {
    const { result, cpuMs } = await withCpu(
      cluster,
      () =>
        inFlight({ count: executions, width: executions, mostMs: 1 }, () => cluster.client.execute(fanOut, { items })),
      () => executions * items.length,
    );
    const perSecond = (executions * items.length * 1000) / result.tookMs;
    const steps = { executions, itemsEach: items.length, workers: WORKERS };
    return [{ bench: "for-each", value: rounded(perSecond, 0), unit: "steps/s", ...steps, cpuMsPerStep: cpuMs }];
  });
}

const SAMPLE_MS = 100;

/** 10,000 iterations of one step: that they end, how long they take, and what they hold meanwhile. */
async function wideFanOut(scale: number): Promise<Result[]> {
  const items = Array.from({ length: counted(10_000, scale) }, (_, at) => at);
  return withCluster(scale, async (cluster) => {
    const before = { heap: await cluster.heapBytes(), resident: cluster.residentMiB().cluster };
    const ended = new AbortController();
    const peak = sampled(cluster, ended.signal);
    const startedAt = now();
    await cluster.client.execute(fanOut, { items }, { deadlineMs: 60_000 });
    const tookMs = now() - startedAt;
    ended.abort();
    const { heap, resident } = await peak;
    return [
      {
        bench: "fan-out",
        value: rounded(tookMs, 0),
        unit: "ms",
        iterations: items.length,
        stepsPerSecond: rounded((items.length * 1000) / tookMs, 0),
        heapGrowthMiB: rounded((heap - before.heap) / 1024 ** 2, 1),
        residentGrowthMiB: resident - before.resident,
      },
    ];
  });
}

/** The most that was held, garbage that was not collected yet included. */
async function sampled(cluster: BenchCluster, until: AbortSignal): Promise<{ heap: number; resident: number }> {
  const peak = { heap: 0, resident: 0 };
  for (;;) {
    peak.heap = Math.max(peak.heap, await cluster.heapBytes());
    peak.resident = Math.max(peak.resident, cluster.residentMiB().cluster);
    if (until.aborted) return peak;
    await systemClock.sleep(SAMPLE_MS);
  }
}

const SETTLE_MS = 5_000;

async function coldStart(scale: number): Promise<Result[]> {
  const ready: number[] = [];
  const first: number[] = [];
  let resident = { cluster: Number.NaN, workers: [Number.NaN] };
  const rounds = counted(5, scale);
  for (let round = 0; round < rounds; round += 1) {
    const cluster = await startCluster({ workers: WORKERS });
    try {
      ready.push(cluster.readyMs);
      const readyAt = now();
      await cluster.client.register(oneStep);
      await cluster.client.execute(oneStep, {});
      first.push(now() - readyAt);
      if (round === rounds - 1) {
        await systemClock.sleep(SETTLE_MS * Math.min(1, scale));
        resident = cluster.residentMiB();
      }
    } finally {
      await cluster.stop();
    }
  }
  const all = (values: number[]) => ({
    value: rounded(percentile(values, 0.5), 0),
    unit: "ms",
    runs: values.map(Math.round),
  });
  return [
    { bench: "dev-ready", ...all(ready) },
    { bench: "first-result-after-ready", ...all(first) },
    { bench: "idle-resident", value: resident.cluster, unit: "MiB", workersMiB: resident.workers, engines: 1 },
  ];
}
