import type { TurnRequest } from "../../../store/store.ts";
import type { Plant } from "../run.ts";
import { inStore, newestFences } from "./plant.ts";

/** Bugs that let somebody write who has no right to. */
export const OWNERSHIP_BUGS: readonly Plant[] = [
  {
    name: "the fence is not checked",
    store: inStore((store) => {
      const fences = newestFences(store);
      return {
        ...fences.grant,
        turn: async (request) => {
          const answer = await store.turn(request);
          const fence = fences.of(request.fence.shard);
          return answer.status === "FENCED" && fence ? await store.turn({ ...request, fence }) : answer;
        },
      };
    }),
  },
  {
    name: "the fence is its epoch, without the nonce",
    store: inStore((store) => {
      const fences = newestFences(store);
      return {
        ...fences.grant,
        turn: async (request) => {
          const answer = await store.turn(request);
          const fence = fences.of(request.fence.shard);
          const equal = fence?.epoch === request.fence.epoch && fence.nonce !== request.fence.nonce;
          return answer.status === "FENCED" && equal ? await store.turn({ ...request, fence }) : answer;
        },
      };
    }),
  },
  {
    name: "cleanup is not fenced",
    store: inStore((store) => {
      const fences = newestFences(store);
      return {
        ...fences.grant,
        turn: async (request) => {
          const answer = await store.turn(request);
          const fence = fences.of(request.fence.shard);
          if (answer.status !== "FENCED" || !fence) return answer;
          const record = await store.readExecution({ namespace: request.namespace, id: request.id });
          if (record?.status !== "OK") return answer;
          const cleanup = cleanupOf({ ...request, fence, expectedRevision: record.head.revision, head: record.head });
          await store.turn({ ...cleanup, opId: `${request.opId} cleanup` });
          return answer;
        },
      };
    }),
  },
  {
    name: "a shard is taken from a living owner",
    store: inStore((store) => ({
      acquireShards: async (request) => {
        const live = new Map((await store.sessions()).map((record) => [record.session, record]));
        const taken = (await store.shards()).find(
          ({ shard, session }) =>
            request.shards.includes(shard) && session !== undefined && session !== request.session,
        );
        if (taken?.session !== undefined && live.has(taken.session)) await store.endSession({ session: taken.session });
        return await store.acquireShards(request);
      },
    })),
  },
];

/** What a turn removes, without what it says. */
function cleanupOf(request: TurnRequest): TurnRequest {
  const nothing = { events: [], enqueue: [], timers: [], outbox: [], cancel: [], fire: [], settle: [], claimFor: [] };
  return { ...request, ...nothing, revoke: [], withdraw: [] };
}
