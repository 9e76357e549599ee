import { HodeiError } from "./errors.ts";

/**
 * Strict Kubernetes quantities, read exactly. The seed's parser read a suffix it did not know as 0, so a typing
 * mistake became "needs nothing"; here every text is a number or an INVALID_ARGUMENT that names the text.
 *
 * Grammar: digits, an optional fraction, then nothing, a decimal suffix (n u m k M G T P E), a binary one
 * (Ki Mi Gi Ti Pi Ei) or an exponent (e3, E-3). A sign is not accepted: a need cannot be negative.
 */
const QUANTITY = /^(\d+)(?:\.(\d+))?(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d{1,3})?$/;
/** Kubernetes itself keeps far fewer digits; the bound keeps the integers below small. */
const MAX_LENGTH = 32;

const DECIMAL_POWERS: Record<string, number> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const BINARY_POWERS: Record<string, bigint> = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n };

/** CPU as thousandths of a core: "500m" → 500, "2" → 2000, "0.5" → 500. Finer than a thousandth is rounded up. */
export function parseCpuMillis(text: string): number {
  const amount = amountOf(text, "cpu", "e.g. 500m, 2 or 0.5");
  if (text.endsWith("i")) refuse(text, "cpu", "a binary suffix is for bytes, e.g. 500m or 2");
  return whole(text, "cpu", amount.numerator * 1000n, amount.denominator);
}

/** Bytes: "1Gi" → 1073741824, "1.5Gi", "1G", "100k", "512". A fraction of a byte is rounded up. */
export function parseBytes(text: string): number {
  const amount = amountOf(text, "memory", "e.g. 512Mi, 1.5Gi or 2G");
  // "512m" is half a byte to Kubernetes, and never what the writer meant.
  if (/[num]$/.test(text)) refuse(text, "memory", "m, u and n are fractions of a byte; megabytes are written M or Mi");
  return whole(text, "memory", amount.numerator, amount.denominator);
}

/** A whole number of things (gpu): "1", "2". "0.5" is refused: a device cannot be shared by asking for a part of it. */
export function parseCount(text: string): number {
  const amount = amountOf(text, "count", "e.g. 1");
  if (amount.numerator % amount.denominator !== 0n) refuse(text, "count", "must be a whole number");
  return whole(text, "count", amount.numerator, amount.denominator);
}

/** 500 → "500m", 2000 → "2". Reads back as the same number. */
export function formatCpuMillis(millis: number): string {
  return millis % 1000 === 0 ? String(millis / 1000) : `${millis}m`;
}

/** In the largest binary unit that holds it exactly: 1073741824 → "1Gi", 1610612736 → "1536Mi", 1000 → "1000". */
export function formatBytes(bytes: number): string {
  for (const [suffix, power] of Object.entries(BINARY_POWERS).reverse()) {
    const unit = 2 ** Number(power);
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${suffix}`;
  }
  return String(bytes);
}

export function formatCount(count: number): string {
  return String(count);
}

/** The text as an exact fraction: a float would make "0.1" plus a large suffix wrong in the last bytes. */
function amountOf(text: string, kind: string, examples: string): { numerator: bigint; denominator: bigint } {
  // YAML readers hand over numbers where a person wrote `cpu: 2`; that is a clear wish, not a mistake.
  const written = String(text);
  const parts = written.length <= MAX_LENGTH ? QUANTITY.exec(written) : null;
  if (parts === null) refuse(written, kind, `digits with an optional fraction and Kubernetes suffix, ${examples}`);
  const [, integer = "", fraction = "", suffix = ""] = parts;
  const digits = BigInt(integer + fraction);
  const binary = BINARY_POWERS[suffix];
  const power =
    (DECIMAL_POWERS[suffix] ?? (/^[eE][+-]?\d/.test(suffix) ? Number(suffix.slice(1)) : 0)) - fraction.length;
  const scaled = binary === undefined ? digits : digits << binary;
  return power >= 0
    ? { numerator: scaled * 10n ** BigInt(power), denominator: 1n }
    : { numerator: scaled, denominator: 10n ** BigInt(-power) };
}

function whole(text: string, kind: string, numerator: bigint, denominator: bigint): number {
  const value = (numerator + denominator - 1n) / denominator;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) refuse(text, kind, "too large");
  return Number(value);
}

function refuse(text: string, kind: string, why: string): never {
  const shown = text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
  throw new HodeiError("INVALID_ARGUMENT", `${JSON.stringify(shown)} is not a ${kind} quantity: ${why}`, {
    field: kind,
  });
}
