import type { Clock } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import type { Store } from "../../store/store.ts";
import type { Transport } from "../../transport/transport.ts";
import type { TaskFunction } from "../../worker/options.ts";
import type { Happening, TraceEvent } from "./trace.ts";

/** What clients do with one simulated cluster, and what its workers run: made from the seed before anything else. */
export type Workload = {
  /** For the story of a failing seed, one line each. */
  readonly words: readonly string[];
  /** What every worker offers. Asked once per life of a worker; each call and its end is recorded by the world. */
  handlers(site: WorkerSite): Map<string, TaskFunction>;
  /** All clients. Resolves when each has had its last answer; a rejection is a violation. */
  run(site: ClientSite): Promise<void>;
};
export type MakeWorkload = (random: Random) => Workload;

/** Virtual time and randomness of the life that the handler runs in: what it awaits dies with the worker. */
export type WorkerSite = { worker: string; clock: Clock; random: Random };

export type ClientSite = {
  random: Random;
  clock: Clock;
  /** One client process: fit for `new HodeiClient(site.client("alice"))`. Its calls cross the simulated network. */
  client(name: string): { addresses: string[]; transport: Transport; clock: Clock; random: Random };
  record(event: Happening): void;
};

/** What one node sees of the world; a planted bug gives other ones. */
export type Ports = { store: Store; transport: Transport; clock: Clock; random: Random };
export type NodeSeen = { name: string; role: "orchestrator" | "engine" | "worker"; life: number };

export type Plant = {
  name: string;
  /** Below the recording: a store that itself is wrong. */
  store?: (store: Store) => Store;
  /** Above all faults: a process that is wrong. A worker has no store: its calls to one throw. */
  node?: (ports: Ports, node: NodeSeen) => Ports;
};

export type Violation = {
  /** A short stable name, such as "one owner per fence". */
  invariant: string;
  words: string;
  /** Number of the event of the trace where it shows. */
  at?: number;
};

/** A run at its end, as a checker sees it. */
export type Finished = {
  seed: number;
  trace: readonly TraceEvent[];
  /** The store at rest, without recording and without faults. */
  store: Store;
  shards: number;
  /** Number of the first event after which no fault acts any more. */
  healedAt: number;
  /** Whether everything had ended, and every client its answer, within the bound of virtual time. */
  atRest: boolean;
};
export type Check = (run: Finished) => Violation[] | Promise<Violation[]>;
