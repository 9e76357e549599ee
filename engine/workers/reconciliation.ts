import type { Timer } from "../../base/clock.ts";
import type { WorkersContext } from "./context.ts";
import type { Settling } from "./settling.ts";

const EVERY_MS = 30_000;
/** Of all jobs; what is beyond it is looked at when some of these have gone. */
const JOBS = 100_000;

/**
 * Claims that the store holds for this session and nobody here knows of: the answer that brought them was lost for good
 * (its shard went while the commit was repeated). Looked for only when the counts differ, and ended as lost when seen
 * twice, since an answer may just be on its way.
 */
export class Reconciliation {
  readonly #context: WorkersContext;
  readonly #settling: Settling;
  #timer: Timer | undefined;
  #seen = new Set<string>();

  constructor(context: WorkersContext, settling: Settling) {
    this.#context = context;
    this.#settling = settling;
  }

  start(): void {
    this.#timer = this.#context.clock.after(EVERY_MS, () => {
      this.#reconcile().catch((error: unknown) => {
        this.#context.logger.warn({ error }, "claims were not reconciled; the next round does it");
      });
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  async #reconcile(): Promise<void> {
    const { store, ownership, holders } = this.#context;
    const session = ownership.session;
    const own = (await store.sessions()).find((record) => record.session === session);
    if (!session || !own || own.claims <= holders.size) {
      this.#seen.clear();
      return;
    }
    const records = await store.jobs({ limit: JOBS });
    const unknown = records.filter(({ session: of, job }) => of === session && !holders.has(job.id));
    const again = unknown.filter(({ token }) => token !== undefined && this.#seen.has(token));
    this.#seen = new Set(unknown.flatMap(({ token }) => token ?? []));
    for (const { job, token = "", facts } of again) {
      const reason = "its assignment was lost before it reached a worker";
      this.#settling.end({ jobId: job.id, token, job, facts, state: "running" }, { kind: "lost", reason });
    }
  }
}
