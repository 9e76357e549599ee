import type { Unary } from "../transport.ts";
import type { WorkerView } from "./cluster.ts";

/** The workers of the caller's namespace and those of every namespace, whichever engine each is connected to. */
export type FleetApi = {
  /** By id. `unanswered` names the engines whose workers are missing here because they did not answer. */
  list: Unary<{ limit: number; page?: string }, { workers: WorkerView[]; nextPage?: string; unanswered: string[] }>;
  get: Unary<{ id: string }, WorkerView>;
  /** No new job; it goes when its running ones have ended. One-way. */
  drain: Unary<{ id: string }, Record<string, never>>;
};
