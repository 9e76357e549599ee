import { describe, expect, it } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { Catalog, requireVersion } from "../../orchestrator/catalog.ts";
import { createMemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { definitionOf, digestOf, normalForm } from "../../workflow/load.ts";

const rig = (options: { hints: boolean }) => {
  const clock = new ManualClock();
  const memory = createMemoryStore({ clock, random: seededRandom(1) });
  let reads = 0;
  const store: Store = {
    ...memory,
    watch: options.hints ? (...topic) => memory.watch(...topic) : () => () => {},
    registry: { ...memory.registry, read: (namespace) => (reads++, memory.registry.read(namespace)) },
  };
  const publish = async (version: string): Promise<void> => {
    const document = { apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name: "lib", version } };
    const definition = definitionOf({ ...document, spec: { steps: { work: { run: "true" } } } });
    const record = { name: "lib", version, digest: digestOf(definition), publishedAtMs: 0, dependencies: {} };
    const { revision: expectedRevision } = await memory.registry.read("default");
    const put = { ...record, body: normalForm(definition) };
    await memory.registry.write({ opId: version, namespace: "default", expectedRevision, put });
  };
  return { clock, publish, catalog: new Catalog({ store, clock }), reads: () => reads };
};

describe("the catalog", () => {
  it("reads a registry once until it changes, and sees the change by its hint", async () => {
    const { catalog, publish, reads } = rig({ hints: true });
    await publish("1.0.0");
    for (let n = 0; n < 5; n++) await catalog.registry("default");
    expect(reads()).toBe(1);
    await publish("1.1.0");
    await Promise.resolve();
    expect((await catalog.registry("default")).definitions).toHaveLength(2);
    expect(reads()).toBe(2);
    catalog.stop();
  });

  it("sees a change within two seconds even when every hint is lost", async () => {
    const { catalog, publish, clock } = rig({ hints: false });
    await publish("1.0.0");
    await catalog.registry("default");
    await publish("1.1.0");
    await clock.advance(2_000);
    expect((await catalog.registry("default")).definitions).toHaveLength(2);
  });

  it("computes a closure once per revision of the registry", async () => {
    const { catalog, publish } = rig({ hints: true });
    await publish("1.0.0");
    const registry = await catalog.registry("default");
    const root = requireVersion(registry, "lib", "^1");
    expect(await catalog.closure("default", registry, root)).toBe(await catalog.closure("default", registry, root));
    catalog.stop();
  });
});
