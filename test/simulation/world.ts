import type { Store } from "../../store/store.ts";
import { checkRun } from "./checker/rest.ts";
import { Cluster } from "./cluster.ts";
import { Faults } from "./faults.ts";
import { unleash } from "./nemesis.ts";
import { namedRandom } from "./random.ts";
import type { Check, Finished, MakeWorkload, Plant, Violation } from "./run.ts";
import { drawShape, type Shape } from "./shape.ts";
import { hashOf, type TraceEvent } from "./trace.ts";
import { makeWorkload } from "./workload/workload.ts";

export type SeedOptions = {
  workload?: MakeWorkload;
  /** Default: every invariant. */
  check?: Check;
  plant?: Plant;
  shape?: Partial<Shape>;
  /** No fault at all. */
  faultless?: boolean;
  /** In the place of the nemesis: what happens to the cluster, and when, beside the workload. Time goes on by its `advance` alone. */
  script?: (scripted: Scripted) => Promise<void>;
};

export type Scripted = {
  cluster: Cluster;
  faults: Faults;
  advance: (byMs: number) => Promise<void>;
  /** Until `done`, looked at after every event; false when it did not come about. */
  until: (done: () => boolean, withinMs: number) => Promise<boolean>;
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
/** How often, and how many times, a cluster without clients is looked at. */
const LOOK_MS = 2_000;
const LOOKS = 60;
/** What was said in slow weather may come so late, and then be answered: the rest of a log, which nobody waits for. */
const LATE_MS = 10_000;

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
    const faults = new Faults(cluster);
    const unplanned = options.faultless !== true && options.script === undefined;
    if (unplanned) unleash(cluster, faults, namedRandom(seed, "nemesis"));
    const clients = workload.run(cluster.clientSite());
    await options.script?.(scripted(cluster, faults));
    const clientsDone = await untilClientsEnd(cluster, clients, violations);
    faults.heal();
    const atRest = clientsDone && (await comesToRest(cluster));
    const run: Finished = {
      seed,
      trace: cluster.trace,
      store: cluster.bareStore.store,
      shards: shape.shards,
      healedAt: cluster.trace.findIndex((event) => event.kind === "fault" && event.fault === "heal") + 1,
      atRest,
    };
    if (!atRest)
      violations.push({ invariant: "everything comes to its end", words: await unfinished(cluster, clientsDone) });
    violations.push(...(await (options.check ?? checkRun)(run)));
  } finally {
    cluster.timeline.end();
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

function scripted(cluster: Cluster, faults: Faults): Scripted {
  const { timeline } = cluster;
  return {
    cluster,
    faults,
    advance: (byMs) => timeline.run(timeline.nowMs + byMs, () => false),
    async until(done, withinMs) {
      await timeline.run(timeline.nowMs + withinMs, done);
      return done();
    },
  };
}

async function untilClientsEnd(cluster: Cluster, clients: Promise<void>, violations: Violation[]): Promise<boolean> {
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

/** What was open for no client to wait for ends too: children of the cancelled, jobs of the abandoned. */
async function comesToRest({ timeline, bareStore: { store } }: Cluster): Promise<boolean> {
  for (let looks = 0; looks < LOOKS; looks++) {
    await timeline.run(timeline.nowMs + LOOK_MS, () => false);
    const [open, jobs] = await Promise.all([openExecutions(store), store.jobs({ limit: 1 })]);
    if (open.length + jobs.length > 0 || (await hasUnsent(store))) continue;
    await timeline.run(timeline.nowMs + LATE_MS, () => false);
    return true;
  }
  return false;
}

/** Whether an execution that has ended has still something to say to another one. */
async function hasUnsent(store: Store): Promise<boolean> {
  const { executions } = await store.listExecutions({ namespace: "default", limit: 500 });
  const records = await Promise.all(executions.map(({ id }) => store.readExecution({ namespace: "default", id })));
  return records.some((record) => record?.status === "OK" && record.outbox.length > 0);
}

async function openExecutions(store: Store): Promise<string[]> {
  const states = ["running", "paused", "cancelling"] as const;
  const page = await store.listExecutions({ namespace: "default", states: [...states], limit: 500 });
  return page.executions.map((head) => head.id);
}

async function unfinished({ bareStore: { store } }: Cluster, clientsDone: boolean): Promise<string> {
  const [open, jobs] = await Promise.all([openExecutions(store), store.jobs({ limit: 50 })]);
  const clients = clientsDone ? "all clients have their answers" : "clients wait for answers";
  const ids = jobs.map(
    ({ job, state, worker }) => `${job.id} (${state}${worker === undefined ? "" : ` by ${worker}`})`,
  );
  return `${clients}; open executions: ${open.join(", ") || "none"}; open jobs: ${ids.join(", ") || "none"}`;
}

function broken(invariant: string, error: unknown): Violation {
  return { invariant, words: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
