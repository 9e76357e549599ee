import type { Priority } from "../../workflow/definition.ts";
import type { Offer, Requirement } from "../../workflow/requirement.ts";
import type { OpenJob } from "./state.ts";

/** Jobs that wait in one line, oldest enqueued first. */
export class WaitingLine {
  /** Binary heap by `order`. A job that left stays in it until it comes to the top or the line is swept. */
  #heap: OpenJob[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(entry: OpenJob): void {
    entry.place = this;
    this.#size += 1;
    this.#heap.push(entry);
    // New jobs have the highest order, so this ends at once; only jobs that come back rise.
    let at = this.#heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#order(parent) <= this.#order(at)) break;
      this.#swap(parent, at);
      at = parent;
    }
  }

  remove(entry: OpenJob): void {
    if (entry.place !== this) return;
    entry.place = undefined;
    this.#size -= 1;
    if (this.#heap.length > 64 + 2 * this.#size) this.#sweep();
  }

  head(): OpenJob | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (top.place === this) return top;
      this.#dropTop();
    }
    return undefined;
  }

  /** In no order. */
  entries(): OpenJob[] {
    this.#sweep();
    return [...this.#heap];
  }

  #dropTop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      let least = at;
      if (left < this.#heap.length && this.#order(left) < this.#order(least)) least = left;
      if (left + 1 < this.#heap.length && this.#order(left + 1) < this.#order(least)) least = left + 1;
      if (least === at) return;
      this.#swap(least, at);
      at = least;
    }
  }

  /** A job that left and came back may stand in the heap twice; a sorted array is a heap. */
  #sweep(): void {
    const waiting = new Set(this.#heap.filter((entry) => entry.place === this));
    this.#heap = [...waiting].sort((a, b) => a.order - b.order);
  }

  #order(at: number): number {
    return this.#heap[at]?.order ?? Infinity;
  }

  #swap(a: number, b: number): void {
    const [first, second] = [this.#heap[a], this.#heap[b]];
    if (first === undefined || second === undefined) return;
    this.#heap[a] = second;
    this.#heap[b] = first;
  }
}

/** All waiting jobs of one namespace that ask for the same, by band. */
export type RequirementClass = {
  readonly key: string;
  readonly namespace: string;
  readonly requirement: Requirement;
  readonly lines: Readonly<Record<Priority, WaitingLine>>;
  waiting: number;
  waitingOf: Map<number, number>;
  /** The worker kept free for the head of this class. */
  reservation?: { worker: string; session: string; atMs: number } | undefined;
};

/** All workers that offer the same. */
export type Signature = {
  readonly digest: string;
  readonly offer: Offer;
  /** The classes it can ever run: evaluated once per pair, when the later of the two appears. */
  readonly eligible: Set<RequirementClass>;
  /** Jobs given since an aged one was last preferred. */
  sinceAged: number;
};

export const BANDS = ["high", "normal", "low"] as const satisfies readonly Priority[];
