import type { Logger } from "../base/log.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { Emit } from "./events.ts";
import type { Metrics } from "./metrics.ts";

/** More than this many broken executions are no accident of data; the oldest are then tried again. */
const BOUND = 10_000;

/**
 * Executions that threw while they were loaded or advanced. Each is set aside alone: nothing of it is changed in the
 * store, so that a mended version of Hodei goes on where it stood. Forgotten, hence tried again, when its shard changes
 * hands or the engine restarts.
 */
export class Quarantine {
  readonly #byKey = new Map<string, { shard: number; error: HodeiError }>();
  readonly #options: { logger: Logger; emit: Emit; metrics: Metrics };

  constructor(options: { logger: Logger; emit: Emit; metrics: Metrics }) {
    this.#options = options;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): HodeiError | undefined {
    return this.#byKey.get(key)?.error;
  }

  add(of: { key: string; id: string; shard: number }, cause: unknown): HodeiError {
    const words = cause instanceof Error ? cause.message : String(cause);
    const error = new HodeiError("INTERNAL", `execution ${of.id} is quarantined: ${words}`, {
      hint: "see the engine's log for the cause; it is tried again when the engine restarts",
      cause,
    });
    if (this.#byKey.size >= BOUND) for (const oldest of [...this.#byKey.keys()].slice(0, 1)) this.#byKey.delete(oldest);
    this.#byKey.set(of.key, { shard: of.shard, error });
    this.#options.logger.error({ error: cause, execution: of.id, shard: of.shard }, "execution quarantined");
    this.#options.emit("ExecutionQuarantined", error.message, { executionId: of.id });
    this.#options.metrics.gauge("hodei_engine_executions_quarantined", this.#byKey.size);
    return error;
  }

  dropShard(shard: number): void {
    for (const [key, entry] of this.#byKey) if (entry.shard === shard) this.#byKey.delete(key);
    this.#options.metrics.gauge("hodei_engine_executions_quarantined", this.#byKey.size);
  }
}
