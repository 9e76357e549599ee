import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Platform } from "../platform/platform.ts";
import type { Store } from "../store/store.ts";
import type { ChildGateway } from "../transport/api/engine.ts";
import type { FleetOptions } from "./fleet/options.ts";
import type { Metrics } from "./metrics.ts";
import type { Strategy } from "./scheduler/rank.ts";
import type { HostEvidence } from "./workers/liveness.ts";

export type EngineOptions = {
  /** Unique in the cluster: a second engine of the same name ends the first one's session. */
  name: string;
  /** `host:port` of the server that offers `services`; a function when it is known only once that server listens. */
  address: string | (() => string);
  /** What other processes and workers call instead, where they cannot use `address`. */
  advertise?: string;
  store: Store;
  /** Of the whole data set; another number than the persisted one is refused at `start`. */
  shards: number;
  gateway: ChildGateway;
  /** Both or none: without them only workers that come by themselves are used. */
  platform?: Platform;
  fleet?: FleetOptions;
  clock: Clock;
  random: Random;
  logger: Logger;
  metrics?: Metrics;
  version: string;
  pid: number;
  /** Finished executions are deleted when their end is older; 0 keeps them for ever. Default 7 days. */
  retentionMs?: number;
  /** How idle workers are ranked. Default "bin-pack". */
  strategy?: Strategy;
  /** Other engines that workers may be sent to at a drain. */
  redirect?: () => readonly string[];
  /** Default: what /proc says of this host. */
  hostEvidence?: HostEvidence;
  /** Executions kept in memory between their turns. Default 2,000. */
  cachedExecutions?: number;
};

export const RETENTION_MS = 7 * 24 * 3_600_000;
