import { createHash } from "node:crypto";
import type { Store } from "../../store/store.ts";
import type { Outcome } from "../../workflow/job.ts";

/**
 * What happened in one simulated life of a cluster, in order, and nothing that did not happen: the checker reads this and
 * the store at rest, never the insides of an engine. Plain JSON, one event a line with `--trace`.
 */
export type TraceEvent = { atMs: number } &
  /** The nemesis did something; `to` is what it did it to, `detail` how. Healing is a fault named "heal". */
  (
    | { kind: "fault"; fault: string; to: string; detail?: string }
    /** A process began or ended: `life` counts the lives of a name from 1. */
    | { kind: "node"; node: string; life: number; state: "up" | "crashed" | "frozen" | "thawed" | "stopped" }
    /** A client asked, and what it was told. An answer that never came has no `answered`. `call` pairs the two. */
    | { kind: "asked"; call: number; client: string; method: string; request: unknown }
    | { kind: "answered"; call: number; response?: unknown; error?: string }
    /**
     * A call as the store applied it, below every fault: recorded when it took effect, in the order of effects, also when
     * its caller crashed or never got the answer. `node` is the caller.
     */
    | { kind: "store"; node: string; method: StoreMethod; request: unknown; answer: unknown }
    /** The store lost what it applied after event number `keptEvents` of this trace. */
    | { kind: "rolledBack"; keptEvents: number }
    /** A handler began and ended inside a worker process (`worker` is its id): what the outside world would have seen. */
    | { kind: "ran"; worker: string; run: number; job: JobSeen }
    | { kind: "runEnded"; run: number; outcome: Outcome["kind"] | "killed" }
  );

/** The one fault that invariants know by its name: the store's clock is what they judge leases by. */
export const STORE_CLOCK_JUMP = "store clock jump";

export type JobSeen = {
  jobId: string;
  executionId: string;
  step: string;
  iteration: string;
  attempt: number;
  idempotencyKey: string;
};

type Calls<T> = { [K in keyof T]: T[K] extends (...args: never[]) => Promise<unknown> ? K : never }[keyof T] & string;
/** Methods of the registry, logs and worker requests carry their part's name. */
export type StoreMethod =
  | Calls<Store>
  | `registry.${Calls<Store["registry"]>}`
  | `logs.${Calls<Store["logs"]>}`
  | `workerRequests.${Calls<Store["workerRequests"]>}`;

/** A plain event of the trace without its time, as parts report it. */
export type Happening = TraceEvent extends infer E ? (E extends { atMs: number } ? Omit<E, "atMs"> : never) : never;

export type Recorder = (event: Happening) => void;

/** Equal traces have equal hashes: how a run proves that its seed decides everything. */
export function hashOf(trace: readonly TraceEvent[]): string {
  const hash = createHash("sha256");
  for (const event of trace) hash.update(`${JSON.stringify(event)}\n`);
  return hash.digest("hex").slice(0, 16);
}
