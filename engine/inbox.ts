import type { Logger } from "../base/log.ts";
import type { Fence, Store } from "../store/store.ts";
import { isHodeiError } from "../workflow/errors.ts";
import type { Executor } from "./executor.ts";
import type { Ownership } from "./ownership.ts";

const BATCH = 512;

/**
 * Brings what waits in the inboxes of our shards to the executions. Hints, renewals and new shards only mark a shard;
 * one reading covers all that are marked. An entry leaves the inbox in the commit that folds it, so until then a reading
 * sees it again: the limit is raised by what is on its way.
 */
export class Inbox {
  readonly #options: { store: Store; ownership: Ownership; executor: Executor; logger: Logger };
  readonly #marked = new Set<number>();
  /** Of executions that could not take them (quarantined): left where they are until the shard changes hands. */
  readonly #stuck = new Map<string, number>();
  #reading = false;
  #stopped = false;

  constructor(options: { store: Store; ownership: Ownership; executor: Executor; logger: Logger }) {
    this.#options = options;
  }

  mark(shards: Iterable<number>): void {
    for (const shard of shards) this.#marked.add(shard);
    if (!this.#reading && this.#marked.size > 0 && !this.#stopped) void this.#read();
  }

  dropShard(shard: number): void {
    this.#marked.delete(shard);
    for (const [entry, of] of this.#stuck) if (of === shard) this.#stuck.delete(entry);
  }

  /** Whether all that was heard of has been folded. */
  get idle(): boolean {
    return !this.#reading && this.#options.executor.entriesWaiting === 0;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #read(): Promise<void> {
    const { ownership, logger } = this.#options;
    this.#reading = true;
    try {
      while (this.#marked.size > 0 && !this.#stopped) {
        const fences = [...this.#marked].flatMap((shard) => ownership.fence(shard) ?? []);
        this.#marked.clear();
        if (fences.length > 0) await this.#bring(fences);
      }
    } catch (error) {
      // The next renewal names these shards again.
      const level = isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED") ? "warn" : "error";
      logger[level]({ error }, "the inbox was not read");
    } finally {
      this.#reading = false;
    }
  }

  async #bring(fences: Fence[]): Promise<void> {
    const { store, ownership, executor } = this.#options;
    const limit = BATCH + executor.entriesWaiting + this.#stuck.size;
    const answer = await store.readInbox({ fences, limit });
    for (const fence of answer.fenced) ownership.fenced(fence);
    const owned = new Set(fences.filter((fence) => ownership.holds(fence)).map((fence) => fence.shard));
    const more = answer.entries.length >= limit;
    for (const entry of answer.entries) {
      if (!owned.has(entry.shard) || this.#stuck.has(entry.entry)) continue;
      executor.outcome(entry, (result) => {
        if (result.status === "failed" && result.error.code === "CONFLICT") this.mark([entry.shard]);
        else if (result.status === "failed" && result.error.code !== "NOT_OWNER") this.#stick(entry.entry, entry.shard);
        else if (more) this.mark([entry.shard]);
      });
    }
  }

  #stick(entry: string, shard: number): void {
    this.#stuck.set(entry, shard);
  }
}
