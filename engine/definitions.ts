import type { Definition } from "../workflow/definition.ts";
import { parseNormalForm } from "../workflow/load.ts";

/** What is kept, in characters of normal form: a small one has 500, the largest allowed one some hundred thousand. */
const KEPT_CHARACTERS = 8 * 1024 * 1024;

/**
 * Definitions by digest, so that the executions of one version share one object: reading it again, and deriving its graph
 * with the requirements and expressions of every step, was 0.1 ms of CPU in each start of a 3-step workflow.
 */
export class Definitions {
  readonly #byDigest = new Map<string, { text: string; definition: Definition }>();
  #characters = 0;

  /** Throws DATA_CORRUPT when the text is no normal form. */
  read(digest: string, text: string): Definition {
    const known = this.#byDigest.get(digest);
    // The order of steps is no part of the digest, but of what people see: two namespaces may have written two.
    if (known?.text === text) return known.definition;
    const definition = parseNormalForm(text);
    if (known) this.#forget(digest, known.text);
    this.#byDigest.set(digest, { text, definition });
    this.#characters += text.length;
    for (const [oldest, { text: gone }] of this.#byDigest) {
      if (this.#characters <= KEPT_CHARACTERS || oldest === digest) break;
      this.#forget(oldest, gone);
    }
    return definition;
  }

  #forget(digest: string, text: string): void {
    this.#byDigest.delete(digest);
    this.#characters -= text.length;
  }
}
