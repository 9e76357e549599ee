import type { Pod } from "../../platform/platform.ts";
import type { WorkerRequest } from "../../store/store.ts";
import type { FleetContext } from "./launch.ts";
import { FLEET_DEFAULTS } from "./options.ts";

/** Deletions per sweep: a wrong reading must not clear the whole platform at once. */
const DELETIONS = 10;

/**
 * Deletes pods whose worker request is closed or unknown, whichever engine asked for them; on the second sighting, since
 * a pod may be seen between its creation and the moment we read the requests.
 */
export class Orphans {
  readonly #context: FleetContext;
  #seen = new Set<string>();

  constructor(context: FleetContext) {
    this.#context = context;
  }

  async sweep(): Promise<void> {
    const { platform, store, options, emit, logger } = this.#context;
    // Pods first: a request is always written before its pod, so a pod without one is not just too new.
    const pods = await platform.list();
    const open = new Set((await store.workerRequests.list({ open: true })).map((request) => request.id));
    const orphans = pods.filter((pod) => !open.has(pod.request) && !hasEnded(pod));
    const again = orphans.filter((pod) => this.#seen.has(pod.uid)).slice(0, DELETIONS);
    this.#seen = new Set(orphans.map((pod) => pod.uid));
    for (const { name, uid, request } of again) {
      logger.warn({ pod: name, request }, "orphan pod deleted");
      emit("WorkerOrphanDeleted", `pod ${name} has no open worker request`, { facts: { pod: name, request } });
      await platform.delete({ name, uid, graceMs: options.graceMs ?? FLEET_DEFAULTS.graceMs });
    }
  }
}

function hasEnded(pod: Pick<Pod, "phase">): boolean {
  return pod.phase === "succeeded" || pod.phase === "failed" || pod.phase === "gone";
}

/** What an earlier life of this engine has left: open requests, with their pods where there are any. */
export function leftBehind(
  requests: readonly WorkerRequest[],
  pods: readonly Pod[],
): { alive: { request: WorkerRequest; pod: Pod }[]; dead: WorkerRequest[] } {
  const byRequest = new Map(pods.filter((pod) => !hasEnded(pod)).map((pod) => [pod.request, pod]));
  const alive = requests.flatMap((request) => {
    const pod = byRequest.get(request.id);
    return pod ? [{ request, pod }] : [];
  });
  return { alive, dead: requests.filter((request) => !byRequest.has(request.id)) };
}
