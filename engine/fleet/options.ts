import type { Offer } from "../../workflow/requirement.ts";

export type FleetOptions = {
  template: WorkerTemplate;
  /** Workers that take many jobs and are kept running. */
  warm: number;
  /** Workers made for waiting work, beyond the warm ones, at most. */
  maxEphemeral: number;
  /** What is made for work that did not ask for an ephemeral worker: gone after one job, or kept while it has work. Default "ephemeral". */
  extras?: "ephemeral" | "warm";
  /** A warm worker beyond the floor goes after so long without a job. Default 10 min. */
  idleMs?: number;
  /** From created to registered; then it counts as failed. Default 60 s. */
  registerMs?: number;
  /** SIGTERM to SIGKILL when a pod is deleted. Default 30 s. */
  graceMs?: number;
  /** Engines that are there no more, whose workers this one takes over at its start. Default: none. */
  inherits?: (engine: string) => boolean;
  /** Whether `stop` deletes the workers made here; else they look for another engine, or end alone. Default true. */
  deleteOnStop?: boolean;
};

/** What a worker made here is: the local machine, for the process platform. */
export type WorkerTemplate = {
  id: string;
  /** As its hello will say, whichever mode it is made in. */
  offer: Offer;
  /** Jobs at once of a warm one; an ephemeral one takes 1 from the queue, and so many of its workspace. */
  slots: number;
  /** Besides what the fleet sets itself. */
  env: Record<string, string>;
  image?: string;
};

export const FLEET_DEFAULTS = {
  idleMs: 10 * 60_000,
  registerMs: 60_000,
  graceMs: 30_000,
} as const;
