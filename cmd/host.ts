import { hostIdentity, startTimeOf } from "../base/process.ts";
import type { Logger } from "../base/log.ts";
import { machineResources, offerOf } from "../worker/capabilities.ts";
import { findTools } from "../worker/tools.ts";
import type { Offer } from "../workflow/requirement.ts";

/** How an engine tells that a worker which ran on this host is gone: same boot, same pid namespace, and the pid with that start time is not there. */
export type HostEvidence = { bootId: string; pidNamespace: string; alive(pid: number, startTime: string): boolean };

export function hostEvidence(): HostEvidence {
  const { bootId, pidNamespace } = hostIdentity();
  return { bootId, pidNamespace, alive: (pid, startTime) => startTimeOf(pid) === startTime };
}

/** What a worker process started on this host would offer: how the fleet knows which classes it can serve. */
export async function localOffer(options: {
  namespace: string;
  labels: readonly string[];
  handlers: readonly string[];
  env: Record<string, string>;
  toolsFile: string;
  directory: string;
  logger: Logger;
}): Promise<Offer> {
  const { tools } = await findTools({ env: options.env, cacheFile: options.toolsFile, logger: options.logger });
  const machine = await machineResources(options.directory);
  const offer = offerOf({ offer: { labels: [...options.labels], namespace: options.namespace } }, machine, tools);
  return { ...offer, handlers: [...options.handlers] };
}
