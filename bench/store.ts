import { systemClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { fenceOf, jobOf, openOwner, op, slotOf, turnOf, type Owner, type TurnOver } from "../store/fixtures.ts";
import { openSqliteStore } from "../store/sqlite/store.ts";
import type { Assignment, Store } from "../store/store.ts";
import { ownCpuMs, removeFolder, temporaryFolder } from "./cluster.ts";
import { journal } from "./journal.ts";
import { type Bench, counted, inFlight, percentile, type Sample } from "./measure.ts";

const WIDTH = 64;
const SHARDS = 64;
/** Longer than any round: nobody renews. */
const LEASE_MS = 600_000;
/** Of one 3-step workflow: run number, start, three ends of a step. */
const WRITES = 5;
/** As long as an engine's: some 700 characters of events in a turn, 2,000 of state at the end. */
const EVENTS = [520, 110, 80].map((length) => JSON.stringify({ type: "attemptEnded", text: "x".repeat(length) }));
const SNAPSHOT = JSON.stringify({ steps: Object.fromEntries(EVENTS.map((text, at) => [`step${at}`, text + text])) });
const DEFINITIONS = { "sha256:a": JSON.stringify({ steps: "d".repeat(1200) }) };

type Opened = { store: Store; owner: Owner };

/** Several `run`: each on the store opened anew, as after a restart. */
async function withStore<T>(...runs: ((opened: Opened) => Promise<T>)[]): Promise<T> {
  const directory = temporaryFolder();
  try {
    let last: { answer: T } | undefined;
    for (const run of runs) {
      const store = openSqliteStore({ directory, clock: systemClock, random: systemRandom, logger: silentLogger });
      try {
        await store.open({ shards: SHARDS });
        const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
        last = { answer: await run({ store, owner: await openOwner(store, "bench", shards, LEASE_MS) }) };
      } finally {
        await store.close();
      }
    }
    if (last === undefined) throw new Error("nothing was run");
    return last.answer;
  } finally {
    removeFolder(directory);
  }
}

const SLOT = slotOf("worker", { free: { slots: 1 } });

async function commit({ store, owner }: Opened, id: string, over: TurnOver): Promise<Assignment[]> {
  const shard = over.head?.shard ?? 0;
  const answer = await store.turn(turnOf(owner, id, { ...over, fence: fenceOf(owner, shard) }));
  if (answer.status !== "OK") throw new Error(`a turn of ${id} came back as ${answer.status}`);
  return answer.assignments;
}

/** What an engine asks of the store for one 3-step workflow whose worker it has, and one read by who waits for it. */
async function workflow(opened: Opened, at: number): Promise<void> {
  const id = systemRandom.id();
  const head = { shard: at % SHARDS, digest: "sha256:a", startedAtMs: systemClock.now() };
  const job = (step: number) => jobOf(id, `step${step}`, { shard: head.shard, runMs: 1_800_000 });
  const timer = (step: number) => ({ id: `queue/step${step}/0`, atMs: head.startedAtMs + 600_000 });
  await opened.store.registry.nextRunNumber({ opId: op(), namespace: "default", name: "bench" });
  const next = (step: number): TurnOver => ({
    head,
    events: EVENTS,
    enqueue: [job(step)],
    timers: [timer(step)],
    claimFor: [SLOT],
  });
  let given = await commit(opened, id, { ...next(0), definitions: DEFINITIONS });
  for (let step = 0; step < 3; step += 1) {
    const settle = given.map((assignment) => ({ jobId: assignment.job.id, token: assignment.token }));
    const ended = { ...head, state: "succeeded" as const, endedAtMs: systemClock.now() };
    const after: TurnOver = step < 2 ? next(step + 1) : { events: EVENTS, head: ended, snapshot: SNAPSHOT };
    given = await commit(opened, id, { ...after, expectedRevision: step + 1, settle, clearTimers: [timer(step).id] });
  }
  await opened.store.readExecution({ namespace: "default", id });
}

/** What is left of it is the floor's: a write with nothing around. */
const storeTurns: Bench = {
  figures: [
    {
      key: "store-writes",
      what: `writes of 3-step workflows, ${WIDTH} in flight`,
      unit: "/s",
      better: "more",
      floor: "store-floor",
    },
    { key: "store-floor", what: "· the bare journal", unit: "/s", better: "more" },
    { key: "store-cpu", what: "CPU per write", unit: "µs", better: "less", floor: "store-floor-cpu" },
    { key: "store-floor-cpu", what: "· of the bare journal", unit: "µs", better: "less" },
    {
      key: "store-workflow-cpu",
      what: `CPU per workflow (${WRITES} writes, one read)`,
      unit: "µs",
      goal: 150,
      better: "less",
    },
    {
      key: "store-8-workflow-cpu",
      what: "· with 8 in flight: groups as a busy cluster has them",
      unit: "µs",
      better: "less",
    },
    { key: "store-p99", what: "· p99 of a workflow in flight with others", unit: "ms", better: "less" },
    { key: "store-alone-p50", what: "one workflow at a time, p50", unit: "ms", better: "less" },
    { key: "store-alone-p99", what: "· p99", unit: "ms", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    for (let round = 0; round < rounds; round += 1) {
      const count = counted(8_000, scale);
      const floor = await journal({ writes: WRITES, count, width: WIDTH, mostMs: 4_000 });
      yield await withStore(async (opened): Promise<Sample> => {
        await inFlight({ count: count / 4, width: WIDTH, mostMs: 3_000 }, (at) => workflow(opened, at));
        const before = ownCpuMs();
        const busy = await inFlight({ count, width: WIDTH, mostMs: 6_000 }, (at) => workflow(opened, at));
        const cpuUs = ((ownCpuMs() - before) * 1000) / busy.count;
        const eightBefore = ownCpuMs();
        const eight = await inFlight({ count: count / 2, width: 8, mostMs: 3_000 }, (at) => workflow(opened, at));
        const eightUs = ((ownCpuMs() - eightBefore) * 1000) / eight.count;
        const alone = await inFlight({ count: count / 4, width: 1, mostMs: 3_000 }, (at) => workflow(opened, at));
        return {
          "store-writes": busy.perSecond * WRITES,
          "store-floor": floor.perSecond * WRITES,
          "store-cpu": cpuUs / WRITES,
          "store-floor-cpu": (floor.cpuMsEach * 1000) / WRITES,
          "store-workflow-cpu": cpuUs,
          "store-8-workflow-cpu": eightUs,
          "store-p99": percentile(busy.durationsMs, 0.99),
          "store-alone-p50": percentile(alone.durationsMs, 0.5),
          "store-alone-p99": percentile(alone.durationsMs, 0.99),
        };
      });
    }
  },
};

const BLOCK = 400;

/** CPU of one call in µs: the least of several blocks, because garbage and compilers only ever add. */
async function cpuUsOf(one: (at: number) => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let block = 0; block < 5; block += 1) {
    const before = ownCpuMs();
    await inFlight({ count: BLOCK, width: 16, mostMs: 5_000 }, (at) => one(block * BLOCK + at));
    least = Math.min(least, ((ownCpuMs() - before) * 1000) / BLOCK);
  }
  return least;
}

/** Turns of executions whose history has `events` events already. */
async function historyCost(opened: Opened, events: number, name: string): Promise<number> {
  const ids = Array.from({ length: 16 }, (_, at) => `${name}-${at}`);
  const revisions = new Map(ids.map((id) => [id, 0]));
  const add = async (id: string, count: number): Promise<void> => {
    const expectedRevision = revisions.get(id) ?? 0;
    await commit(opened, id, { expectedRevision, events: Array.from({ length: count }, () => EVENTS[2] ?? "") });
    revisions.set(id, expectedRevision + 1);
  };
  for (let at = 0; at < events; at += 50) await Promise.all(ids.map((id) => add(id, Math.min(50, events))));
  return cpuUsOf((at) => add(ids[at % 16] ?? "", 2));
}

/** Turns that add a job and take one while `waiting` others wait. */
async function queueCost(opened: Opened, waiting: number, name: string): Promise<number> {
  for (let at = 0; at < waiting; at += 200) {
    const jobs = Array.from({ length: 200 }, (_, each) => jobOf(`${name}-${at}`, `s${each}`));
    await commit(opened, `${name}-${at}`, { enqueue: jobs });
  }
  return cpuUsOf((at) => commit(opened, `${name}+${at}`, { enqueue: [jobOf(`${name}+${at}`, "s")], claimFor: [SLOT] }));
}

/** Of a store that was started with so many finished executions. */
function finishedCost(finished: number): Promise<Record<string, number>> {
  const ended = { state: "succeeded" as const, endedAtMs: 1 };
  const ids = Array.from({ length: finished }, () => systemRandom.id());
  const any = (at: number): string => ids[(at * 7_919) % ids.length] ?? "";
  const fill = async (opened: Opened): Promise<Record<string, number>> => {
    await inFlight({ count: finished, width: 512, mostMs: 60_000 }, (at) =>
      commit(opened, ids[at] ?? "", { events: EVENTS, head: { ...ended, startedAtMs: at }, snapshot: SNAPSHOT }),
    );
    return {};
  };
  return withStore(fill, async (opened) => ({
    list: await cpuUsOf(() => opened.store.listExecutions({ namespace: "default", limit: 50 })),
    get: await cpuUsOf((at) => opened.store.readExecution({ namespace: "default", id: any(at) })),
    start: await cpuUsOf(() => commit(opened, systemRandom.id(), { events: EVENTS })),
  }));
}

const WHAT: Readonly<Record<string, string>> = {
  history: "turn, 10,000 : 10 events before it",
  queue: "enqueue and claim, 10,000 : 10 jobs waiting",
  list: "first page of 50, 100,000 : 200 finished executions",
  get: "read any of them",
  start: "start another",
};

/** What must not grow: each as large divided by small, in the same round. */
const storeGrowth: Bench = {
  figures: ["history", "queue", "list", "get", "start"].flatMap((name) => [
    { key: `store-${name}`, what: `${WHAT[name] ?? name}, CPU`, unit: "×", goal: 1.2, better: "less" as const },
    { key: `store-${name}-us`, what: "· with many", unit: "µs", better: "less" as const },
  ]),
  async *rounds({ scale, rounds }) {
    for (let round = 0; round < rounds; round += 1) {
      const sample: Record<string, number> = {};
      const compare = async (name: string, cost: (many: boolean) => Promise<number>): Promise<void> => {
        const [few, many] = [await cost(false), await cost(true)];
        sample[`store-${name}`] = many / few;
        sample[`store-${name}-us`] = many;
      };
      const many = counted(10_000, scale);
      await compare("history", (large) => withStore((opened) => historyCost(opened, large ? many : 10, "h")));
      await compare("queue", (large) => withStore((opened) => queueCost(opened, large ? many : 10, "q")));
      const few = await finishedCost(200);
      const full = await finishedCost(many * 10);
      for (const name of ["list", "get", "start"])
        await compare(name, async (large) => (large ? full : few)[name] ?? 0);
      yield sample;
    }
  },
};

export const STORE: Readonly<Record<string, Bench>> = { turns: storeTurns, growth: storeGrowth };
