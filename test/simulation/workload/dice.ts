import type { Random } from "../../../base/random.ts";

/** What a seed is asked: all choices of a generated workload go through here. */
export type Dice = {
  chance(probability: number): boolean;
  /** A whole number, both ends included. */
  int(from: number, to: number): number;
  pick<T>(of: readonly [T, ...T[]]): T;
  /** Each of the given with this probability, in their order. */
  some<T>(of: readonly T[], probability: number): T[];
};

export function diceOf(random: Random): Dice {
  const int = (from: number, to: number): number => from + Math.floor(random.float() * (to - from + 1));
  const chance = (probability: number): boolean => random.float() < probability;
  return {
    int,
    chance,
    pick: (of) => of[int(0, of.length - 1)] ?? of[0],
    some: (of, probability) => of.filter(() => chance(probability)),
  };
}
