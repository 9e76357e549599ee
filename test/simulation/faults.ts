import type { Cluster } from "./cluster.ts";
import type { SimulatedNode } from "./node.ts";
import { STORE } from "./store-door.ts";
import { STORE_CLOCK_JUMP, type StoreMethod, type TraceEvent } from "./trace.ts";

/** One fault with an end of its own, which may be brought about early. */
type Open = { end: () => void };

/** An engine that has died is replaced within its lease; looked for so often. */
const TAKEOVER_MS = 15_000;
const TAKEOVER_LOOK_MS = 10;

/**
 * What can be done to a cluster. The nemesis and hand-written scenarios use the same verbs; each is told in the trace and
 * counted when it has really acted.
 */
export class Faults {
  readonly #cluster: Cluster;
  readonly #open = new Set<Open>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** kill -9, and a new process `backMs` later. `silently`: the host goes with it, and nobody is told of broken connections. */
  crash(name: string, how: { backMs: number; silently?: boolean; loseDisk?: boolean }): void {
    const node = this.#cluster.node(name);
    if (!node.up) return;
    const { silently = false, loseDisk = false, backMs } = how;
    const words = [silently ? "with its host" : "", loseDisk ? "with its disk" : ""].filter(Boolean).join(", ");
    this.#tell(`${silently ? "host gone" : "crash"} ${node.role}${loseDisk ? " and disk" : ""}`, name, words);
    node.crash({ silently });
    if (loseDisk) node.loseDisk();
    this.#restart(node, backMs);
  }

  /** Its `calls`-th call to the store from now on is its last: it dies before the call takes effect, or right after. */
  crashAtCall(
    name: string,
    how: { calls: number; when: "before" | "after"; method?: StoreMethod; backMs: number },
  ): void {
    const node = this.#cluster.node(name);
    const { calls, when, method, backMs } = how;
    node.door?.doom({
      calls,
      when,
      ...(method === undefined ? {} : { method }),
      strike: () => {
        this.#tell(`crash ${when} a store call`, name);
        node.crash();
        this.#restart(node, backMs);
      },
    });
  }

  /** Its next call of that method takes effect, and its answer never comes. */
  loseAnswer(name: string, method: StoreMethod): void {
    this.#cluster.node(name).door?.loseAnswer({ method, lost: () => this.#tell("store answer lost", name, method) });
  }

