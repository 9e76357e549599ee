import type { WorkerSnapshot } from "./snapshot.ts";

/**
 * The workers that may ask for work now. Whether a given job fits one is the store's decision, by requirement class:
 * asking is cheap, and only the store sees every queue.
 */
export function feasible(workers: readonly WorkerSnapshot[]): WorkerSnapshot[] {
  return workers.filter(
    (worker) =>
      !worker.offered &&
      (worker.state === "available" || worker.state === "running") &&
      (worker.freeSlots > 0 || worker.workspaces > 0),
  );
}
