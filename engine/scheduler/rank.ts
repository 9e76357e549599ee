import type { WorkerSnapshot } from "./snapshot.ts";

/**
 * `bin-pack` fills the workers that are already in use, up to a band, so that the others fall idle and can go;
 * `spread` asks first for the emptiest; `fifo` for the one that has been idle longest.
 */
export type Strategy = "bin-pack" | "spread" | "fifo";

/** Above this share of cpu or memory a worker is taken last: what is left there is slack for bursts. */
const BAND_TOP = 0.85;
/** A machine that is this busy with other things gets no favour for being well filled. */
const BUSY_CPU_PERCENT = 90;
/** Two scores closer than this are a tie, and ties rotate. */
const TIE = 0.01;

/** Best first. `rotation` is any number that changes from decision to decision; it decides among equals only. */
export function rank(workers: readonly WorkerSnapshot[], strategy: Strategy, rotation: number): WorkerSnapshot[] {
  if (workers.length < 2) return [...workers];
  const byId = workers.toSorted((a, b) => (a.worker < b.worker ? -1 : 1));
  const shift = byId.length === 0 ? 0 : rotation % byId.length;
  const rotated = [...byId.slice(shift), ...byId.slice(0, shift)];
  const scored = rotated.map((worker) => ({ worker, score: bucket(score(worker, strategy)) }));
  // The sort is stable: equals keep the rotated order.
  return scored.toSorted((a, b) => b.score - a.score).map((entry) => entry.worker);
}

/** Scores go into buckets before they are compared: a comparison "closer than" would not be transitive. */
function bucket(value: number): number {
  return Math.round(value / TIE);
}

function score(worker: WorkerSnapshot, strategy: Strategy): number {
  const used = utilisation(worker);
  switch (strategy) {
    case "bin-pack": {
      const fit = used <= BAND_TOP ? used : -used;
      const health = worker.cpuPercent > BUSY_CPU_PERCENT ? -1 : 0;
      // A workspace holder first: its jobs can run nowhere else.
      const locality = worker.workspaces > 0 ? 2 : 0;
      return fit + health + locality;
    }
    case "spread":
      return -used;
    case "fifo":
      return -worker.idleSinceMs;
    default:
      return strategy satisfies never;
  }
}

/** The fuller of cpu, memory and slots, 0 to 1. */
function utilisation(worker: WorkerSnapshot): number {
  const share = (free: number, total: number): number => (total > 0 ? 1 - free / total : 0);
  return Math.max(
    share(worker.free.cpuMillis, worker.total.cpuMillis),
    share(worker.free.memoryBytes, worker.total.memoryBytes),
    share(Math.max(worker.freeSlots, 0), worker.slots),
  );
}
