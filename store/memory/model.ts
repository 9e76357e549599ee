import { HodeiError } from "../../workflow/errors.ts";
import type { ClusterInfo, Store } from "../store.ts";
import { claim } from "./claim.ts";
import { appendLog, readLogs } from "./logs.ts";
import { demand, expire, jobs, listExecutions, loadShard, readExecution, readHistory, readInbox } from "./reads.ts";
import { nextRunNumber, raiseRunNumber, readBody, readRegistry, writeRegistry } from "./registry.ts";
import { adopt, reportAndClaim } from "./report.ts";
import { acquireShards, endNow, judge, lease, openSession, releaseShards, renewSession } from "./sessions.ts";
import { sessionRecords } from "./sessions.ts";
import type { State } from "./state.ts";
import { turn } from "./turn.ts";
import { listWorkers, reserveWorker, updateWorker } from "./worker-requests.ts";

/**
 * The rules of the store over one state, as the port has them. `run` decides when an answer may leave: at once, or when
 * what the call wrote is on disk. `state` is asked anew in each call, because an adapter may have had to load it again.
 */
export type ModelOptions = {
  state: () => State;
  run: <T>(call: () => T) => Promise<T>;
  /**
   * The same for a call whose answer may leave at once, because all that follows from it is written later to the same
   * place. `again` puts its effect into a state that was loaded without it. Default: as `run`.
   */
  early?: <T>(call: () => T, again: (state: State, answer: T) => void) => Promise<T>;
  durability: ClusterInfo["durability"];
  close: () => Promise<void>;
};

export function storeOf({ state, run, early = run, durability, close }: ModelOptions): Store {
  const on =
    <Request, Answer>(rule: (state: State, request: Request) => Answer) =>
    (request: Request): Promise<Answer> =>
      run(() => rule(state(), request));
  return {
    open: ({ shards }) => run(() => open(state(), shards, durability)),
    close,

    openSession: on(openSession),
    renewSession: on(renewSession),
    endSession: on(endNow),
    sessions: () => run(() => sessionRecords(state())),
    acquireShards: on((current, request: Parameters<Store["acquireShards"]>[0]) => {
      for (const shard of request.shards) checkShard(current, shard);
      return acquireShards(current, request);
    }),
    releaseShards: on(releaseShards),
    shards: () => run(() => shardRecords(state())),
    lease: on(lease),

    turn: on(turn),
    reportAndClaim: on(reportAndClaim),
    claim: on(claim),
    adopt: on(adopt),

    loadShard: on(loadShard),
    readInbox: on(readInbox),
    readExecution: on(readExecution),
    expire: on(expire),

    readHistory: on(readHistory),
    listExecutions: on(listExecutions),
    jobs: on(jobs),
    demand: on(demand),
    watch: (topic, onHint) => state().hints.watch(topic, onHint),

    registry: {
      read: on(readRegistry),
      write: on(writeRegistry),
      body: on(readBody),
      nextRunNumber: (request) =>
        early(
          () => nextRunNumber(state(), request),
          (current, given) => raiseRunNumber(current, request, given),
        ),
    },
    logs: { append: on(appendLog), read: on(readLogs) },
    workerRequests: { reserve: on(reserveWorker), update: on(updateWorker), list: on(listWorkers) },
  };
}

/** The largest number of shards: one record each is kept in memory. */
const MOST_SHARDS = 65_536;

function open(state: State, shards: number, durability: ClusterInfo["durability"]): ClusterInfo {
  const { cluster } = state;
  if (!Number.isInteger(shards) || shards < 1 || shards > MOST_SHARDS) {
    throw new HodeiError("INVALID_ARGUMENT", `${shards} shards; allowed are 1 to ${MOST_SHARDS}`, { field: "shards" });
  }
  if (cluster.shards !== undefined && cluster.shards !== shards) {
    throw new HodeiError("INVALID_ARGUMENT", `the data was created with ${cluster.shards} shards, not ${shards}`, {
      field: "shards",
      hint: `Start with ${cluster.shards} shards; the number is fixed when the data is created.`,
    });
  }
  if (cluster.shards === undefined) saveCluster(state, { ...cluster, shards });
  return { shards, replicationId: state.cluster.replicationId, durability, nowMs: judge(state) };
}

export function saveCluster(state: State, cluster: State["cluster"]): void {
  state.cluster = cluster;
  state.journal.put("clusters", "cluster", cluster);
}

function checkShard(state: State, shard: number): void {
  const { shards } = state.cluster;
  if (shards === undefined) throw new HodeiError("INVALID_ARGUMENT", "open the store first");
  if (Number.isInteger(shard) && shard >= 0 && shard < shards) return;
  throw new HodeiError("INVALID_ARGUMENT", `no shard ${shard}; there are ${shards}`, { field: "shards" });
}

/** Every shard, owned or not. */
function shardRecords(state: State): Awaited<ReturnType<Store["shards"]>> {
  judge(state);
  return Array.from({ length: state.cluster.shards ?? 0 }, (_, shard) => {
    const record = state.shards.get(shard);
    if (record?.session === undefined) return { shard, epoch: record?.epoch ?? 0 };
    const owner = state.sessions.get(record.session)?.row.engine.name;
    return { shard, epoch: record.epoch, session: record.session, ...(owner === undefined ? {} : { owner }) };
  });
}
