/** Shorter values are not hidden: masking "1" or "no" would eat the log and tell the value by its holes. */
const SHORTEST = 4;
/** Bounds what is held back at a chunk's end, and the work per chunk. */
const LONGEST = 8192;
const MOST = 64;
const HIDDEN = Buffer.from("***");

const SECRET_NAME = /(^|_)(TOKEN|PASSWORD|SECRET|KEY)$/i;

/** The values of `env` whose names look secret (…_TOKEN, …_PASSWORD, …_SECRET, …_KEY), and `given`. */
export function secretsOf(env: Record<string, string>, given: readonly string[]): string[] {
  const named = Object.entries(env).flatMap(([name, value]) => (SECRET_NAME.test(name) ? [value] : []));
  return [...given, ...named];
}

/**
 * Replaces secrets by `***` in a stream of bytes, also where one spans several chunks: the end of a chunk that could be the
 * beginning of a secret is held back until more comes or the stream ends. Many-line secrets are hidden line by line too,
 * since tools print them so.
 */
export class Masker {
  readonly #secrets: Buffer[];
  #held: Buffer = Buffer.alloc(0);

  constructor(secrets: readonly string[]) {
    const values = secrets.flatMap((secret) => [secret, ...(secret.includes("\n") ? secret.split(/\r?\n/) : [])]);
    const usable = values.filter((value) => value.length >= SHORTEST && value.length <= LONGEST);
    // Longest first: where one secret begins another, the longer one must go whole.
    this.#secrets = [...new Set(usable)]
      .toSorted((a, b) => b.length - a.length)
      .slice(0, MOST)
      .map((value) => Buffer.from(value));
  }

  /** What may be shown now. */
  push(data: Buffer): Buffer {
    if (this.#secrets.length === 0) return data;
    const joined = this.#held.length === 0 ? data : Buffer.concat([this.#held, data]);
    const { shown, restFrom } = this.#replace(joined);
    const rest = joined.subarray(restFrom);
    const holdFrom = this.#holdFrom(rest);
    this.#held = Buffer.from(rest.subarray(holdFrom));
    shown.push(rest.subarray(0, holdFrom));
    return shown.length === 1 ? (shown[0] ?? rest) : Buffer.concat(shown);
  }

  /** The stream has ended: what was held back was no secret. */
  end(): Buffer {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return held;
  }

  /** Cuts out the secrets from left to right; what follows the last one starts at `restFrom`. */
  #replace(data: Buffer): { shown: Buffer[]; restFrom: number } {
    const shown: Buffer[] = [];
    let from = 0;
    const next = this.#secrets.map((secret) => data.indexOf(secret));
    for (;;) {
      let at = -1;
      let length = 0;
      for (const [index, secret] of this.#secrets.entries()) {
        let found = next[index] ?? -1;
        if (found !== -1 && found < from) found = next[index] = data.indexOf(secret, from);
        if (found !== -1 && (at === -1 || found < at)) [at, length] = [found, secret.length];
      }
      if (at === -1) return { shown, restFrom: from };
      shown.push(data.subarray(from, at), HIDDEN);
      from = at + length;
    }
  }

  /** Where the longest end of `data` starts that begins a secret; `data.length` when none does. */
  #holdFrom(data: Buffer): number {
    let holdFrom = data.length;
    for (const secret of this.#secrets) {
      const first = secret[0] ?? 0;
      let at = data.indexOf(first, Math.max(0, data.length - secret.length + 1));
      while (at !== -1 && at < holdFrom) {
        if (data.subarray(at).equals(secret.subarray(0, data.length - at))) holdFrom = at;
        at = data.indexOf(first, at + 1);
      }
    }
    return holdFrom;
  }
}
