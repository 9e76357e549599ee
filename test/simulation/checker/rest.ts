import type { LogChunk, Store } from "../../../store/store.ts";
import type { Check, Finished } from "../run.ts";
import { check, wordsOf } from "./check.ts";
import type { AtRest, StoredExecution } from "./invariant.ts";
import { INVARIANTS } from "./invariants.ts";

/** Clients of simulated clusters have no credential, so all is in one namespace. */
const NAMESPACE = "default";
const PAGE = 500;
const LOG_BYTES = 16 * 1024 * 1024;

/** What the store holds, through its port alone. */
export async function readAtRest(store: Store, shards: number): Promise<AtRest> {
  const { nowMs } = await store.open({ shards });
  const executions: StoredExecution[] = [];
  for (let page: string | undefined, more = true; more;) {
    const list = await store.listExecutions({
      namespace: NAMESPACE,
      limit: PAGE,
      ...(page === undefined ? {} : { page }),
    });
    for (const { id } of list.executions) executions.push(...(await readStored(store, id)));
    page = list.nextPage;
    more = page !== undefined;
  }
  return {
    nowMs,
    executions,
    jobs: await store.jobs({ limit: 100_000 }),
    shards: await store.shards(),
    sessions: await store.sessions(),
    workerRequests: await store.workerRequests.list({}),
    registries: { [NAMESPACE]: await store.registry.read(NAMESPACE) },
  };
}

async function readStored(store: Store, id: string): Promise<StoredExecution[]> {
  const of = { namespace: NAMESPACE, id };
  const record = await store.readExecution(of);
  const history = await store.readHistory({ ...of, afterRevision: 0, limit: 1_000_000 });
  if (record === undefined || record.status !== "OK" || history === undefined) return [];
  const { head, snapshot, definitions, timers, outbox } = record;
  const logs: LogChunk[] = (await store.logs.read({ namespace: NAMESPACE, executionId: id, limitBytes: LOG_BYTES }))
    .chunks;
  const { commits } = history;
  return [{ head, commits, definitions, timers, outbox, logs, ...(snapshot === undefined ? {} : { snapshot }) }];
}

/** Every invariant, over a run of the simulator. */
export const checkRun: Check = async ({ trace, store, shards, atRest }: Finished) => {
  const rest = await readAtRest(store, shards);
  return check({ trace, rest, healed: atRest }, INVARIANTS).map((violation) => {
    const at = violation.events.at(-1);
    return { invariant: violation.invariant, words: wordsOf(violation), ...(at === undefined ? {} : { at }) };
  });
};
