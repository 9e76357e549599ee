import type { Assignment, Store } from "../../../store/store.ts";
import type { Plant } from "../run.ts";
import { inEngines, inStore, inTurns } from "./plant.ts";

/** Bugs between the queue, the workers and their outcomes. */
export const JOB_BUGS: readonly Plant[] = [
  { name: "a token is used again", store: inStore(sameTokens) },
  {
    name: "an attempt is retried without fencing the one before",
    node: inTurns((request) => ({ ...request, revoke: [] })),
  },
  {
    name: "a repeated claim is dispatched by nobody",
    node: inEngines((store) => {
      const asked = new Set<string>();
      return {
        claim: async (request) => {
          const again = asked.has(request.opId);
          asked.add(request.opId);
          const answer = await store.claim(request);
          return again && "assignments" in answer ? { ...answer, assignments: [] } : answer;
        },
        // Nobody looks for it either.
        sessions: async () => (await store.sessions()).map((record) => ({ ...record, claims: 0 })),
      };
    }),
  },
  {
    name: "an adoption is answered and not made",
    store: inStore((store) => ({
      adopt: async (request) => {
        if (request.jobs.length === 0) return await store.adopt(request);
        const { records, stale } = await known(store, request.jobs);
        return { adopted: records, stale };
      },
    })),
  },
  {
    name: "a job is lost by the word of an engine that does not hold it",
    store: inStore((store) => ({
      reportAndClaim: async (request) => {
        const answer = await store.reportAndClaim(request);
        if (answer.status !== "STALE" || request.outcome.kind !== "lost") return answer;
        const [record] = await store.jobs({ jobId: request.jobId, limit: 1 });
        if (record?.token === undefined || record.session === undefined) return answer;
        const { token, session } = record;
        return await store.reportAndClaim({ ...request, opId: `${request.opId} late`, token, session });
      },
    })),
  },
  {
    name: "any worker gets any job",
    store: inStore((store) => {
      const everything = ["linux", "special", "gpu", "fast", "big", "a", "b", "c"];
      return {
        claim: async (request) =>
          await store.claim({
            ...request,
            workers: request.workers.map((slot) => ({
              ...slot,
              signature: `${slot.signature} and more`,
              offer: { ...slot.offer, labels: [...new Set([...slot.offer.labels, ...everything])] },
            })),
          }),
      };
    }),
  },
  {
    name: "an assignment is carried out twice",
    node: inEngines(twice),
  },
  {
    name: "the first outcome does not win",
    store: inStore((store) => ({
      readInbox: async (request) => {
        const answer = await store.readInbox(request);
        const entries = answer.entries.map((entry) =>
          entry.outcome.kind === "succeeded" && entry.job.attempt === 1
            ? { ...entry, outcome: { kind: "lost" as const, reason: "overwritten" } }
            : entry,
        );
        return { ...answer, entries };
      },
    })),
  },
];

/** One token for all attempts of an iteration, as if it were made of the iteration alone. */
function sameTokens(store: Store): Partial<Store> {
  const real = new Map<string, string>();
  const plain = (jobId: string): string => `token of ${jobId.slice(0, jobId.lastIndexOf("#"))}`;
  const shown = (assignments: Assignment[]): Assignment[] =>
    assignments.map((assignment) => {
      real.set(assignment.job.id, assignment.token);
      return { ...assignment, token: plain(assignment.job.id) };
    });
  const back = <T extends { jobId: string; token: string }>(of: T): T => ({
    ...of,
    token: of.token === plain(of.jobId) ? (real.get(of.jobId) ?? of.token) : of.token,
  });
  return {
    turn: async (request) => {
      const answer = await store.turn({ ...request, settle: request.settle.map(back) });
      return "assignments" in answer ? { ...answer, assignments: shown(answer.assignments) } : answer;
    },
    claim: async (request) => {
      const answer = await store.claim(request);
      return "assignments" in answer ? { ...answer, assignments: shown(answer.assignments) } : answer;
    },
    reportAndClaim: async (request) => {
      const answer = await store.reportAndClaim(back(request));
      return "assignments" in answer ? { ...answer, assignments: shown(answer.assignments) } : answer;
    },
    adopt: async (request) => await store.adopt({ ...request, jobs: request.jobs.map(back) }),
  };
}

async function known(
  store: Store,
  jobs: { jobId: string; token: string }[],
): Promise<{ records: string[]; stale: string[] }> {
  const records: string[] = [];
  const stale: string[] = [];
  for (const { jobId, token } of jobs) {
    const [record] = await store.jobs({ jobId, limit: 1 });
    if (record?.token === token) records.push(token);
    else stale.push(token);
  }
  return { records, stale };
}

/** What a claim brought comes again with the next one that brings nothing: two runs of one attempt. */
function twice(store: Store): Partial<Store> {
  let last: Assignment[] = [];
  return {
    claim: async (request) => {
      const answer = await store.claim(request);
      if (!("assignments" in answer)) return answer;
      const again = last.filter(({ worker }) => request.workers.some((slot) => slot.worker === worker));
      if (answer.assignments.length > 0) last = answer.assignments;
      else if (again.length > 0) last = [];
      return answer.assignments.length > 0 ? answer : { ...answer, assignments: again };
    },
  };
}
