import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Service } from "../base/service.ts";
import type { Discovery, EngineAddress } from "../transport/discovery/discovery.ts";

/**
 * Which engines belong to the cluster, as far as discovery is to be believed.
 *
 * - A report that fails, or is empty while engines are known, keeps the last known ones: an API server that is down must
 *   not take the fleet with it.
 * - Joins wait `joinDebounceMs` so that a rollout moves shards once, not once per pod. Leaving and a changed address are
 *   taken at once: every moment of waiting is a moment of dead shards.
 */
export class Membership implements Service {
  readonly #discovery: Discovery;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #joinDebounceMs: number;
  readonly #resyncMs: number;
  readonly #watchers = new Set<() => void>();
  #members = new Map<string, EngineAddress>();
  #stopWatch: (() => void) | undefined;
  #joins: Timer | undefined;
  #resync: Timer | undefined;

  constructor(options: {
    discovery: Discovery;
    clock: Clock;
    logger: Logger;
    joinDebounceMs: number;
    resyncMs: number;
  }) {
    this.#discovery = options.discovery;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#joinDebounceMs = options.joinDebounceMs;
    this.#resyncMs = options.resyncMs;
  }

  /** By name, sorted. */
  engines(): EngineAddress[] {
    return [...this.#members.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** What is discovered at the start is taken at once: there is nothing yet that a join could disturb. */
  async start(): Promise<void> {
    this.#stopWatch = this.#discovery.watch(() => this.#refresh(false));
    this.#refresh(true);
    this.#scheduleResync();
  }

  async stop(): Promise<void> {
    this.#stopWatch?.();
    this.#stopWatch = undefined;
    this.#joins?.cancel();
    this.#joins = undefined;
    this.#resync?.cancel();
    this.#resync = undefined;
  }

  /** The watch is live; this only heals a watch that has gone quiet without saying so. */
  #scheduleResync(): void {
    this.#resync = this.#clock.after(this.#resyncMs, () => {
      this.#refresh(false);
      this.#scheduleResync();
    });
  }

  #refresh(joinNow: boolean): void {
    const seen = this.#look();
    if (!seen) return;
    const kept = new Map([...this.#members].filter(([name]) => seen.has(name)));
    for (const [name, engine] of kept) {
      // The same name at another address is a new process: its old one is gone, so there is nothing to debounce.
      const now = seen.get(name);
      if (now && now.address !== engine.address) kept.set(name, now);
    }
    const joining = [...seen.keys()].some((name) => !kept.has(name));
    if (joining && (joinNow || this.#joinDebounceMs === 0)) return this.#adopt(seen);
    this.#adopt(kept);
    if (!joining) return;
    this.#joins ??= this.#clock.after(this.#joinDebounceMs, () => {
      this.#joins = undefined;
      this.#refresh(true);
    });
  }

  #look(): Map<string, EngineAddress> | undefined {
    let found: EngineAddress[];
    try {
      found = this.#discovery.current();
    } catch (error) {
      this.#logger.warn({ error, engines: this.#members.size }, "discovery failed: keeping the last known engines");
      return undefined;
    }
    if (found.length === 0 && this.#members.size > 0) {
      this.#logger.warn(
        { engines: this.#members.size },
        "discovery found no engine at all: keeping the last known ones",
      );
      return undefined;
    }
    return new Map(found.map((engine) => [engine.name, { name: engine.name, address: engine.address }]));
  }

  #adopt(next: Map<string, EngineAddress>): void {
    const same =
      next.size === this.#members.size &&
      [...next].every(([name, engine]) => this.#members.get(name)?.address === engine.address);
    if (same) return;
    this.#members = next;
    this.#logger.info({ engines: [...next.keys()].sort() }, "the set of engines changed");
    for (const watcher of this.#watchers) watcher();
  }
}
