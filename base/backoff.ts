/**
 * Full-jitter exponential backoff: a uniform draw from [0, min(maxMs, initialMs * multiplier^attempt)].
 * Full jitter rather than "equal" jitter because a fleet that lost one engine must not come back in step.
 * `attempt` counts from 0; `random` is a float in [0, 1).
 */
export function fullJitterMs(
  attempt: number,
  random: number,
  bounds: { initialMs: number; maxMs: number; multiplier?: number },
): number {
  const ceilingMs = Math.min(bounds.maxMs, bounds.initialMs * (bounds.multiplier ?? 2) ** attempt);
  return Math.floor(random * ceilingMs);
}
