import type { Timer } from "../../base/clock.ts";

/**
 * The one base time of a simulated world, and everything that is going to happen in it: a binary heap of actions by their
 * time, then by their making. Nodes never see it; each has a clock of its own that is wrong in its own way (life.ts).
 */
export class Timeline {
  #nowMs = 0;
  #made = 0;
  #ran = 0;
  readonly #heap: Entry[] = [];
  readonly #onEnd: (() => void)[] = [];

  /** Ms since the world began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that happened so far. */
  get ran(): number {
    return this.#ran;
  }

  after(delayMs: number, action: () => void): Timer {
    const entry: Entry = { atMs: this.#nowMs + Math.max(delayMs, 0), order: this.#made++, action };
    push(this.#heap, entry);
    return { cancel: () => (entry.action = undefined) };
  }

  /** Nothing happens any more. */
  end(): void {
    this.#heap.length = 0;
    for (const action of this.#onEnd.splice(0)) action();
  }

  onEnd(action: () => void): void {
    this.#onEnd.push(action);
  }

  /**
   * Lets things happen, one by one, each with all that its promises lead to, until `done` or until nothing is left before
   * `untilMs`; the time is `untilMs` then.
   */
  async run(untilMs: number, done: () => boolean): Promise<void> {
    await settled();
    while (!done()) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return;
      }
      pop(this.#heap);
      if (next.action === undefined) continue;
      this.#nowMs = next.atMs;
      this.#ran += 1;
      next.action();
      await settled();
    }
  }
}

type Entry = { atMs: number; order: number; action: (() => void) | undefined };

/** What is put off until the promise callbacks have run (base/turn.ts) may put off something itself, so often. */
const PUT_OFF = 2;

/**
 * Resolves when every promise callback that is ready has run, and those that these made ready, and so on. Node empties the
 * queue of promise callbacks before it looks at the next tick whenever the tick was asked for by a promise callback, and the
 * loop above is always in one. Once is not enough: a tick that such a callback asks for comes behind ours, and what an engine
 * puts off would happen after the next event, at a later time. setImmediate gives the same and costs four times as much
 * (a whole turn of the event loop).
 */
async function settled(): Promise<void> {
  for (let times = 0; times <= PUT_OFF; times++) await new Promise<void>((resolve) => process.nextTick(resolve));
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Entry[], entry: Entry): void {
  let at = heap.push(entry) - 1;
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above] as Entry;
    if (!before(entry, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= heap.length) break;
    const right = heap[below + 1];
    if (right !== undefined && before(right, heap[below] as Entry)) below += 1;
    const child = heap[below] as Entry;
    if (!before(child, last)) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = last;
}
