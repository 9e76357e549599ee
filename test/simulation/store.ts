import type { Clock } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import type { Cold } from "../../store/memory/cold.ts";
import { createHints } from "../../store/memory/hints.ts";
import { createMemoryCold } from "../../store/memory/memory-cold.ts";
import { saveCluster, storeOf } from "../../store/memory/model.ts";
import { restore } from "../../store/memory/restore.ts";
import type { Journal, StoredRows, TableName } from "../../store/memory/rows.ts";
import { endNow, sessionRecords } from "../../store/memory/sessions.ts";
import { emptyState, type State } from "../../store/memory/state.ts";
import type { Store } from "../../store/store.ts";

const TABLES = [
  "clusters",
  "sessions",
  "shards",
  "executions",
  "timers",
  "outbox",
  "jobs",
  "claims",
  "inbox",
  "workspaces",
  "operations",
  "registries",
  "definitions",
  "workerRequests",
] as const satisfies readonly TableName[];

/** One change of what a durable adapter would have on disk. `at`: how long the trace was then. */
type Change =
  | { at: number; table: TableName; key: string; row: object | undefined }
  | { at: number; cold: keyof Cold; args: unknown[] };

const COLD_WRITES: ReadonlySet<string> = new Set<keyof Cold>([
  "appendCommit",
  "putSnapshot",
  "putDefinitions",
  "finish",
  "reopen",
  "erase",
  "appendLog",
  "growDropMark",
  "putBody",
  "removeBody",
  "setCounter",
  "dropCounter",
]);

export type SimulatedStore = {
  readonly store: Store;
  /** Back to what it held when the trace was `keptEvents` long, as after a failover that lost the tail. */
  rollBack(keptEvents: number): void;
};

/**
 * The memory store, with every change noted as a durable adapter notes it, so that any earlier moment can be had again
 * by making the changes up to it once more and restoring from the rows, as the SQLite adapter does after a failure.
 */
export function createSimulatedStore(of: { clock: Clock; random: Random; traced: () => number }): SimulatedStore {
  const { clock, random, traced } = of;
  const hints = createHints();
  let changes: Change[] = [];
  const note = (change: Change): void => void changes.push(change);
  const journal: Journal = {
    put: (table, key, row) => note({ at: traced(), table, key, row }),
    remove: (table, key) => note({ at: traced(), table, key, row: undefined }),
  };
  const fresh = (cold: Cold): State => emptyState({ clock, random, cold: noting(cold, traced, note), journal, hints });
  let state = fresh(createMemoryCold());
  saveCluster(state, { shards: undefined, replicationId: random.hex(8) });
  const run = async <T>(call: () => T): Promise<T> => {
    try {
      return call();
    } finally {
      state.hints.deliver();
    }
  };
  return {
    store: storeOf({
      state: () => state,
      run,
      early: run,
      durability: "memory",
      close: async () => {},
    }),
    rollBack(keptEvents) {
      const kept = changes.filter((change) => change.at < keptEvents);
      const cold = createMemoryCold();
      const { rows, lastSerial } = replay(kept, cold);
      changes = kept;
      hints.forget();
      state = fresh(cold);
      restore(state, rows, lastSerial);
      // An engine may know what the store has forgotten: what it was granted before is good for nothing any more.
      for (const { session } of sessionRecords(state)) endNow(state, { session });
      saveCluster(state, { ...state.cluster, replicationId: random.hex(8) });
    },
  };
}

function noting(cold: Cold, traced: () => number, note: (change: Change) => void): Cold {
  return new Proxy(cold, {
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver);
      if (typeof value !== "function" || !COLD_WRITES.has(String(name))) return value;
      return (...args: unknown[]): unknown => {
        note({ at: traced(), cold: name as keyof Cold, args });
        return Reflect.apply(value, target, args);
      };
    },
  });
}

/** The rows as they were after these changes; the cold half is brought to the same point. */
function replay(changes: readonly Change[], cold: Cold): { rows: StoredRows; lastSerial: number } {
  const tables = Object.fromEntries(TABLES.map((name) => [name, new Map<string, object>()]));
  let lastSerial = 0;
  for (const change of changes) {
    if ("cold" in change) {
      Reflect.apply(cold[change.cold] as (...args: unknown[]) => unknown, cold, change.args);
    } else if (change.row === undefined) tables[change.table]?.delete(change.key);
    else {
      tables[change.table]?.set(change.key, change.row);
      // Of finished ones too: serials name history for ever.
      if ("serial" in change.row && typeof change.row.serial === "number")
        lastSerial = Math.max(lastSerial, change.row.serial);
    }
  }
  // Each table holds rows of its own kind: the journal's `put` is typed by the table.
  return { rows: tables as { [Name in TableName]: Map<string, never> }, lastSerial };
}
