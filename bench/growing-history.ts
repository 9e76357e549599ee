import { systemClock } from "../base/clock.ts";
import { type BenchCluster, withWarmCluster } from "./cluster.ts";
import { type Bench, counted, now, type Sample } from "./measure.ts";
import { itemsOf, oneByOne } from "./workflows.ts";

const EVENTS = 10_000;
/** One iteration: queued, attempt ended, iteration ended. Checked against the history of every round. */
const EVENTS_EACH = 3;
const DEADLINE_MS = 60_000;
/** A sample costs the cluster about a millisecond, in the first decile as in the last. */
const SAMPLE_MS = 50;
const OUTCOMES = "hodei_job_outcomes_total";

/**
 * One execution whose history grows to 10,000 events, one step after the other. What a step costs in the last tenth of
 * them, compared with the first: 1 when nothing that a turn does grows with the history.
 */
export const growingHistory: Bench = {
  figures: [
    {
      key: "history-cpu",
      what: "cost per step at 10,000 events : at 10, CPU of the cluster",
      unit: "×",
      goal: 1.2,
      better: "less",
    },
    { key: "history-time", what: "cost per step at 10,000 events : at 10, time", unit: "×", goal: 1.2, better: "less" },
    { key: "history-first-cpu", what: "· CPU of the cluster per step, first tenth", unit: "ms", better: "less" },
    { key: "history-last-cpu", what: "· CPU of the cluster per step, last tenth", unit: "ms", better: "less" },
    { key: "history-first", what: "· time per step, first tenth", unit: "ms", better: "less" },
    { key: "history-last", what: "· time per step, last tenth", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    const steps = counted(EVENTS / EVENTS_EACH, scale);
    for (let round = 0; round < rounds; round += 1) {
      yield await withWarmCluster(scale, async (cluster) => {
        await cluster.client.register(oneByOne);
        // The code of these very steps is compiled before the first tenth, or that would pay for it.
        await cluster.client.execute(oneByOne, itemsOf(counted(1_500, scale)), { deadlineMs: DEADLINE_MS });
        const curve = await followed(cluster, steps);
        const [first, last] = [slope(curve, 0, 0.1), slope(curve, 0.9, 1)];
        return {
          "history-cpu": last.cpuMs / first.cpuMs,
          "history-time": last.timeMs / first.timeMs,
          "history-first-cpu": first.cpuMs,
          "history-last-cpu": last.cpuMs,
          "history-first": first.timeMs,
          "history-last": last.timeMs,
        } satisfies Sample;
      });
    }
  },
};

/** How many steps had ended when, and what they had cost. */
type Point = { steps: number; atMs: number; cpuMs: number };

async function followed(cluster: BenchCluster, steps: number): Promise<Point[]> {
  const { client } = cluster;
  const before = (await cluster.metrics())(OUTCOMES);
  const point = async (): Promise<Point> => {
    const metric = await cluster.metrics();
    return { steps: metric(OUTCOMES) - before, atMs: now(), cpuMs: cluster.cpu().cluster };
  };
  const started = await client.start(oneByOne, itemsOf(steps));
  const ended = new AbortController();
  const end = client.wait(started.id, { deadlineMs: DEADLINE_MS }).finally(() => ended.abort());
  const curve: Point[] = [];
  while (!ended.signal.aborted) {
    curve.push(await point());
    await systemClock.sleep(SAMPLE_MS);
  }
  const { state } = await end;
  if (state !== "succeeded") throw new Error(`${started.id} is ${state}`);
  await checkEvents(cluster, started.id, steps);
  return curve;
}

/** Were the events of an iteration others, the figure would be of another length of history than it says. */
async function checkEvents({ client }: BenchCluster, id: string, steps: number): Promise<void> {
  let events = 0;
  for await (const _ of client.history(id)) events += 1;
  const expected = steps * EVENTS_EACH;
  if (events < expected || events > expected * 1.1)
    throw new Error(`${steps} steps gave ${events} events, not ${expected}: EVENTS_EACH is out of date`);
}

/** Per step, between two shares of all steps. */
function slope(curve: readonly Point[], from: number, to: number): { cpuMs: number; timeMs: number } {
  const total = curve.at(-1)?.steps ?? 0;
  const within = curve.filter(({ steps }) => steps >= total * from && steps <= total * to);
  const [first, last] = [within[0], within.at(-1)];
  if (first === undefined || last === undefined || last.steps === first.steps)
    throw new Error("too few samples: the run is too short to have tenths (is --scale too small?)");
  const steps = last.steps - first.steps;
  return { cpuMs: (last.cpuMs - first.cpuMs) / steps, timeMs: (last.atMs - first.atMs) / steps };
}
