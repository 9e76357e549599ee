import type { InboxOutcome } from "../store/store.ts";
import type { Envelope, Result } from "./mailbox.ts";

/** A reading of the inbox is at most some seconds behind the commits that emptied it. */
const REMEMBERED = 20_000;

/**
 * Which inbox entries are in a mailbox or were taken lately. An entry reaches an engine more than once (hint, renewal,
 * conflict); folding it twice would do no harm, but taking one that has left the inbox makes the whole turn a CONFLICT.
 */
export class InboxEntries {
  readonly #waiting = new Set<string>();
  readonly #taken = new Set<string>();

  /** How many are on their way: a reader must look past them. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The envelope for an entry, or undefined when it needs none. */
  admit(entry: InboxOutcome, done: (result: Result) => void = () => {}): Envelope | undefined {
    const id = entry.entry;
    if (this.#waiting.has(id) || this.#taken.has(id)) return undefined;
    this.#waiting.add(id);
    const { step, iteration, attempt, executionUid } = entry.job;
    return {
      message: { kind: "outcome", step, iteration, attempt, outcome: entry.outcome, facts: entry.facts },
      uid: executionUid,
      take: id,
      done: (result) => {
        this.#waiting.delete(id);
        if (result.status === "committed") this.#remember(id);
        done(result);
      },
    };
  }

  /** A shard went, perhaps because the store has lost its tail: what was taken may be in the inbox again, and counts. */
  forgetTaken(): void {
    this.#taken.clear();
  }

  #remember(id: string): void {
    this.#taken.add(id);
    if (this.#taken.size <= REMEMBERED) return;
    for (const oldest of this.#taken) {
      this.#taken.delete(oldest);
      return;
    }
  }
}
