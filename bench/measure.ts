import { systemClock } from "../base/clock.ts";

/** One line of the output. `value` is absent when the bench did not come to its end in its time. */
export type Result = { bench: string; value?: number; unit: string; floor?: number; ratio?: number } & Record<
  string,
  unknown
>;

export const now = (): number => systemClock.monotonic();

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

export function rounded(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
