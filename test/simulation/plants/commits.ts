import type { TurnAnswer, TurnRequest } from "../../../store/store.ts";
import type { Plant } from "../run.ts";
import { eventsOf, inEngines, inStore, inTurns, unheard } from "./plant.ts";

/** Bugs in what is committed, and in what is said of it. */
export const COMMIT_BUGS: readonly Plant[] = [
  {
    name: "a start is acknowledged before its commit",
    node: inEngines((store, { clock }) => ({
      turn: async (request) => {
        if (request.expectedRevision > 0) return await store.turn(request);
        const head = await store.readExecution({ namespace: request.namespace, id: request.id });
        if (head !== undefined) return await store.turn(request);
        unheard(clock.sleep(30).then(() => store.turn({ ...request, claimFor: [] })));
        return { status: "OK", revision: 1, nowMs: clock.now(), assignments: [] } satisfies TurnAnswer;
      },
    })),
  },
  { name: "the outbox is not written", node: inTurns((request) => ({ ...request, outbox: [] })) },
  {
    name: "history has a gap",
    node: inTurns((request) => {
      const kept = eventsOf(request).findIndex(({ type }) => type === "stepOpened");
      return kept < 0 ? request : { ...request, events: request.events.toSpliced(kept, 1) };
    }),
  },
  {
    name: "a cancel is forgotten by the next owner",
    node: inEngines((store) => ({
      readExecution: async (request) => {
        const record = await store.readExecution(request);
        if (request.fence === undefined || record?.status !== "OK") return record;
        return { ...record, events: record.events.filter((text) => !text.includes('"type":"cancelRequested"')) };
      },
    })),
  },
  {
    name: "a pause holds nothing back",
    node: inTurns((request) => ({ ...request, head: { ...request.head, gate: "open" } })),
  },
  {
    name: "an outcome in the inbox is overwritten by a cancel",
    store: inStore((store) => ({
      turn: async (request) => {
        const answer = await store.turn(request);
        if (answer.status !== "CONFLICT" || answer.outcomes.length === 0) return answer;
        if (answer.revision !== request.expectedRevision) return answer;
        return await store.turn(withoutOutcomes(request, answer));
      },
    })),
  },
];

function withoutOutcomes(request: TurnRequest, conflict: Extract<TurnAnswer, { status: "CONFLICT" }>): TurnRequest {
  const ended = new Set(conflict.outcomes.map(({ jobId }) => jobId));
  const others = (ids: string[] = []): string[] => ids.filter((id) => !ended.has(id));
  return {
    ...request,
    take: [...request.take, ...conflict.outcomes.map(({ entry }) => entry)],
    cancel: others(request.cancel),
    revoke: others(request.revoke),
    withdraw: others(request.withdraw),
  };
}
