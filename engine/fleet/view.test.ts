import { expect, it } from "vitest";
import { FLEET_DEFAULTS, type FleetOptions } from "./options.ts";
import { templateViews } from "./view.ts";

const template: FleetOptions["template"] = {
  id: "local",
  offer: {
    labels: ["linux"],
    handlers: [],
    services: [],
    hardware: {},
    models: {},
    custom: {},
    ephemeral: false,
    namespace: "default",
    total: { cpuMillis: 2000, memoryBytes: 1, gpu: 0, storageBytes: 0 },
  },
  slots: 5,
  env: { HODEI_TOOLS_FILE: "/secret/path", CC: "clang" },
};

it("a template is shown with the defaults that hold, and without what Hodei tells its own workers", () => {
  const [view] = templateViews("e1", { template, warm: 1, maxEphemeral: 1, graceMs: 7 });
  expect(view).toEqual({
    id: "local",
    origin: "local",
    environment: { CC: "clang" },
    maxConcurrentJobs: 5,
    timeouts: { registerMs: FLEET_DEFAULTS.registerMs, idleMs: FLEET_DEFAULTS.idleMs, stopMs: 7 },
    offer: template.offer,
    engines: ["e1"],
  });
});

it("an engine that makes no workers has no template", () => {
  expect(templateViews("e1", undefined)).toEqual([]);
});
