import { WorkerDisk } from "./disk.ts";
import type { Cluster } from "./cluster.ts";
import { Life } from "./life.ts";
import type { NodeSeen, Ports } from "./run.ts";
import { namedRandom } from "./random.ts";
import { beginEngine, beginOrchestrator, beginWorker, type Running, type Site } from "./roles.ts";
import { drawSkew, type WorkerShape } from "./shape.ts";
import { NO_DOOR_FAULTS, StoreDoor } from "./store-door.ts";
import { simulatedTransport } from "./transport.ts";

/** A supervisor starts what ended by itself again after so long. */
const SUPERVISOR_MS = 1_000;

/** One name in the cluster, and the processes that bear it one after the other. */
export class SimulatedNode {
  readonly name: string;
  readonly role: NodeSeen["role"];
  readonly worker: WorkerShape | undefined;
  readonly #cluster: Cluster;
  life: Life | undefined;
  door: StoreDoor | undefined;
  disk = new WorkerDisk();
  /** A worker whose disk is gone comes back under another id. */
  workerId: string;
  #running: Running | undefined;
  #lives = 0;
  /** Its last life ended without anybody's force. */
  leftByItself = false;
  /** Not wanted now: a supervisor leaves it alone. */
  #down = true;
  /** Its host has gone with it: nothing answers there. */
  #hostGone = false;
  /** Pods of a fleet do not: another one takes their place. */
  readonly restarts: boolean;

  constructor(cluster: Cluster, of: { name: string; role: NodeSeen["role"]; worker?: WorkerShape; workerId?: string }) {
    this.#cluster = cluster;
    this.name = of.name;
    this.role = of.role;
    this.worker = of.worker;
    this.workerId = of.workerId ?? of.name;
    this.restarts = of.worker?.requestId === undefined;
  }

  get up(): boolean {
    return this.life?.state === "up" || this.life?.state === "frozen";
  }

  /** Begins a life. Nothing when one goes on. */
  start(): void {
    if (this.up) return;
    const { network, timeline, seed, shape } = this.#cluster;
    if (this.#hostGone) {
      this.#hostGone = false;
      network.unwall("*", this.name);
      network.unwall(this.name, "*");
    }
    this.#down = false;
    this.leftByItself = false;
    this.#lives += 1;
    const random = namedRandom(seed, `${this.name}.${this.#lives}`);
    const skew = drawSkew(namedRandom(seed, `clock of ${this.name}`), shape);
    const life = new Life({
      node: this.name,
      number: this.#lives,
      pid: this.#cluster.newPid(),
      timeline,
      random,
      skew,
    });
    this.life = life;
    this.#cluster.record({ kind: "node", node: this.name, life: life.number, state: "up" });
    void this.#begin(life);
  }

  /** As `kill -9`. `silently`: the host goes too, and nobody is told. */
  crash({ silently = false } = {}): void {
    const life = this.life;
    if (!life || life.state === "dead") return;
    this.#down = true;
    this.#cluster.record({ kind: "node", node: this.name, life: life.number, state: "crashed" });
    this.#end(life, !silently);
    if (!silently) return;
    this.#hostGone = true;
    this.#cluster.network.wall("*", this.name);
    this.#cluster.network.wall(this.name, "*");
  }

  loseDisk(): void {
    this.disk = new WorkerDisk();
    this.workerId = `${this.name}-new${this.#lives}`;
  }

  /** As on SIGTERM: it drains and goes. Resolves when it has gone, also when something else has ended it meanwhile. */
  async leave(): Promise<void> {
    const life = this.life;
    if (!life || !this.#running) return;
    this.#down = true;
    const gone = new Promise<void>((resolve) => life.onDeath(resolve));
    life.enter(() => {
      void this.#running?.leave().then(
        () => this.#left(life),
        () => this.#left(life),
      );
    });
    await gone;
  }

  freeze(): void {
    if (this.life?.state !== "up") return;
    this.life.freeze();
    this.#cluster.record({ kind: "node", node: this.name, life: this.life.number, state: "frozen" });
  }

  thaw(): void {
    if (this.life?.state !== "frozen") return;
    this.#cluster.record({ kind: "node", node: this.name, life: this.life.number, state: "thawed" });
    this.life.thaw();
  }

  /** The process comes up; one that cannot ends, and is started again. */
  async #begin(life: Life): Promise<void> {
    const site: Site = { cluster: this.#cluster, shape: this.#cluster.shape, life, ports: this.#ports(life) };
    try {
      const running = await this.#beginRole(site);
      if (life.state === "dead") return;
      this.#running = running;
      await running.ended;
    } catch (error) {
      this.#cluster.noteExit(this.name, error);
    }
    this.#left(life);
  }

  async #beginRole(site: Site): Promise<Running> {
    switch (this.role) {
      case "orchestrator":
        return await beginOrchestrator(site);
      case "engine":
        return await beginEngine(site);
      case "worker": {
        const { worker, disk, workerId } = this;
        if (!worker) throw new RangeError(`${this.name} has no shape`);
        const handlers = this.#cluster.handlersOf(site.life, site.ports, workerId);
        return await beginWorker(site, { ...worker, id: workerId, disk, handlers });
      }
      default:
        return this.role satisfies never;
    }
  }

  /** It has ended of its own accord. */
  #left(life: Life): void {
    if (life.state === "dead") return;
    this.leftByItself = true;
    this.#cluster.record({ kind: "node", node: this.name, life: life.number, state: "stopped" });
    this.#end(life, true);
    if (this.#down || !this.restarts) return;
    this.#cluster.timeline.after(SUPERVISOR_MS, () => {
      if (!this.#down) this.start();
    });
  }

  #end(life: Life, told: boolean): void {
    this.#running = undefined;
    life.kill();
    this.#cluster.network.died(life, told);
    this.#cluster.onNodeEnd(this, life);
  }

  #ports(life: Life): Ports {
    const { network, plant, store } = this.#cluster;
    this.door = new StoreDoor({
      life,
      network,
      store,
      record: this.#cluster.record,
      faults: () => (this.#cluster.calm ? NO_DOOR_FAULTS : this.#cluster.doorFaults),
      onFault: this.#cluster.onFault,
    });
    const plain: Ports = {
      store: this.door.port,
      transport: simulatedTransport(network, life),
      clock: life.clock,
      random: life.random,
    };
    return plant?.node?.(plain, { name: this.name, role: this.role, life: life.number }) ?? plain;
  }
}
