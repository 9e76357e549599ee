import { type BenchCluster, removeFolder, startCluster, temporaryFolder, warmUp, withCpu } from "./cluster.ts";
import { fill, finishedExecution } from "./fill.ts";
import { type Bench, counted, type Figure, inFlight, now, percentile, type Sample } from "./measure.ts";
import { oneStep } from "./workflows.ts";

const FINISHED = 100_000;
/** "Almost empty": more than one page, so that both list as much. */
const FEW = 200;
const PAGE = 50;

/** What is compared, and how often in one round. Reads go one at a time, so that time means something too. */
const CALLS = {
  list: { count: 200, what: `first page of ${PAGE}`, call: ({ client }: Store) => client.list({ limit: PAGE }) },
  "list-running": {
    count: 200,
    what: "those that run",
    call: ({ client }: Store) => client.list({ states: ["running"] }),
  },
  "list-failed": {
    count: 40,
    what: "those that failed: none",
    call: ({ client }: Store) => client.list({ states: ["failed"], limit: PAGE }),
  },
  get: { count: 400, what: "any of them", call: ({ client, ids }: Store, at: number) => client.get(anyOf(ids, at)) },
  start: { count: 400, what: "one step, and its result", call: ({ client }: Store) => client.execute(oneStep, {}) },
} as const;

type Call = keyof typeof CALLS;
type Store = BenchCluster & { ids: readonly string[] };

/** 7,919 is prime: neighbours in the call order are far apart in the store. */
const anyOf = (ids: readonly string[], at: number): string => ids[(at * 7_919) % ids.length] ?? "";

/** The same calls on 100,000 finished executions and on 200, in turns. */
export const finished: Bench = {
  figures: [
    ...(Object.keys(CALLS) as Call[]).flatMap((name): Figure[] => [
      {
        key: `finished-${name}-cpu`,
        what: `100,000 finished : ${FEW}, ${name} (${CALLS[name].what}), CPU of the cluster`,
        unit: "×",
        goal: 1.2,
        better: "less",
      },
      {
        key: `finished-${name}`,
        what: `100,000 finished : ${FEW}, ${name}, p50`,
        unit: "×",
        goal: 1.2,
        better: "less",
      },
      { key: `finished-${name}-ms`, what: `· ${name} with 100,000 in the store, p50`, unit: "ms", better: "less" },
    ]),
    { key: "finished-ready", what: "· `dev` ready with 100,000 in the store", unit: "ms", better: "less" },
    { key: "finished-resident", what: "· RSS of the cluster with 100,000 : with 200", unit: "×", better: "less" },
    { key: "finished-fill", what: "· filling", unit: "s", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    const folders = [temporaryFolder(), temporaryFolder()] as const;
    const open: BenchCluster[] = [];
    try {
      const record = await finishedExecution();
      const fillAt = now();
      const ids = [
        await fill(folders[0], record, FEW),
        await fill(folders[1], record, counted(FINISHED, scale)),
      ] as const;
      const fillMs = now() - fillAt;
      for (const data of folders) open.push(await startCluster({ data }));
      const [few, many] = open.map((cluster, at): Store => ({ ...cluster, ids: ids[at] ?? [] })) as [Store, Store];
      for (const store of [few, many]) await warmUp(store, scale);
      await compared(few, many, 0.5);
      for (let round = 0; round < rounds; round += 1)
        yield {
          ...(await compared(few, many, 1)),
          "finished-ready": many.readyMs,
          "finished-resident": many.residentMiB().cluster / few.residentMiB().cluster,
          "finished-fill": fillMs / 1000,
        };
    } finally {
      for (const cluster of open) await cluster.stop();
      for (const folder of folders) removeFolder(folder);
    }
  },
};

const CALLS_MS = 5_000;

/** In blocks of which each half is small, few then many: whatever else the machine does meets both. */
const BLOCKS = 4;

async function compared(few: Store, many: Store, share: number): Promise<Sample> {
  const sample: Record<string, number> = {};
  for (const name of Object.keys(CALLS) as Call[]) {
    const spent = { few: { ms: [] as number[], cpu: 0 }, many: { ms: [] as number[], cpu: 0 } };
    for (let block = 0; block < BLOCKS; block += 1)
      for (const [side, store] of [
        ["few", few],
        ["many", many],
      ] as const) {
        const { durationsMs, cpu } = await calls(name, store, (CALLS[name].count * share) / BLOCKS, block);
        spent[side].ms.push(...durationsMs);
        spent[side].cpu += cpu;
      }
    const p50 = { few: percentile(spent.few.ms, 0.5), many: percentile(spent.many.ms, 0.5) };
    const cpuEach = { few: spent.few.cpu / spent.few.ms.length, many: spent.many.cpu / spent.many.ms.length };
    sample[`finished-${name}-cpu`] = cpuEach.many / cpuEach.few;
    sample[`finished-${name}`] = p50.many / p50.few;
    sample[`finished-${name}-ms`] = p50.many;
  }
  return sample;
}

async function calls(
  name: Call,
  store: Store,
  count: number,
  block: number,
): Promise<{ durationsMs: number[]; cpu: number }> {
  const one = (at: number): Promise<unknown> => CALLS[name].call(store, block * count + at);
  const { result, per } = await withCpu(
    store,
    () => inFlight({ count, width: 1, mostMs: CALLS_MS }, one),
    () => 1,
  );
  return { durationsMs: result.durationsMs, cpu: per.cluster };
}
