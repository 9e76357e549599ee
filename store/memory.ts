import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { createMemoryCold } from "./memory/memory-cold.ts";
import { saveCluster, storeOf } from "./memory/model.ts";
import { noJournal } from "./memory/rows.ts";
import { emptyState } from "./memory/state.ts";
import type { Store } from "./store.ts";

/**
 * The model: what every adapter is compared with, and the store of the simulator. All is lost when it is dropped. Each
 * call runs at once and whole; callers must not change afterwards what they gave or got.
 */
export function createMemoryStore({ clock, random }: { clock: Clock; random: Random }): Store {
  const state = emptyState({ clock, random, cold: createMemoryCold(), journal: noJournal });
  saveCluster(state, { shards: undefined, replicationId: random.hex(8) });
  return storeOf({
    state: () => state,
    run: async (call) => {
      try {
        return call();
      } finally {
        state.hints.deliver();
      }
    },
    durability: "memory",
    close: async () => {},
  });
}
