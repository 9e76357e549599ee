/** A binary min-heap by `atMs`; equal times leave in the order they came. */
export class DeadlineHeap<Item extends { atMs: number }> {
  readonly #entries: { item: Item; order: number }[] = [];
  #sequence = 0;

  get size(): number {
    return this.#entries.length;
  }

  peek(): Item | undefined {
    return this.#entries[0]?.item;
  }

  push(item: Item): void {
    const entries = this.#entries;
    let index = entries.push({ item, order: this.#sequence++ }) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(index, parent)) break;
      this.#swap(index, parent);
      index = parent;
    }
  }

  pop(): Item | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (!first || !last || entries.length === 0) return first?.item;
    entries[0] = last;
    for (let index = 0; ;) {
      const left = 2 * index + 1;
      const right = left + 1;
      let least = index;
      if (left < entries.length && this.#before(left, least)) least = left;
      if (right < entries.length && this.#before(right, least)) least = right;
      if (least === index) return first.item;
      this.#swap(index, least);
      index = least;
    }
  }

  /** Keeps what passes; for a heap whose entries became void elsewhere. */
  keep(passes: (item: Item) => boolean): void {
    const kept = this.#entries.filter((entry) => passes(entry.item));
    this.#entries.length = 0;
    // A sorted array is a heap.
    kept.sort((a, b) => a.item.atMs - b.item.atMs || a.order - b.order);
    for (const entry of kept) this.#entries.push(entry);
  }

  #before(a: number, b: number): boolean {
    const left = this.#entries[a]!;
    const right = this.#entries[b]!;
    return left.item.atMs < right.item.atMs || (left.item.atMs === right.item.atMs && left.order < right.order);
  }

  #swap(a: number, b: number): void {
    const entries = this.#entries;
    [entries[a], entries[b]] = [entries[b]!, entries[a]!];
  }
}
