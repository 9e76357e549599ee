import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { type Service, startAll, stopAll } from "../base/service.ts";
import type { Store } from "../store/store.ts";
import type { ChildGateway } from "../transport/api/engine.ts";
import type { Discovery } from "../transport/discovery/discovery.ts";
import type { Services, Transport } from "../transport/transport.ts";
import { Assignment } from "./assignment.ts";
import { Catalog } from "./catalog.ts";
import { Cluster } from "./cluster.ts";
import { EventHub } from "./events.ts";
import { Executions } from "./executions.ts";
import { Jobs } from "./jobs.ts";
import { EngineLinks } from "./links.ts";
import { Membership } from "./membership.ts";
import { Registry } from "./registry.ts";
import type { LoadBalancer } from "./ring.ts";
import { Router } from "./router.ts";
import { Starter } from "./start.ts";
import { Templates } from "./templates.ts";
import { Workers } from "./workers.ts";

export type OrchestratorOptions = {
  store: Store;
  transport: Transport;
  discovery: Discovery;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Of this software, as `info` tells it. */
  version: string;
  loadBalancer: LoadBalancer;
  /** Fixed when the data set is created; another number is refused at start. */
  shards?: number;
  /**
   * Unique among orchestrators; who holds the leader's lease. A name that survives a restart (a pod's) lets a leader
   * that was killed lead again at once instead of after its lease. Default: random.
   */
  name?: string;
  /** The credential that engines know this orchestrator by. */
  token?: string;
  /** What `info` calls the store, e.g. "sqlite". */
  storeName?: string;
  /** How long a join waits for others; 0 where engines come all at once (embedded). */
  joinDebounceMs?: number;
  /** How often discovery is asked although its watch is live. */
  discoveryIntervalMs?: number;
};

export type Orchestrator = Service & {
  readonly name: string;
  readonly services: Required<Pick<Services, "workflow" | "execution" | "job" | "cluster" | "fleet" | "template">>;
  /** Start and messages for children, the same code path as a client's; for engines in this process. */
  readonly gateway: ChildGateway;
  /** Resolves when every shard has an owner. Rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
};

export const DEFAULT_SHARDS = 2048;
const JOIN_DEBOUNCE_MS = 2_000;
const DISCOVERY_INTERVAL_MS = 30_000;

/**
 * The front door. It holds no state of its own: what is durable is in the store, what runs is with the engines. Any
 * number of orchestrators serve side by side; one of them, by a lease, also assigns the shards.
 *
 * `start` does not wait for engines, so that engines in the same process may start after it and use its gateway.
 */
export function createOrchestrator(options: OrchestratorOptions): Orchestrator {
  const { store, transport, clock, random, version, loadBalancer } = options;
  const shards = options.shards ?? DEFAULT_SHARDS;
  const holder = options.name ?? `orchestrator-${random.hex(4)}`;
  const logger = options.logger.child({ orchestrator: holder });
  const hub = new EventHub(clock);
  const membership = new Membership({
    discovery: options.discovery,
    clock,
    logger,
    joinDebounceMs: options.joinDebounceMs ?? JOIN_DEBOUNCE_MS,
    resyncMs: options.discoveryIntervalMs ?? DISCOVERY_INTERVAL_MS,
  });
  const links = new EngineLinks({ membership, transport, token: options.token, hub, clock, random, logger });
  const assignment = new Assignment({ store, links, hub, clock, random, logger, shards, loadBalancer, holder });
  const router = new Router({ store, links, clock, random, shards });
  const catalog = new Catalog({ store, clock });
  const starter = new Starter({ store, catalog, router, random, logger });
  const executions = new Executions({ store, starter, router, clock, random });
  const storeName = options.storeName ?? "store";

  const data: Service = {
    start: async () => void (await store.open({ shards })),
    stop: async () => {
      router.stop();
      catalog.stop();
    },
  };
  const parts = [data, membership, links, assignment];
  return {
    name: holder,
    services: {
      workflow: new Registry({ store, catalog, hub, clock, random }),
      execution: executions,
      job: new Jobs({ store, starter, executions, router, clock }),
      fleet: new Workers({ links }),
      template: new Templates({ links, logger }),
      cluster: new Cluster({ store, links, assignment, hub, clock, version, shards, storeName }),
    },
    gateway: starter.gateway,
    start: () => startAll(parts),
    stop: () => stopAll(parts),
    ready: (signal) => everyShardOwned({ store, clock, assignment }, signal),
  };
}

const LOOK_AGAIN_MS = 10;

/** The store is asked rather than the leader, which may be another orchestrator. */
async function everyShardOwned(
  { store, clock, assignment }: { store: Store; clock: Clock; assignment: Assignment },
  signal: AbortSignal,
): Promise<void> {
  assignment.wake();
  for (;;) {
    signal.throwIfAborted();
    const records = await store.shards();
    if (records.length > 0 && records.every(({ owner }) => owner !== undefined)) return;
    await clock.sleep(LOOK_AGAIN_MS, signal);
  }
}
