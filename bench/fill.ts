import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { DEFAULT_SHARDS } from "../orchestrator/orchestrator.ts";
import { openSqliteStore } from "../store/sqlite/store.ts";
import type { ExecutionRecord, Fence, Store, TurnRequest } from "../store/store.ts";
import { shardOf } from "../workflow/shard.ts";
import { removeFolder, startCluster, temporaryFolder } from "./cluster.ts";
import { inFlight } from "./measure.ts";
import { threeSteps } from "./workflows.ts";

/** Commits share an fdatasync, so that 100,000 copies take seconds. */
const WIDTH = 512;
const FILL_MS = 120_000;
const LEASE_MS = 600_000;

const storeIn = (data: string): Store =>
  openSqliteStore({
    directory: join(data, "store"),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });

/** A finished 3-step execution as a real cluster left it. */
export async function finishedExecution(): Promise<ExecutionRecord> {
  const data = temporaryFolder();
  try {
    const cluster = await startCluster({ data });
    let id: string;
    try {
      await cluster.client.register(threeSteps);
      id = (await cluster.client.start(threeSteps, {})).id;
      await cluster.client.result(id, { deadlineMs: 20_000 });
    } finally {
      await cluster.stop();
    }
    const store = storeIn(data);
    try {
      const record = await store.readExecution({ namespace: "default", id });
      if (record?.status !== "OK" || record.head.state !== "succeeded") throw new Error(`${id} is not in the store`);
      return record;
    } finally {
      await store.close();
    }
  } finally {
    removeFolder(data);
  }
}

/**
 * `count` copies of it under other ids, written through the store port into a folder that no cluster uses: as finished
 * ones, each in one commit. Running 100,000 of them would take minutes. Answers their ids.
 */
export async function fill(data: string, record: ExecutionRecord, count: number): Promise<string[]> {
  const store = storeIn(data);
  try {
    await store.open({ shards: DEFAULT_SHARDS });
    const engine = { name: "fill", address: "127.0.0.1:1", pid: process.pid, version: "0", startedAtMs: 0 };
    const { session } = await store.openSession({ opId: systemRandom.id(), engine, ttlMs: LEASE_MS });
    const shards = Array.from({ length: DEFAULT_SHARDS }, (_, shard) => shard);
    const owned = await store.acquireShards({ opId: systemRandom.id(), session, shards });
    if ("status" in owned) throw new Error("a fresh session is fenced");
    const ids: string[] = [];
    const { count: written } = await inFlight({ count, width: WIDTH, mostMs: FILL_MS }, async (at) => {
      const id = systemRandom.id();
      const shard = shardOf("default", id, DEFAULT_SHARDS);
      const fence = owned.acquired.find((each) => each.shard === shard) as Fence;
      const answer = await store.turn(copyOf(record, { id, fence, agoMs: count - at }));
      if (answer.status !== "OK") throw new Error(`a copy came back as ${answer.status}`);
      ids.push(id);
    });
    if (written < count) throw new Error(`only ${written} of ${count} executions in ${FILL_MS} ms`);
    await store.endSession({ session });
    return ids;
  } finally {
    await store.close();
  }
}

/** Its texts hold the id and the uid of the original: both are unique, so replacing them is enough. */
function copyOf(record: ExecutionRecord, of: { id: string; fence: Fence; agoMs: number }): TurnRequest {
  const uid = systemRandom.id();
  const { head } = record;
  const renamed = (text: string): string => text.replaceAll(head.uid, uid).replaceAll(head.id, of.id);
  const startedAtMs = head.startedAtMs - of.agoMs;
  return {
    opId: systemRandom.id(),
    fence: of.fence,
    namespace: head.namespace,
    id: of.id,
    expectedRevision: 0,
    events: record.events.map(renamed),
    head: {
      ...head,
      id: of.id,
      uid,
      shard: of.fence.shard,
      revision: 0,
      startedAtMs,
      endedAtMs: (head.endedAtMs ?? head.startedAtMs) - of.agoMs,
    },
    ...(record.snapshot === undefined ? {} : { snapshot: renamed(record.snapshot.text) }),
    definitions: record.definitions,
    take: [],
    settle: [],
    enqueue: [],
    cancel: [],
    timers: [],
    clearTimers: [],
    fire: [],
    outbox: [],
    outboxDone: [],
    releaseWorkspaces: [],
    claimFor: [],
  };
}
