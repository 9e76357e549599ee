import type { Store } from "../../store/store.ts";
import type { TaskFunction } from "../../worker/options.ts";
import { Timeline } from "./clock.ts";
import { Life } from "./life.ts";
import { Network } from "./network.ts";
import { SimulatedNode } from "./node.ts";
import { SimulatedPlatform } from "./platform.ts";
import { namedRandom } from "./random.ts";
import { addressOf } from "./roles.ts";
import type { ClientSite, NodeSeen, Plant, Ports, Workload } from "./run.ts";
import { Runs } from "./runs.ts";
import type { Shape } from "./shape.ts";
import { type DoorFaults, NO_DOOR_FAULTS } from "./store-door.ts";
import { createSimulatedStore, type SimulatedStore } from "./store.ts";
import type { Happening, Recorder, TraceEvent } from "./trace.ts";
import { simulatedTransport } from "./transport.ts";

export type ClusterOptions = { seed: number; shape: Shape; workload: Workload; plant: Plant | undefined };

/**
 * One simulated cluster: real orchestrators, engines and workers, over a store, a network and clocks that are not. What
 * can be done to it stands in `faults.ts`; this is what it is made of.
 */
export class Cluster {
  readonly seed: number;
  readonly shape: Shape;
  readonly plant: Plant | undefined;
  readonly timeline = new Timeline();
  readonly network: Network;
  readonly trace: TraceEvent[] = [];
  readonly nodes = new Map<string, SimulatedNode>();
  /** How often each fault has really acted. */
  readonly faultCounts = new Map<string, number>();
  /** What the store is, below recording and faults. */
  readonly bareStore: SimulatedStore;
  /** The same with a planted bug in it. */
  readonly store: Store;
  doorFaults: DoorFaults = NO_DOOR_FAULTS;
  /** Whether faults that act by chance are over. */
  calm = false;
  /** Whose clock judges leases and timers. */
  readonly storeLife: Life;
  readonly platform: SimulatedPlatform;
  readonly #workload: Workload;
  readonly #runs: Runs;
  readonly #livingPids = new Set<number>();
  #pids = 100;

  constructor({ seed, shape, workload, plant }: ClusterOptions) {
    this.seed = seed;
    this.shape = shape;
    this.plant = plant;
    this.#workload = workload;
    this.network = new Network(this.timeline, namedRandom(seed, "network"), (fault) => this.onFault(fault));
    this.storeLife = this.#friendly("store");
    this.bareStore = createSimulatedStore({
      clock: this.storeLife.clock,
      random: this.storeLife.random,
      traced: () => this.trace.length,
    });
    this.store = plant?.store?.(this.bareStore.store) ?? this.bareStore.store;
    this.#runs = new Runs(this.record);
    this.platform = new SimulatedPlatform(this);
    this.#add("orchestrator", shape.orchestrators);
    this.#add("engine", shape.engines);
    for (const [at, worker] of shape.workers.entries()) {
      const name = `worker-${at + 1}`;
      this.nodes.set(name, new SimulatedNode(this, { name, role: "worker", worker }));
    }
  }

  /** All processes begin, in the order in which a machine gets to them. */
  boot(): void {
    const random = namedRandom(this.seed, "boot");
    for (const node of this.nodes.values()) this.timeline.after(random.float() * 200, () => node.start());
  }

  node(name: string): SimulatedNode {
    const found = this.nodes.get(name);
    if (!found) throw new RangeError(`there is no ${name} in this cluster`);
    return found;
  }

  names(role: NodeSeen["role"]): string[] {
    return [...this.nodes.values()].filter((node) => node.role === role).map((node) => node.name);
  }

  /** Nodes of one number share a host, beginning at the first again. */
  hostOf(node: string): string {
    const number = Number(/(\d+)$/.exec(node)?.[1] ?? 1);
    return `host-${((number - 1) % this.shape.hosts) + 1}`;
  }

  newPid(): number {
    const pid = ++this.#pids;
    this.#livingPids.add(pid);
    return pid;
  }

  lives(pid: number): boolean {
    return this.#livingPids.has(pid);
  }

  readonly record: Recorder = (event: Happening) => {
    const atMs = Math.round(this.timeline.nowMs * 1000) / 1000;
    this.trace.push({ atMs, ...event } as TraceEvent);
  };

  /** A fault that acts by chance, on a single message or call: counted, not told. */
  readonly onFault = (fault: string): void => {
    this.faultCounts.set(fault, (this.faultCounts.get(fault) ?? 0) + 1);
  };

  /** A process could not start, or broke: it ends, and its supervisor starts another one. */
  noteExit(node: string, error: unknown): void {
    const detail = error instanceof Error ? error.message : String(error);
    this.record({ kind: "fault", fault: "exit", to: node, detail });
  }

  onNodeEnd(node: SimulatedNode, life: Life): void {
    this.platform.ended(node);
    this.#livingPids.delete(life.pid);
    this.#runs.killed(life);
  }

  /** The workload's handlers, in this life of a worker; what they do is recorded. */
  handlersOf(life: Life, ports: Ports, workerId: string): Map<string, TaskFunction> {
    const handlers = this.#workload.handlers({ worker: life.node, clock: ports.clock, random: life.random });
    return new Map([...handlers].map(([name, run]) => [name, this.#runs.recorded(life, workerId, run)]));
  }

  /** Clients have good clocks and never crash; their calls cross the same network as all others. */
  clientSite(): ClientSite {
    const { clock, random } = this.#friendly("clients");
    return {
      clock,
      random,
      record: this.record,
      client: (name) => {
        const life = this.#friendly(`client-${name}`);
        return {
          addresses: this.names("orchestrator").map(addressOf),
          transport: simulatedTransport(this.network, life),
          clock: life.clock,
          random: life.random,
        };
      },
    };
  }

  #friendly(node: string): Life {
    const random = namedRandom(this.seed, node);
    return new Life({ node, number: 1, pid: 0, timeline: this.timeline, random, skew: { rate: 1, aheadMs: 0 } });
  }

  #add(role: "orchestrator" | "engine", count: number): void {
    for (let number = 1; number <= count; number++) {
      const name = `${role}-${number}`;
      this.nodes.set(name, new SimulatedNode(this, { name, role }));
    }
  }
}
