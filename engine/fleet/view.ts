import type { TemplateView } from "../../transport/api/template.ts";
import type { FleetOptions } from "./options.ts";
import { FLEET_DEFAULTS } from "./options.ts";

/** Variables by which the fleet tells its own workers what to be: paths of this host, and no business of clients. */
const OWN = "HODEI_";

/** What this engine makes workers from, as others see it. */
export function templateViews(engine: string, options: FleetOptions | undefined): TemplateView[] {
  if (!options) return [];
  const { template, registerMs, idleMs, graceMs } = options;
  const { id, offer, slots, env, image } = template;
  return [
    {
      id,
      origin: "local",
      ...(image === undefined ? {} : { image }),
      environment: Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith(OWN))),
      maxConcurrentJobs: slots,
      timeouts: {
        registerMs: registerMs ?? FLEET_DEFAULTS.registerMs,
        idleMs: idleMs ?? FLEET_DEFAULTS.idleMs,
        stopMs: graceMs ?? FLEET_DEFAULTS.graceMs,
      },
      offer,
      engines: [engine],
    },
  ];
}
