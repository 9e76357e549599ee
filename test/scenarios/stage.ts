import { Asking } from "../simulation/workload/asking.ts";
import type { ClientSite } from "../simulation/run.ts";
import type { Scripted } from "../simulation/world.ts";
import type { Hands } from "./hands.ts";
import { Sight } from "./sight.ts";

/** The client was told no. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;

  constructor(words: string) {
    super(`it was refused: ${words}`);
    this.code = words.split(":", 1)[0] ?? "";
  }
}

/** A client waits for one answer no longer than this. */
const ANSWER_MS = 60_000;
/** After the boot all shards have an owner, and all workers an engine, within this. */
const READY_MS = 30_000;
const LOOK_MS = 50;
/** And then shards move no more: the engine that came last has its share. */
const SETTLED_MS = 5_000;

/** What the sentences of a scenario act on. */
export class Stage {
  readonly scripted: Scripted;
  readonly sight: Sight;
  readonly hands: Hands;
  readonly asking: Asking;
  /** Faults that wait for their moment, by the name under which they are counted. */
  readonly armed: string[] = [];
  #messages = 0;
  readonly #meanwhile: Promise<unknown>[] = [];

  constructor(of: { scripted: Scripted; site: ClientSite; hands: Hands }) {
    this.scripted = of.scripted;
    this.hands = of.hands;
    this.sight = new Sight(of.scripted.cluster.trace);
    this.asking = new Asking(of.site, "ann", { next: 1, messages: 0 });
  }

  /** Time goes on until the cluster has settled after its boot. */
  async ready(): Promise<void> {
    const { cluster } = this.scripted;
    for (let waitedMs = 0; waitedMs < READY_MS; waitedMs += LOOK_MS) {
      const shards = await cluster.bareStore.store.shards();
      const owned = shards.filter(({ owner }) => owner !== undefined).length === cluster.shape.shards;
      if (owned && cluster.names("worker").every((name) => this.#engineOf(name) !== undefined)) {
        return await this.scripted.advance(SETTLED_MS);
      }
      await this.scripted.advance(LOOK_MS);
    }
    throw new Error("the cluster was not ready in time");
  }

  /** Faults that were announced and never came: the scenario shows less than it says. */
  unused(): string[] {
    const left = new Map(this.scripted.cluster.faultCounts);
    return this.armed.filter((fault) => {
      const count = left.get(fault) ?? 0;
      left.set(fault, count - 1);
      return count <= 0;
    });
  }

  messageId(): string {
    return `ann-${++this.#messages}`;
  }

  /** Asks, and lets time go on until the answer is there. */
  async answered(ask: Promise<unknown>): Promise<void> {
    let answer: { value: unknown } | undefined;
    void ask.then((value) => (answer = { value }));
    if (!(await this.scripted.until(() => answer !== undefined, ANSWER_MS))) throw new Error("nobody answered");
    if (answer?.value !== undefined) return;
    const last = this.scripted.cluster.trace.findLast((event) => event.kind === "answered");
    throw new Refused(last?.kind === "answered" ? (last.error ?? "no reason") : "no reason");
  }

  /** Asks, and goes on without the answer. What became of it is waited for at the end. */
  ask(asked: Promise<unknown>): void {
    this.#meanwhile.push(asked);
  }

  /** The faults are over: whoever still waits for an answer gets it. */
  async end(): Promise<void> {
    this.hands.release();
    await Promise.all(this.#meanwhile);
    await this.asking.close();
  }

  /** "engine-2", "the owner of order-1", "the engine of worker-1", "the worker of charge of order-1". */
  async node(words: string): Promise<string> {
    const [what = "", ...rest] = words.replace(/^the /, "").split(" of ");
    const { cluster } = this.scripted;
    const name = rest.length === 0 ? what : await this.#nodeOf(what, rest);
    if (name === undefined) throw new Error(`there is no ${words} now`);
    return name === "store" || name.startsWith("client-") ? name : cluster.node(name).name;
  }

  async #nodeOf(what: string, of: string[]): Promise<string | undefined> {
    const { store } = this.scripted.cluster.bareStore;
    const [first = "", second] = of;
    if (what === "owner" && second === undefined) {
      const [head] = (await store.listExecutions({ namespace: "default", limit: 500 })).executions.filter(
        ({ id }) => id === first,
      );
      return head && (await store.shards()).find(({ shard }) => shard === head.shard)?.owner;
    }
    if (what === "engine" && second === undefined) return this.#engineOf(first);
    if (what === "worker" && second !== undefined) {
      this.sight.look();
      const worker = this.sight.runsOf(first, second).at(-1)?.worker;
      return worker?.replace(/-new\d+$/, "");
    }
    throw new Error("there are: the owner of <execution>, the engine of <worker>, the worker of <step> of <execution>");
  }

  /** Whose stream the worker holds. */
  #engineOf(worker: string): string | undefined {
    const { network } = this.scripted.cluster;
    const open = [...network.conversations].filter(
      ({ client, server }) => client.life?.node === worker && client.life.state !== "dead" && !server.over,
    );
    return open.at(-1)?.server.life?.node;
  }
}
