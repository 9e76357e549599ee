import type { Discovery, EngineAddress } from "./discovery.ts";

/** A list that is set by whoever made it: embedded clusters, tests, a configured set of hosts. */
export type StaticDiscovery = Discovery & { set(engines: readonly EngineAddress[]): void };

export function createStaticDiscovery(engines: readonly EngineAddress[] = []): StaticDiscovery {
  let known = [...engines];
  const watchers = new Set<() => void>();
  return {
    current: () => [...known],
    watch(onChange) {
      const watcher = (): void => onChange();
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
    set(next) {
      known = [...next];
      for (const watcher of watchers) watcher();
    },
  };
}
