import type { ClassDemand } from "../../store/store.ts";
import { mismatches } from "../../workflow/matching.ts";
import type { Mismatch, Offer, Requirement } from "../../workflow/requirement.ts";
import type { WorkerTemplate } from "./options.ts";

/** Work that some connected worker could run is left to it for so long before another worker is made for it. */
const PATIENCE_MS = 2_000;

/** One worker of this fleet, as far as deciding goes. */
export type FleetWorker = {
  mode: "warm" | "ephemeral";
  /** Not registered yet. */
  starting: boolean;
  /** The class it was made for. */
  classKey?: string;
  /** Registered, and has not had its job. */
  idle: boolean;
};

export type Wanted = { mode: "warm" | "ephemeral"; classKey: string; reason: string };

/** What a worker of the template offers in that mode. */
export function offerOf(template: WorkerTemplate, mode: "warm" | "ephemeral"): Offer {
  return { ...template.offer, template: template.offer.template ?? template.id, ephemeral: mode === "ephemeral" };
}

/** What keeps a worker of the template, in either mode, from ever running this: the platform cannot offer what the host has not. */
export function templateMismatches(template: WorkerTemplate, requirement: Requirement): Mismatch[] {
  const warm = mismatches(requirement, offerOf(template, "warm"));
  return warm.length === 0 ? warm : mismatches(requirement, offerOf(template, "ephemeral"));
}

/**
 * The workers to make for what waits, oldest class first, at most `room`. Those that are starting, or idle after they
 * were made for a class, count against its need: a decision must not be taken twice while its effect is on the way.
 */
export function wanted(about: {
  demand: readonly ClassDemand[];
  workers: readonly FleetWorker[];
  template: WorkerTemplate;
  extras: "warm" | "ephemeral";
  room: number;
  nowMs: number;
}): Wanted[] {
  const { template, workers, nowMs } = about;
  const made: Wanted[] = [];
  let unbound = workers.filter((worker) => worker.starting && worker.classKey === undefined).length * template.slots;
  for (const of of about.demand.toSorted((a, b) => a.oldestAtMs - b.oldestAtMs)) {
    const mode = of.requirement.ephemeral ? "ephemeral" : about.extras;
    const mayServe = of.servable && !of.requirement.ephemeral && nowMs - of.oldestAtMs < PATIENCE_MS;
    if (mayServe || mismatches(of.requirement, offerOf(template, mode)).length > 0) continue;
    if (of.namespace !== template.offer.namespace && template.offer.namespace !== "*") continue;
    const perWorker = mode === "ephemeral" ? 1 : template.slots;
    const coming = workers.filter((worker) => worker.classKey === of.classKey && (worker.starting || worker.idle));
    let need = of.waiting - coming.length * perWorker;
    if (!of.requirement.ephemeral) {
      const taken = Math.min(Math.max(need, 0), unbound);
      unbound -= taken;
      need -= taken;
    }
    const reason = `${of.waiting} jobs wait${of.servable ? "" : " and no connected worker fits"}`;
    for (let left = Math.ceil(need / perWorker); left > 0 && made.length < about.room; left--) {
      made.push({ mode, classKey: of.classKey, reason });
    }
  }
  return made;
}
