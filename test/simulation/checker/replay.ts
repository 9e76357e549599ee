import { isDeepStrictEqual } from "node:util";
import type { HistoryEvent } from "../../../workflow/event.ts";
import type { Execution } from "../../../workflow/execution.ts";
import { fold } from "../../../workflow/fold.ts";
import type { Invariant } from "./invariant.ts";
import { keyOf, type Known } from "./world.ts";

const HEAD = ["id", "uid", "workflow", "version", "digest", "state", "gate", "startedAtMs", "endedAtMs"] as const;

export const historyIsTheState: Invariant = {
  name: "the history is the state",
  promise: "What an execution is can be read from its history alone: its head and its snapshots say nothing else.",
  watch: (report, run) => ({
    after(fact, world) {
      if (fact.kind !== "commit") return;
      const { request } = fact;
      const known = world.executions.get(keyOf(request));
      const about = `execution ${request.id}`;
      if (known === undefined) {
        const seen = `${request.events.length} events, the first of them no start`;
        return report({ about, expected: "a history that begins with the start", seen, events: [fact.at] });
      }
      if (known.broken !== undefined) {
        return report({ about, expected: "a history that folds", seen: known.broken, events: [fact.at] });
      }
      for (const field of HEAD) {
        if (request.head[field] === known.state[field]) continue;
        const expected = `${field} ${String(known.state[field])}, as its history says`;
        report({ about, expected, seen: `the head says ${String(request.head[field])}`, events: [fact.at] });
      }
      if (request.snapshot !== undefined && !same(request.snapshot, known.state)) {
        const seen = differenceOf(JSON.parse(request.snapshot) as Execution, known);
        report({ about, expected: "a snapshot that is the fold of its history", seen, events: [fact.at] });
      }
    },
    end(world, last) {
      for (const stored of last ? run.rest.executions : []) {
        const known = world.executions.get(keyOf(stored.head));
        const { snapshot, commits } = stored;
        if (known === undefined || known.broken !== undefined || snapshot === undefined) continue;
        const later = commits.filter(({ revision }) => revision > snapshot.revision).flatMap(({ events }) => events);
        const from = JSON.parse(snapshot.text) as Execution;
        const state = fold(
          later.map((text) => JSON.parse(text) as HistoryEvent),
          from,
        );
        if (same(JSON.stringify(state), known.state)) continue;
        report({
          about: `execution ${stored.head.id}`,
          expected: "snapshot and later events to give what the whole history gives",
          seen: differenceOf(state, known),
          events: known.commits.slice(-1),
        });
      }
    },
  }),
};

function same(text: string, state: Execution): boolean {
  const own = JSON.stringify(state);
  return own === text || isDeepStrictEqual(JSON.parse(own), JSON.parse(text));
}

function differenceOf(seen: Execution, { state }: Known): string {
  const fields = Object.keys(state) as (keyof Execution)[];
  const plain = (value: unknown): string => JSON.stringify(value) ?? "nothing";
  const field = fields.find((name) => !isDeepStrictEqual(plain(seen[name]), plain(state[name])));
  if (field === undefined) return "fields that the history does not give";
  return `${field} is ${plain(seen[field]).slice(0, 300)}, by the history ${plain(state[field]).slice(0, 300)}`;
}