  /** SIGTERM: it drains and goes; a new one comes `backMs` after that. */
  drain(name: string, backMs: number): void {
    const node = this.#cluster.node(name);
    if (!node.up) return;
    this.#tell(`drain ${node.role}`, name);
    void node.leave().then(() => this.#restart(node, backMs));
  }

  /** SIGSTOP. `withHost`: what it had just sent stays with it, as in a virtual machine that is paused. */
  freeze(name: string, how: { forMs: number; withHost?: boolean }): void {
    const node = this.#cluster.node(name);
    if (node.life?.state !== "up") return;
    const { network } = this.#cluster;
    this.#tell(how.forMs >= 10_000 ? "freeze beyond the lease" : "freeze", name, `${how.forMs} ms`);
    node.freeze();
    if (how.withHost === true) network.wall(name, "*");
    this.#later(how.forMs, () => {
      node.thaw();
      if (how.withHost === true) network.unwall(name, "*");
    });
  }

  /** Nothing gets from one to the other, or either way. Hosts: nodes and "store"; `"*"`: all others. */
  partition(from: string, to: string, how: { forMs: number; bothWays: boolean }): void {
    const { network } = this.#cluster;
    const store = from === STORE || to === STORE;
    const kind = store ? "partition from the store" : to === "*" ? "isolation" : "partition";
    this.#tell(`${kind} ${how.bothWays ? "both ways" : "one way"}`, `${from} > ${to}`, `${how.forMs} ms`);
    network.wall(from, to);
    if (how.bothWays) network.wall(to, from);
    this.#later(how.forMs, () => {
      network.unwall(from, to);
      if (how.bothWays) network.unwall(to, from);
    });
  }

  /** The connections of a node break, `share` of them; it and the others live on. */
  cut(name: string, share: number): void {
    const { network } = this.#cluster;
    const mine = [...network.conversations].filter(
      ({ client, server }) => client.life?.node === name || server.life?.node === name,
    );
    const chosen = mine.filter(() => network.random.float() < share);
    if (chosen.length === 0) return;
    this.#tell("connections cut", name, `${chosen.length} of ${mine.length}`);
    for (const conversation of chosen) conversation.cut("reset by the network");
  }

  /** Somebody sets its wall clock. */
  jumpClock(name: string, byMs: number): void {
    const node = this.#cluster.node(name);
    if (!node.up) return;
    this.#tell("clock jump", name, `${byMs} ms`);
    node.life?.jump(byMs);
  }

  /** The clock that judges leases and timers is set ahead. */
  jumpStoreClock(byMs: number): void {
    this.#tell(STORE_CLOCK_JUMP, STORE, `${byMs} ms`);
    this.#cluster.storeLife.jump(byMs);
  }

  /** The store fails over to a copy that had not heard of the last `lostMs`. */
  rollBack(lostMs: number): void {
    const { trace, timeline, bareStore, record } = this.#cluster;
    const fromMs = timeline.nowMs - lostMs;
    const at = trace.findLastIndex((event) => event.atMs <= fromMs) + 1;
    this.#tell("store rolled back", STORE, `${Math.round(lostMs)} ms are lost`);
    bareStore.rollBack(at);
    record({ kind: "rolledBack", keptEvents: at });
  }

  /**
   * As soon as an engine has taken over shards, the store fails over to a copy that had not heard of it, and nothing gets
   * through to the store from that engine. The next owner gets the same epochs, and only the nonce tells the two apart when
   * what the first one said arrives. `frozen`: the engine stands still meanwhile; else it goes on until its lease is over.
   */
  rollBackTakeover(how: { forMs: number; frozen: boolean }): void {
    const { trace, timeline } = this.#cluster;
    const from = trace.length;
    const untilMs = timeline.nowMs + TAKEOVER_MS;
    const look = (): void => {
      const at = trace.findIndex((event, index) => index >= from && tookOver(event));
      // It must know what it took over, or it has nothing to say.
      const loaded = at >= 0 && trace.some((event, index) => index > at && loads(event, trace[at]));
      if (loaded) this.#undoTakeover(at, how);
      else if (timeline.nowMs < untilMs && !this.#cluster.calm) timeline.after(TAKEOVER_LOOK_MS, look);
    };
    look();
  }

  #undoTakeover(at: number, how: { forMs: number; frozen: boolean }): void {
    const { trace, bareStore, record, network } = this.#cluster;
    const event = trace[at];
    if (event?.kind !== "store") return;
    const node = this.#cluster.node(event.node);
    if (node.life?.state !== "up") return;
    this.#tell("takeover rolled back", event.node, `${how.forMs} ms`);
    if (how.frozen) node.freeze();
    network.wall(event.node, STORE);
    this.#later(how.forMs, () => {
      if (how.frozen) node.thaw();
      network.unwall(event.node, STORE);
    });
    bareStore.rollBack(at);
    record({ kind: "rolledBack", keptEvents: at });
  }

  storeAway(forMs: number): void {
    const { network } = this.#cluster;
    this.#tell("store away", STORE, `${forMs} ms`);
    network.wall("*", STORE);
    network.wall(STORE, "*");
    this.#later(forMs, () => {
      network.unwall("*", STORE);
      network.unwall(STORE, "*");
    });
  }

  /** Everything that was done is undone, and nothing acts by chance any more. */
  heal(): void {
    const { network, nodes, record } = this.#cluster;
    if (this.#cluster.calm) return;
    record({ kind: "fault", fault: "heal", to: "all" });
    this.#cluster.calm = true;
    network.weather = { ...network.weather, slow: 0, duplicated: 0, lost: 0 };
    for (const node of nodes.values()) node.door?.pardon();
    for (const open of this.#open) open.end();
    for (const node of nodes.values()) if (isMissing(node)) node.start();
  }

  /** Pods are not started again: their engine makes another one. */
  #restart(node: SimulatedNode, backMs: number): void {
    if (node.restarts) this.#later(backMs, () => node.start());
  }

  #later(delayMs: number, action: () => void): void {
    const open: Open = {
      end: () => {
        this.#open.delete(open);
        timer.cancel();
        action();
      },
    };
    const timer = this.#cluster.timeline.after(delayMs, open.end);
    this.#open.add(open);
  }

  #tell(fault: string, to: string, detail = ""): void {
    this.#cluster.onFault(fault);
    this.#cluster.record({ kind: "fault", fault, to, ...(detail === "" ? {} : { detail }) });
  }
}

function tookOver(event: TraceEvent): boolean {
  if (event.kind !== "store" || event.method !== "acquireShards") return false;
  const { acquired = [] } = event.answer as { acquired?: unknown[] };
  return acquired.length > 0;
}

function loads(event: TraceEvent, taken: TraceEvent | undefined): boolean {
  if (event.kind !== "store" || taken?.kind !== "store" || event.node !== taken.node) return false;
  return event.method === "readExecution" || event.method === "turn";
}

function isMissing(node: SimulatedNode): boolean {
  return !node.up && node.restarts;
}
