import type { Platform, Pod, PodSpec } from "../../platform/platform.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { Cluster } from "./cluster.ts";
import type { Life } from "./life.ts";
import { SimulatedNode } from "./node.ts";
import type { Shape, WorkerShape } from "./shape.ts";

/** The platform's host on the network. */
export const PLATFORM = "platform";
/** From a pod's creation to its process. */
const STARTS_MS = { from: 50, to: 1_500 };
const CALL_MS = 5_000;
/** Share of calls that fail, and of creations that the quota refuses, while faults act. */
const AWAY = 0.05;
const QUOTA = 0.05;

type Held = { pod: Pod; node: SimulatedNode };

/**
 * What workers' pods run on, one for the whole cluster, as a Kubernetes API server is: it outlives engines, and tells of
 * the end of a pod, which is the evidence that its worker is dead.
 */
export class SimulatedPlatform {
  readonly #cluster: Cluster;
  readonly #pods = new Map<string, Held>();
  readonly #watchers = new Set<(pod: Pod) => void>();
  #made = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  get pods(): Pod[] {
    return [...this.#pods.values()].map(({ pod }) => pod);
  }

  /** As one engine reaches it. */
  portOf(life: Life, shape: Shape): Platform {
    const ask = <T>(act: () => T): Promise<T> => this.#ask(life, act);
    return {
      name: "process",
      create: (spec) => ask(() => this.#create(spec, shape)),
      list: () => ask(() => this.pods),
      delete: async (request) => await ask(() => this.#delete(request)),
      logs: async () => await ask(() => ""),
      watch: (onChange) => {
        const tell = (pod: Pod): void =>
          this.#cluster.network.post(PLATFORM, life.node, () => life.enter(() => onChange(pod)));
        this.#watchers.add(tell);
        const stop = (): void => void this.#watchers.delete(tell);
        life.onDeath(stop);
        return stop;
      },
    };
  }

  /** A process has ended: its pod has, if it was one. */
  ended(node: SimulatedNode): void {
    const held = this.#pods.get(node.name);
    if (!held || held.pod.phase === "failed" || held.pod.phase === "succeeded") return;
    const left = node.leftByItself;
    const reason = { class: "infrastructure", code: "Killed", message: "its process was killed" } as const;
    this.#change(held, left ? { phase: "succeeded", exitCode: 0 } : { phase: "failed", exitCode: 137, reason });
  }

  #create(spec: PodSpec, shape: Shape): Pod {
    const { timeline, network, calm, onFault } = this.#cluster;
    const known = [...this.#pods.values()].find(({ pod }) => pod.name === spec.name);
    if (known) return known.pod;
    if (!calm && network.random.float() < QUOTA) {
      onFault("pod refused");
      throw new HodeiError("RESOURCE_EXHAUSTED", "exceeded quota");
    }
    // Their last digit says what they can run: all of it.
    const name = `pod-${++this.#made}1`;
    const worker: WorkerShape = {
      slots: shape.fleet?.slots ?? 1,
      labels: shape.fleet?.labels ?? [],
      resources: shape.workers[0]?.resources ?? { cpuMillis: 1, memoryBytes: 1, gpu: 0, storageBytes: 1 },
      ephemeral: spec.env["EPHEMERAL_MODE"] === "true",
      requestId: spec.request,
    };
    const workerId = spec.env["WORKER_ID"] ?? name;
    const node = new SimulatedNode(this.#cluster, { name, role: "worker", worker, workerId });
    const { request, labels } = spec;
    const pod: Pod = { name: spec.name, uid: name, request, labels, createdAtMs: 0, phase: "pending" };
    const held = { pod, node };
    this.#pods.set(name, held);
    this.#cluster.nodes.set(name, node);
    const startsMs = STARTS_MS.from + network.random.float() * (STARTS_MS.to - STARTS_MS.from);
    timeline.after(startsMs, () => {
      if (held.pod.phase !== "pending") return;
      node.start();
      this.#change(held, { phase: "running" });
    });
    return pod;
  }

  #delete({ uid, graceMs }: { name: string; uid: string; graceMs: number }): void {
    const held = this.#pods.get(uid);
    if (!held) return;
    const { node } = held;
    if (held.pod.phase === "pending") this.#change(held, { phase: "failed" });
    if (!node.up) return this.#forget(held);
    void node.leave().then(() => this.#forget(held));
    this.#cluster.timeline.after(graceMs, () => {
      node.crash();
      this.#forget(held);
    });
  }

  #forget({ node }: Held): void {
    this.#pods.delete(node.name);
    this.#cluster.nodes.delete(node.name);
  }

  #change(held: Held, to: Partial<Pod>): void {
    held.pod = { ...held.pod, ...to };
    for (const tell of this.#watchers) tell(held.pod);
  }

  #ask<T>(life: Life, act: () => T): Promise<T> {
    const { network, onFault } = this.#cluster;
    return new Promise((resolve, reject) => {
      const away = (): void => reject(new HodeiError("UNAVAILABLE", "the platform did not answer"));
      const late = life.clock.after(CALL_MS, away);
      const back = (answer: () => void): void =>
        network.post(PLATFORM, life.node, () =>
          life.enter(() => {
            late.cancel();
            answer();
          }),
        );
      network.post(life.node, PLATFORM, () => {
        if (!this.#cluster.calm && network.random.float() < AWAY) {
          onFault("platform away");
          return back(away);
        }
        try {
          const answer = act();
          back(() => resolve(answer));
        } catch (error) {
          back(() => reject(error));
        }
      });
    });
  }
}
