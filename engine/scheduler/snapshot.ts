import type { Resources } from "../../workflow/requirement.ts";

/** What the scheduler may know of one worker: a value, taken once per decision, so that deciding is pure. */
export type WorkerSnapshot = {
  worker: string;
  state: "available" | "running" | "unhealthy" | "draining";
  /** All its room is given in claims that have not been answered: it is spoken for. */
  offered: boolean;
  /** Free room for jobs of no workspace. */
  freeSlots: number;
  slots: number;
  total: Resources;
  free: Resources;
  /** Workspaces it holds: their jobs need no slot. */
  workspaces: number;
  /** Of the whole machine, 0 to 100, as last told. */
  cpuPercent: number;
  /** When it last became less busy; for first come, first served. Any monotonic scale. */
  idleSinceMs: number;
};
