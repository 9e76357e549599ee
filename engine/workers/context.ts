import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Store } from "../../store/store.ts";
import type { Emit } from "../events.ts";
import type { Executor } from "../executor.ts";
import type { Metrics } from "../metrics.ts";
import type { Ownership } from "../ownership.ts";
import type { Strategy } from "../scheduler/rank.ts";
import type { WorkerRecord } from "./record.ts";

/** What the rooms of the worker side share. `workers` holds every worker that is not gone. */
export type WorkersContext = {
  engine: string;
  store: Store;
  ownership: Ownership;
  /** Set once, when the engine is put together (executor and workers know each other). */
  executor: () => Executor;
  clock: Clock;
  random: Random;
  logger: Logger;
  emit: Emit;
  metrics: Metrics;
  shards: number;
  strategy: Strategy;
  workers: Map<string, WorkerRecord>;
  /** Job → the worker of this engine that holds it. */
  holders: Map<string, string>;
  /** True from the begin of a drain or stop: nothing new is taken on. */
  closing: () => boolean;
  /** True from the begin of a stop: workers that go now go by our own doing. */
  stopping: () => boolean;
};
