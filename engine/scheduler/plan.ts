import { feasible } from "./feasible.ts";
import type { Strategy } from "./rank.ts";
import { rank } from "./rank.ts";
import type { WorkerSnapshot } from "./snapshot.ts";

/** The store's bound on the workers of one claim. */
export const CLAIM_WORKERS = 32;

/**
 * Which workers ask for work, in which order. `first` names workers that come before any ranking: a worker whose result
 * is settled in the same store call is warm and must not wait for another round.
 */
export function plan(
  workers: readonly WorkerSnapshot[],
  options: { strategy: Strategy; rotation: number; limit: number; first?: ReadonlySet<string> },
): string[] {
  const ranked = rank(feasible(workers), options.strategy, options.rotation).map((worker) => worker.worker);
  const first = options.first;
  const ordered = first ? [...ranked.filter((id) => first.has(id)), ...ranked.filter((id) => !first.has(id))] : ranked;
  return ordered.slice(0, Math.min(options.limit, CLAIM_WORKERS));
}
