import type { WorkerRequest } from "../../store/store.ts";
import type { Pod } from "../../platform/platform.ts";

/** A worker of this fleet, from its request to the end of its pod. */
export type Member = {
  /** Of the worker request; the worker's id is made of it too. */
  readonly id: string;
  readonly worker: string;
  readonly mode: "warm" | "ephemeral";
  readonly classKey?: string;
  state: WorkerRequest["state"];
  pod?: Pick<Pod, "name" | "uid">;
  /** Monotonic. */
  sinceMs: number;
  /** Asked to go: its end is no failure. */
  leaving?: string;
};

/** Deterministic: a repeat after a crash finds the first pod. */
export function podNameOf(request: string): string {
  return `hodei-worker-${request}`;
}

export function workerIdOf(request: string): string {
  return `worker-${request}`;
}
