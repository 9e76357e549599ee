import type { TaskFunction } from "../../worker/options.ts";
import type { WorkerSite } from "../simulation/run.ts";

type Held = { worker: string; handler: string; end: (failed: boolean) => void };

/** How long a handler takes that nobody holds. */
const TAKES_MS = 100;

/**
 * The handlers of a scenario's workers: each ends by itself after 100 ms, unless the scenario holds it, to say itself when
 * which run ends.
 */
export class Hands {
  readonly #names: readonly string[];
  readonly #held = new Set<string>();
  readonly #runs = new Set<Held>();
  readonly #lines = new Map<string, number>();

  constructor(names: Iterable<string>) {
    this.#names = [...names];
  }

  of(site: WorkerSite): Map<string, TaskFunction> {
    return new Map(this.#names.map((name) => [name, (_input, context) => this.#run(name, site, context)]));
  }

  hold(handler: string): void {
    if (!this.#names.includes(handler)) throw new RangeError(`no step has a task ${handler}`);
    this.#held.add(handler);
  }

  log(handler: string, lines: number): void {
    this.#lines.set(handler, lines);
  }

  /** How many runs it has ended: of all workers, or of one. */
  finish(handler: string, worker: string | undefined, failed: boolean): number {
    const chosen = [...this.#runs].filter(
      (run) => run.handler === handler && (worker === undefined || run.worker === worker),
    );
    for (const run of chosen) run.end(failed);
    return chosen.length;
  }

  /** Nothing is held any more. */
  release(): void {
    this.#held.clear();
    for (const run of this.#runs) run.end(false);
  }

  async #run(handler: string, { worker, clock }: WorkerSite, context: Parameters<TaskFunction>[1]): Promise<unknown> {
    const { signal, attempt } = context;
    for (let line = 1; line <= (this.#lines.get(handler) ?? 0); line++) context.log(`line ${line}`);
    if (this.#held.has(handler)) {
      await new Promise<void>((resolve, reject) => {
        const abort = (): void => run.end(true);
        const run: Held = {
          worker,
          handler,
          end: (failed) => {
            this.#runs.delete(run);
            signal.removeEventListener("abort", abort);
            // By the worker's own clock: one that has died never hears of it, one that is frozen does later.
            clock.after(0, () => (failed ? reject(new Error(`${handler} fails, as told`)) : resolve()));
          },
        };
        this.#runs.add(run);
        signal.addEventListener("abort", abort, { once: true });
      });
    } else await clock.sleep(TAKES_MS, signal);
    return { attempt };
  }
}
