import { mkdirSync } from "node:fs";
import { systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { WorkerTemplate } from "../engine/fleet/options.ts";
import { machineResources, offerOf } from "../worker/capabilities.ts";
import { findTools, usualToolsFile } from "../worker/tools.ts";
import { loadHandlers } from "./handlers.ts";

/** A tool that does not say its version in so long is offered without one. */
const PROBE_MS = 10_000;

/**
 * What a worker process started on this host is: its offer tells the fleet which jobs it could be made for. Versions of
 * tools that are not remembered yet are asked for in the background and added to the offer in place, so that starting
 * does not wait for `java -version`.
 */
export async function localTemplate(options: {
  directory: string;
  namespace: string;
  labels: readonly string[];
  env: Record<string, string>;
  handlersFile: string | undefined;
  slots: number;
  logger: Logger;
  /** Ends the asking: a cluster that stops leaves no child behind. */
  signal: AbortSignal;
}): Promise<WorkerTemplate> {
  const { directory, namespace, env, logger, slots } = options;
  mkdirSync(directory, { recursive: true });
  // Not in the data folder: a cluster in memory would ask all of them, a second of CPU, at every start.
  const toolsFile = usualToolsFile(env, directory);
  const [{ tools, probe }, machine, handlers] = await Promise.all([
    findTools({ env, cacheFile: toolsFile, logger }),
    machineResources(directory),
    loadHandlers(options.handlersFile, logger),
  ]);
  const own = { offer: { labels: [...options.labels], namespace }, handlers };
  const offer = offerOf(own, machine, tools);
  const late = new AbortController();
  options.signal.addEventListener("abort", () => late.abort(), { once: true });
  const timer = systemClock.after(PROBE_MS, () => late.abort());
  void probe(late.signal)
    .then((known) => void (offer.labels = offerOf(own, machine, known).labels))
    .catch((error: unknown) => logger.warn({ error }, "versions of local tools are not known"))
    .finally(() => timer.cancel());
  const passed: Record<string, string> = { HODEI_NAMESPACE: namespace, HODEI_TOOLS_FILE: toolsFile };
  if (options.labels.length > 0) passed["HODEI_LABELS"] = options.labels.join(",");
  if (options.handlersFile !== undefined) passed["HODEI_HANDLERS"] = options.handlersFile;
  return { id: "local", offer, slots, env: { ...passed, HODEI_SLOTS: String(slots) } };
}
