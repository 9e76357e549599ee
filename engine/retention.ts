import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Store } from "../store/store.ts";
import { isHodeiError } from "../workflow/errors.ts";
import type { Ownership } from "./ownership.ts";
import type { StoreTime } from "./store-time.ts";

const EVERY_MS = 3_600_000;
const BATCH = 100;
/** Between two batches: deleting history must not crowd out the turns. */
const BREATH_MS = 50;

export type RetentionOptions = {
  store: Store;
  ownership: Ownership;
  clock: Clock;
  random: Random;
  logger: Logger;
  time: StoreTime;
  retentionMs: number;
};

/** Deletes finished executions that are old enough, shard by shard, about once an hour. Fenced like every other write. */
export class Retention {
  readonly #options: RetentionOptions;
  #timer: Timer | undefined;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, random, retentionMs } = this.#options;
    if (retentionMs <= 0 || this.#stopped) return;
    // Engines that start together do not sweep together.
    const delayMs = EVERY_MS * (0.5 + random.float() / 2);
    this.#timer = clock.after(delayMs, () => {
      this.#running = this.sweep().finally(() => this.start());
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  async sweep(): Promise<void> {
    const { ownership, logger } = this.#options;
    for (const shard of ownership.owned()) {
      try {
        await this.#expire(shard);
      } catch (error) {
        const level = isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED") ? "warn" : "error";
        logger[level]({ error, shard }, "finished executions were not deleted; the next sweep tries again");
      }
    }
  }

  async #expire(shard: number): Promise<void> {
    const { store, ownership, clock, time, retentionMs } = this.#options;
    for (;;) {
      const fence = ownership.fence(shard);
      if (!fence || this.#stopped) return;
      const answer = await store.expire({ fence, endedBeforeMs: time.now() - retentionMs, limit: BATCH });
      if ("status" in answer) return ownership.fenced(fence);
      if (answer.expired < BATCH) return;
      await clock.sleep(BREATH_MS);
    }
  }
}
