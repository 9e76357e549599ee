import type { Clock } from "../base/clock.ts";
import type { Timer as Alarm } from "../base/clock.ts";
import { DeadlineHeap } from "./heap.ts";
import type { StoreTime } from "./store-time.ts";
import { executionKey } from "./keys.ts";

export type DueTimer = { namespace: string; id: string; shard: number; timer: string };

type Armed = DueTimer & { key: string; atMs: number };

/** The store's clock and ours may drift apart between two renewals; look again at least this often. */
const LONGEST_SLEEP_MS = 60_000;
const SWEEP_FLOOR = 1_024;

/**
 * The next timers of this engine's shards: the earliest first, one alarm for all. Times are the store's; whether a timer
 * is due is decided by the store with the commit that fires it (EARLY). A moved or cleared timer stays in the heap until
 * its old time comes up, where the map says that it is void.
 */
export class Timers {
  readonly #clock: Clock;
  readonly #time: StoreTime;
  readonly #fire: (due: DueTimer) => void;
  readonly #heap = new DeadlineHeap<Armed>();
  /** By shard, then by execution and timer id. */
  readonly #armed = new Map<number, Map<string, Armed>>();
  #alarm: Alarm | undefined;
  #alarmAtMs = Infinity;
  #sweepAt = SWEEP_FLOOR;
  #stopped = false;

  constructor(options: { clock: Clock; time: StoreTime; fire: (due: DueTimer) => void }) {
    this.#clock = options.clock;
    this.#time = options.time;
    this.#fire = options.fire;
  }

  get size(): number {
    return [...this.#armed.values()].reduce((sum, shard) => sum + shard.size, 0);
  }

  set(of: DueTimer, atMs: number): void {
    const shard = this.#armed.get(of.shard) ?? new Map<string, Armed>();
    this.#armed.set(of.shard, shard);
    const key = keyOf(of);
    const armed = { ...of, key, atMs };
    shard.set(key, armed);
    this.#heap.push(armed);
    this.#sweep();
    // Most are later than the alarm that stands: looking for the next one then would only tidy up the heap.
    if (atMs < this.#alarmAtMs) this.#plan();
  }

  clear(of: DueTimer): void {
    this.#armed.get(of.shard)?.delete(keyOf(of));
  }

  dropShard(shard: number): void {
    this.#armed.delete(shard);
  }

  /** The store's clock was heard: what we think of as due may have moved. */
  replan(): void {
    this.#alarmAtMs = Infinity;
    this.#plan();
  }

  stop(): void {
    this.#stopped = true;
    this.#alarm?.cancel();
  }

  /** Queue timeouts are cleared within seconds and would stand for minutes: void entries never outnumber the others. */
  #sweep(): void {
    if (this.#heap.size < this.#sweepAt) return;
    this.#heap.keep((armed) => this.#stands(armed));
    this.#sweepAt = Math.max(2 * this.#heap.size, SWEEP_FLOOR);
  }

  #stands(armed: Armed): boolean {
    return this.#armed.get(armed.shard)?.get(armed.key) === armed;
  }

  #plan(): void {
    const next = this.#next();
    if (this.#stopped || !next || next.atMs >= this.#alarmAtMs) return;
    this.#alarm?.cancel();
    this.#alarmAtMs = next.atMs;
    const delayMs = Math.min(Math.max(next.atMs - this.#time.now(), 0), LONGEST_SLEEP_MS);
    this.#alarm = this.#clock.after(delayMs, () => this.#ring());
  }

  #ring(): void {
    this.#alarmAtMs = Infinity;
    const nowMs = this.#time.now();
    for (let next = this.#next(); next && next.atMs <= nowMs; next = this.#next()) {
      this.#heap.pop();
      // Not armed any more: whoever fires it either commits it or sets it anew.
      this.#armed.get(next.shard)?.delete(next.key);
      this.#fire({ namespace: next.namespace, id: next.id, shard: next.shard, timer: next.timer });
    }
    this.#plan();
  }

  /** The earliest that still stands. */
  #next(): Armed | undefined {
    for (let top = this.#heap.peek(); top; top = this.#heap.peek()) {
      if (this.#stands(top)) return top;
      this.#heap.pop();
    }
    return undefined;
  }
}

function keyOf(of: DueTimer): string {
  return `${executionKey(of.namespace, of.id)}\n${of.timer}`;
}
