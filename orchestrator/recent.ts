/** A map that keeps its `bound` most recently used entries: for what is dear to compute, immutable and asked for again. */
export class Recent<V> {
  readonly #bound: number;
  readonly #entries = new Map<string, V>();
  /** At the young end already: what is asked for again and again is not moved each time. */
  #newest: string | undefined;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined || key === this.#newest) return value;
    this.#newest = key;
    // A Map iterates in order of insertion: what is used again moves to the young end.
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Answers what fell out at the old end, if anything did. */
  set(key: string, value: V): V | undefined {
    this.#newest = key;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#bound) return undefined;
    const [oldest] = this.#entries;
    if (oldest) this.#entries.delete(oldest[0]);
    return oldest?.[1];
  }

  delete(key: string): void {
    if (key === this.#newest) this.#newest = undefined;
    this.#entries.delete(key);
  }

  values(): V[] {
    return [...this.#entries.values()];
  }
}
