import { silentLogger } from "../../base/log.ts";
import { systemClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { createOrchestrator, type Orchestrator, type OrchestratorOptions } from "../../orchestrator/orchestrator.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { createStaticDiscovery, type StaticDiscovery } from "../../transport/discovery/static.ts";
import { createLocalNetwork, createLocalTransport } from "../../transport/local.ts";
import type { Channel, Identity, Transport } from "../../transport/transport.ts";
import { type SmallEngine, startEngine } from "./small-engine.ts";

export type Fleet = {
  store: Store;
  transport: Transport;
  discovery: StaticDiscovery;
  orchestrator: Orchestrator;
  engines: SmallEngine[];
  /** Speaks to the orchestrator over the transport, as a client does; another namespace by token. */
  client: (namespace?: string) => Channel;
  join: (name: string) => Promise<SmallEngine>;
  another: (options?: Partial<OrchestratorOptions>) => Orchestrator;
  stop: () => Promise<void>;
};

export const SHARDS = 64;

/** An orchestrator before `count` small engines, all in this process. */
export async function startFleet(count: number, options: Partial<OrchestratorOptions> = {}): Promise<Fleet> {
  const clock = systemClock;
  const random = seededRandom(7);
  const store = createMemoryStore({ clock, random });
  const transport = createLocalTransport({ clock, network: createLocalNetwork() });
  const discovery = createStaticDiscovery();
  const parts = { store, transport, clock, random, shards: SHARDS };
  const engines: SmallEngine[] = [];
  const others: Orchestrator[] = [];
  const another: Fleet["another"] = (more = {}) => {
    const made = createOrchestrator({
      store,
      transport,
      discovery,
      clock,
      random,
      logger: silentLogger,
      shards: SHARDS,
      joinDebounceMs: 0,
      version: "test",
      loadBalancer: "consistent-hash",
      ...options,
      ...more,
    });
    others.push(made);
    return made;
  };
  const join = async (name: string): Promise<SmallEngine> => {
    const engine = await startEngine(parts, name);
    engines.push(engine);
    discovery.set(engines);
    return engine;
  };

  await store.open({ shards: SHARDS });
  const orchestrator = another({ name: "first" });
  for (let index = 1; index <= count; index++) engines.push(await startEngine(parts, `engine-${index}`));
  discovery.set(engines);
  await orchestrator.start();
  const server = await transport.serve({
    address: "127.0.0.1:0",
    services: orchestrator.services,
    authenticate: ({ token }): Identity => ({ namespace: token ?? "default", subject: "ada", role: "client" }),
  });
  if (count > 0) await orchestrator.ready(AbortSignal.timeout(10_000));
  return {
    store,
    transport,
    discovery,
    orchestrator,
    engines,
    join,
    another,
    client: (namespace) =>
      transport.connect({ address: server.address, ...(namespace === undefined ? {} : { token: namespace }) }),
    async stop() {
      await server.stop(0);
      await Promise.all(others.map((one) => one.stop()));
      await Promise.all(engines.map((engine) => engine.stop()));
      await store.close();
    },
  };
}

/** Looks until it holds; each look is after something was awaited, so that the event loop turns. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = systemClock.monotonic() + 10_000;
  while (!(await holds())) {
    if (systemClock.monotonic() > untilMs) throw new Error("it did not come about within 10 s");
    await systemClock.sleep(5);
  }
}
