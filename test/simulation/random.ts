import type { Random } from "../../base/random.ts";

/**
 * Randomness by seed and name: each life of each node has a stream of its own, so that one more draw in one node changes
 * nothing in the others. sfc32 with 128 bits of state and not the 32 of `seededRandom`: over thousands of seeds and dozens
 * of streams each, two 32-bit streams do overlap, and then two nodes mint the same id.
 */
export function namedRandom(seed: number, name: string): Random {
  const next = sfc32(...stateOf(`${seed} ${name}`));
  const prefix = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  let ids = 0;
  return {
    float: () => next() / 2 ** 32,
    hex(bytes) {
      let text = "";
      while (text.length < bytes * 2) text += next().toString(16).padStart(8, "0");
      return text.slice(0, bytes * 2);
    },
    // Names its maker: a story is read by people. Unique by construction, as a UUID is by chance.
    id: () => `${prefix}-${(++ids).toString(36)}`,
  };
}

/** A whole number from `least` to `most`, both included. */
export function between(random: Random, least: number, most: number): number {
  return least + Math.floor(random.float() * (most - least + 1));
}

export function pick<T>(random: Random, from: readonly T[]): T {
  if (from.length === 0) throw new RangeError("nothing to pick from");
  return from[Math.floor(random.float() * from.length)] as T;
}

export function chance(random: Random, probability: number): boolean {
  return random.float() < probability;
}

function sfc32(a: number, b: number, c: number, counter: number): () => number {
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return sum >>> 0;
  };
  for (let warm = 0; warm < 15; warm++) next();
  return next;
}

/** Four 32-bit hashes of a text (cyrb128). */
function stateOf(text: string): [number, number, number, number] {
  let [a, b, c, d] = [1779033703, 3144134277, 1013904242, 2773480762];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = b ^ Math.imul(a ^ code, 597399067);
    b = c ^ Math.imul(b ^ code, 2869860233);
    c = d ^ Math.imul(c ^ code, 951274213);
    d = a ^ Math.imul(d ^ code, 2716044179);
  }
  return [a, b, c, d];
}
