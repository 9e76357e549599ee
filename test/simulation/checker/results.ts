import type { Json } from "../../../workflow/json.ts";
import { idempotencyKey, jobId } from "../../../workflow/job.ts";
import type { HistoryEvent } from "../../../workflow/event.ts";
import type { Invariant, Run, StoredExecution } from "./invariant.ts";

type Succeeded = { place: { step: string; iteration: string; attempt: number }; outputs: Record<string, Json> };

/** Handlers of generated workloads say in their outputs which attempt they are and how many bytes they have logged. */
export const ownResults: Invariant = {
  name: "a result is that of its own attempt",
  promise:
    "What is recorded for an attempt is what its handler returned, and by then its log is whole, or marked where it is not.",
  watch: (report, run) => ({
    before(fact) {
      if (fact.kind !== "commit") return;
      const { uid: executionUid, id } = fact.request.head;
      for (const { place, outputs } of successes(fact.events)) {
        const own = { attempt: place.attempt, key: idempotencyKey({ executionUid, ...place }) };
        const { attempt = own.attempt, key = own.key } = outputs;
        if (attempt === own.attempt && key === own.key) continue;
        const seen = `what attempt ${JSON.stringify(attempt)} of ${JSON.stringify(key)} returned`;
        const expected = `the result of attempt ${own.attempt} of ${own.key}`;
        report({ about: `execution ${id}, ${place.step}/${place.iteration}`, expected, seen, events: [fact.at] });
      }
    },
    end(_world, last) {
      for (const stored of last ? run.rest.executions : []) {
        const events = stored.commits.flatMap((commit) =>
          commit.events.map((text) => JSON.parse(text) as HistoryEvent),
        );
        for (const success of successes(events)) {
          const { logged } = success.outputs;
          const held = heldOf(stored, success.place);
          if (typeof logged !== "number" || held >= logged || isExcused(stored, success.place, run)) continue;
          const { step, iteration, attempt } = success.place;
          const about = `log of ${stored.head.id} ${step}/${iteration}#${attempt}`;
          report({
            about,
            expected: `${logged} bytes, or a mark for what is missing`,
            seen: `${held} bytes`,
            events: [],
          });
        }
      }
    },
  }),
};

function successes(events: readonly HistoryEvent[]): Succeeded[] {
  return events.flatMap((event) => {
    if (event.type !== "attemptEnded" || event.outcome.kind !== "succeeded") return [];
    const { step, iteration, attempt, outcome } = event;
    return [{ place: { step, iteration, attempt }, outputs: outcome.outputs }];
  });
}

/** What the store has forgotten, or what a worker process took with it to its grave, nobody can mark. */
function isExcused({ head }: StoredExecution, place: Succeeded["place"], { trace }: Run): boolean {
  const id = jobId({ namespace: head.namespace, executionId: head.id, ...place });
  const ranAt = trace.findIndex((event) => event.kind === "ran" && event.job.jobId === id);
  return trace.some((event, at) => {
    if (at < ranAt) return false;
    const ended = event.kind === "node" && (event.state === "crashed" || event.state === "stopped");
    return event.kind === "rolledBack" || (ended && /^(?:worker|pod)-/.test(event.node));
  });
}

/** How far the log of the attempt goes, marks included. */
function heldOf({ logs }: StoredExecution, place: Succeeded["place"]): number {
  const newest = logs.findLast(
    ({ step, iteration, attempt }) => step === place.step && iteration === place.iteration && attempt === place.attempt,
  );
  return newest === undefined ? 0 : newest.offset + newest.data.length;
}
