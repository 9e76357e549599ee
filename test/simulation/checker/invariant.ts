import type {
  ExecutionHead,
  JobRecord,
  LogChunk,
  OutboxEntry,
  RegistryRecord,
  SessionRecord,
  ShardRecord,
  WorkerRequest,
} from "../../../store/store.ts";
import type { Timer } from "../../../workflow/message.ts";
import type { TraceEvent } from "../trace.ts";
import type { Fact } from "./facts.ts";
import type { World } from "./world.ts";

/** What the store holds at the end, read through its port. */
export type AtRest = {
  nowMs: number;
  executions: StoredExecution[];
  jobs: JobRecord[];
  shards: ShardRecord[];
  sessions: SessionRecord[];
  workerRequests: WorkerRequest[];
  /** By namespace. */
  registries: Record<string, RegistryRecord>;
};

export type StoredExecution = {
  head: ExecutionHead;
  commits: { revision: number; events: string[] }[];
  snapshot?: { text: string; revision: number };
  /** By digest. */
  definitions: Record<string, string>;
  timers: Timer[];
  outbox: OutboxEntry[];
  logs: LogChunk[];
};

/** One simulated life of a cluster. */
export type Run = {
  trace: readonly TraceEvent[];
  rest: AtRest;
  /** Whether everything had the time to end after all faults had healed. */
  healed: boolean;
};

export type Violation = {
  invariant: string;
  /** Execution, job or shard. */
  about: string;
  expected: string;
  seen: string;
  /** Indices of the events of the trace that show it, in order. */
  events: number[];
};

export type Report = (violation: Omit<Violation, "invariant">) => void;

/**
 * What looks for one kind of violation in one history of the store. A store that was rolled back has had several; each of
 * them has to hold by itself, and is walked from its beginning with a watcher of its own.
 */
export type Watcher = {
  /** The world as it was when the call took effect. */
  before?(fact: Fact, world: World): void;
  /** The world with what the call did. */
  after?(fact: Fact, world: World): void;
  /** At the end of a history; `last` when it is the one that the store holds at rest. */
  end?(world: World, last: boolean): void;
};

export type Invariant = {
  name: string;
  /** What a user was promised, in one sentence. */
  promise: string;
  watch?(report: Report, run: Run): Watcher;
  /** Over the whole run: for what clients and the outside world have seen, which no rollback takes back. */
  check?(run: Run, report: Report): void;
};
