import { HodeiError } from "./errors.ts";

const UNIT_MS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
type Unit = keyof typeof UNIT_MS;

/** Ten years: longer than any workflow, and far below where a sum with a wall clock in ms loses precision. */
export const MAX_DURATION_MS = 3650 * UNIT_MS.d;

/** One number with its unit. No nested quantifier, so matching stays linear in the text. */
const PART = /(\d+(?:\.\d+)?)(ms|[wdhms])/gy;

/**
 * A duration in ms from what people write: "1h30m", "90s", "500ms", "1.5h", units w d h m s ms, each at most once and
 * from large to small. A number, or a text that is only digits, counts seconds. Fractions of a ms are rounded.
 * Throws INVALID_ARGUMENT on anything else, on a negative one, and above ten years.
 */
export function parseDuration(text: string | number): number {
  const ms = typeof text === "number" ? text * 1000 : partsMs(text.trim());
  if (ms === undefined || !Number.isFinite(ms) || ms < 0) {
    throw new HodeiError("INVALID_ARGUMENT", `${JSON.stringify(text)} is not a duration`, {
      hint: "write it as 500ms, 90s, 1h30m or 2d, or as a number of seconds",
    });
  }
  if (ms > MAX_DURATION_MS) {
    throw new HodeiError("INVALID_ARGUMENT", `the duration ${JSON.stringify(text)} is longer than ten years`);
  }
  // + 0 makes of -0 the plain one.
  return Math.round(ms) + 0;
}

function partsMs(text: string): number | undefined {
  if (text.length === 0 || text.length > 64) return undefined;
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * UNIT_MS.s;
  let total = 0;
  let end = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const part of text.matchAll(PART)) {
    const unitMs = UNIT_MS[part[2] as Unit];
    // "30m1h" and "1h1h" are typing errors more often than wishes.
    if (unitMs >= smallest) return undefined;
    smallest = unitMs;
    total += Number(part[1]) * unitMs;
    end = part.index + part[0].length;
  }
  return end === text.length ? total : undefined;
}

/** The shortest text that `parseDuration` reads back as the same whole number of ms: "1h30m", "90s" is "1m30s", 0 is "0s". */
export function formatDuration(ms: number): string {
  let rest = Math.max(0, Math.round(ms));
  if (rest === 0) return "0s";
  let text = "";
  // Weeks are read but never written: "10d" is what people expect to see.
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const count = Math.floor(rest / UNIT_MS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * UNIT_MS[unit];
  }
  return text;
}
