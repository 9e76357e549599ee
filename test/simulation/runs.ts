import type { TaskFunction } from "../../worker/options.ts";
import type { Life } from "./life.ts";
import type { Recorder } from "./trace.ts";

/** What handlers do in worker processes, as the outside world would see it: begun once, ended once, whoever hears of it. */
export class Runs {
  readonly #record: Recorder;
  readonly #open = new Map<number, Life>();
  #count = 0;

  constructor(record: Recorder) {
    this.#record = record;
  }

  recorded(life: Life, worker: string, handler: TaskFunction): TaskFunction {
    return async (input, context) => {
      const run = ++this.#count;
      const { jobId, executionId, step, iteration, attempt, idempotencyKey } = context;
      this.#open.set(run, life);
      const job = { jobId, executionId, step, iteration, attempt, idempotencyKey };
      this.#record({ kind: "ran", worker, run, job });
      try {
        const output: unknown = await handler(input, context);
        this.#ended(run, "succeeded");
        return output;
      } catch (error) {
        this.#ended(run, context.signal.aborted ? "cancelled" : "failed");
        throw error;
      }
    };
  }

  /** The process has died in the middle of them. */
  killed(life: Life): void {
    for (const [run, of] of this.#open) if (of === life) this.#ended(run, "killed");
  }

  #ended(run: number, outcome: "succeeded" | "failed" | "cancelled" | "killed"): void {
    if (this.#open.delete(run)) this.#record({ kind: "runEnded", run, outcome });
  }
}
