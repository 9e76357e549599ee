import { silentLogger } from "../../base/log.ts";
import { createEngine } from "../../engine/engine.ts";
import { createOrchestrator } from "../../orchestrator/orchestrator.ts";
import type { FleetOptions } from "../../engine/fleet/options.ts";
import type { ChildGateway } from "../../transport/api/engine.ts";
import { createStaticDiscovery } from "../../transport/discovery/static.ts";
import { HodeiError, isHodeiError } from "../../workflow/errors.ts";
import type { TaskFunction } from "../../worker/options.ts";
import { createWorker } from "../../worker/worker.ts";
import type { Cluster } from "./cluster.ts";
import { simulatedHost, type WorkerDisk } from "./disk.ts";
import type { Life } from "./life.ts";
import type { Ports } from "./run.ts";
import type { FleetShape, Shape, WorkerShape } from "./shape.ts";
import { callByName, serve } from "./transport.ts";
import { HANDLERS } from "./workload/handlers.ts";

/** A process that runs: how it is asked to go, and when it went by itself. */
export type Running = {
  /** As on SIGTERM. */
  leave(): Promise<void>;
  /** Resolves when it ends of its own accord; never for those that do not. */
  ended: Promise<void>;
};

export type Site = { cluster: Cluster; shape: Shape; life: Life; ports: Ports };

const VERSION = "simulated";
/** Made anew for each life: one for all would keep everyone who ever waited for it. */
const never = (): Promise<never> => new Promise(() => {});
/** The door of an orchestrator for children: not in the API, since engines and orchestrator share a process today. */
const GATEWAY = "gateway";
const GATEWAY_DEADLINE_MS = 5_000;

export function addressOf(node: string): string {
  return `${node}:1`;
}

export async function beginOrchestrator({ cluster, shape, life, ports }: Site): Promise<Running> {
  const members = cluster.names("engine").map((name) => ({ name, address: addressOf(name) }));
  const front = createOrchestrator({
    ...ports,
    discovery: createStaticDiscovery(members),
    logger: silentLogger,
    version: VERSION,
    loadBalancer: shape.loadBalancer,
    shards: shape.shards,
    name: life.node,
    joinDebounceMs: 0,
  });
  const server = serve(cluster.network, life, addressOf(life.node), { ...front.services, [GATEWAY]: front.gateway });
  await front.start();
  return {
    ended: never(),
    leave: async () => {
      await server.stop();
      await front.stop();
    },
  };
}

export async function beginEngine({ cluster, shape, life, ports }: Site): Promise<Running> {
  const engine = createEngine({
    name: life.node,
    address: addressOf(life.node),
    store: ports.store,
    shards: shape.shards,
    gateway: gatewayOf(cluster, life),
    clock: ports.clock,
    random: ports.random,
    logger: silentLogger,
    version: VERSION,
    pid: life.pid,
    ...(shape.fleet === undefined
      ? {}
      : { platform: cluster.platform.portOf(life, shape), fleet: fleetOf(shape, shape.fleet) }),
    redirect: () =>
      cluster
        .names("engine")
        .filter((name) => name !== life.node)
        .map(addressOf),
    hostEvidence: {
      bootId: cluster.hostOf(life.node),
      pidNamespace: cluster.hostOf(life.node),
      alive: (pid) => cluster.lives(pid),
    },
  });
  const server = await ports.transport.serve({ address: addressOf(life.node), services: engine.services });
  await engine.start();
  return {
    ended: never(),
    leave: async () => {
      await engine.drain();
      await engine.stop();
      await server.stop();
    },
  };
}

/** Idle workers of the fleet go soon: nobody simulates ten minutes for that. */
const IDLE_MS = 15_000;
const GRACE_MS = 5_000;

function fleetOf(shape: Shape, { warm, maxEphemeral, extras, slots, labels }: FleetShape): FleetOptions {
  const none = { services: [], hardware: {}, models: {}, custom: {} };
  const total = shape.workers[0]?.resources ?? { cpuMillis: 0, memoryBytes: 0, gpu: 0, storageBytes: 0 };
  const offer = { ...none, labels, handlers: HANDLERS.toSorted(), ephemeral: false, namespace: "default", total };
  const template = { id: "simulated", offer, slots, env: {} };
  return { template, warm, maxEphemeral, extras, idleMs: IDLE_MS, graceMs: GRACE_MS };
}

/** Any orchestrator serves; another one is tried with the next message. */
function gatewayOf(cluster: Cluster, life: Life): ChildGateway {
  const names = cluster.names("orchestrator");
  let next = Math.floor(life.random.float() * names.length);
  const ask = async (method: keyof ChildGateway, request: object): Promise<void> => {
    const address = addressOf(names[next % names.length] ?? "");
    const about = { network: cluster.network, life, address };
    try {
      const asked = { service: GATEWAY, method, token: undefined };
      await callByName(about, asked, request, { deadlineMs: GATEWAY_DEADLINE_MS });
    } catch (error) {
      next += 1;
      if (!isHodeiError(error, "DEADLINE_EXCEEDED", "CANCELLED")) throw error;
      throw new HodeiError("UNAVAILABLE", "the orchestrator did not answer", { cause: error });
    }
  };
  return {
    startChild: (request) => ask("startChild", request),
    deliver: (request) => ask("deliver", request),
  };
}

export async function beginWorker(
  { cluster, life, ports }: Site,
  of: WorkerShape & { id: string; disk: WorkerDisk; handlers: Map<string, TaskFunction> },
): Promise<Running> {
  const host = cluster.hostOf(life.node);
  const identity = { bootId: host, pidNamespace: host, pid: life.pid, startTime: String(life.number), hostname: host };
  const worker = createWorker({
    addresses: cluster.names("engine").map(addressOf),
    name: life.node,
    id: of.id,
    transport: ports.transport,
    clock: ports.clock,
    random: ports.random,
    logger: silentLogger,
    directory: "",
    host: simulatedHost(life, of.disk, identity, of.resources),
    offer: { labels: of.labels, namespace: "default" },
    handlers: of.handlers,
    slots: of.slots,
    baseEnv: {},
    detectTools: false,
    version: VERSION,
    ...(of.ephemeral ? { ephemeral: true } : {}),
    ...(of.requestId === undefined ? {} : { requestId: of.requestId }),
  });
  await worker.start();
  return { ended: worker.done.then(() => undefined), leave: () => worker.drain("asked to go") };
}
