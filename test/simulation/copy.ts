/**
 * What crosses a wire is the receiver's own. As structuredClone for what messages are made of (plain objects, arrays, bytes),
 * in a tenth of its time, which was a fifth of a run's.
 */
export function copyOf<T>(value: T): T;
export function copyOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item: unknown) => copyOf(item));
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) copy[key] = copyOf(item);
  return copy;
}
