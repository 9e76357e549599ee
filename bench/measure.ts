import { systemClock } from "../base/clock.ts";

/** One number that a bench gives in every round. */
export type Figure = {
  /** Unique among all benches: how `-o json` names it. */
  key: string;
  what: string;
  unit: string;
  /** Of the constitution, where it sets one. Numbers without a goal are there to explain those that have one. */
  goal?: number;
  stretch?: number;
  better: "more" | "less";
  /** Key of the figure of the same round that says what is possible at all; the ratio to it is printed. */
  floor?: string;
};

/** The figures of one round by key. A goal is only ever compared with the median of several. */
export type Sample = Readonly<Record<string, number>>;

export type BenchOptions = {
  /** Shrinks all counts; 1 is what is published. */
  scale: number;
  rounds: number;
};

export type Bench = {
  figures: readonly Figure[];
  /** One sample per round, each bounded in count and in time. */
  rounds(options: BenchOptions): AsyncIterable<Sample>;
};

export const now = (): number => systemClock.monotonic();

export const counted = (count: number, scale: number): number => Math.max(1, Math.round(count * scale));

/** Runs `one` at most `count` times, `width` at a time, until `mostMs` are over; the durations of all, in ms. */
export async function inFlight(
  { count, width, mostMs }: { count: number; width: number; mostMs: number },
  one: (at: number) => Promise<unknown>,
): Promise<{ perSecond: number; count: number; tookMs: number; durationsMs: number[] }> {
  const startedAt = now();
  const durationsMs: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count && now() - startedAt < mostMs) {
      const begun = now();
      await one(next++);
      durationsMs.push(now() - begun);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
  const tookMs = now() - startedAt;
  return { perSecond: (durationsMs.length / tookMs) * 1000, count: durationsMs.length, tookMs, durationsMs };
}

/** The value below which the `share` (0 to 1) of them lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}
