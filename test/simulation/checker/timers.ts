import { own } from "../../../workflow/execution.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report } from "./invariant.ts";
import { keyOf, type Known } from "./world.ts";

export const timersOnTime: Invariant = {
  name: "timers fire once and never early",
  promise: "A timer takes effect once, and never before its time by the store's clock.",
  watch: (report) => ({
    before(fact, world) {
      if (fact.kind !== "commit") return;
      const known = world.executions.get(keyOf(fact.request));
      for (const id of fact.request.fire) {
        const atMs = known?.timers.get(id);
        const about = `execution ${fact.request.id}, timer ${id}`;
        if (atMs === undefined) {
          report({
            about,
            expected: "to be set when it fires",
            seen: "it was not: it fired twice, or was cleared",
            events: [fact.at],
          });
        } else if (atMs > fact.nowMs) {
          report({
            about,
            expected: `to fire at ${atMs}`,
            seen: `it fired ${atMs - fact.nowMs} ms early`,
            events: [fact.at],
          });
        }
      }
      if (known !== undefined) checkWaits(fact, known, report);
    },
  }),
};

/** What history says: an iteration that had to wait goes on when its time has come, whichever timer told. */
function checkWaits(fact: FactOf<"commit">, { state, definition }: Known, report: Report): void {
  const looked = new Set<string>();
  for (const event of fact.events) {
    if (!("iteration" in event)) continue;
    const place = `${event.step}/${event.iteration}`;
    if (looked.has(place)) continue;
    looked.add(place);
    const iteration = own(state.steps, event.step)?.iterations[event.iteration];
    const untilMs = iteration?.untilMs;
    if (untilMs === undefined || untilMs <= fact.nowMs) continue;
    const step = definition?.steps[event.step] ?? definition?.finally[event.step];
    const slept = step?.kind === "sleep" && event.type === "iterationEnded" && event.state === "succeeded";
    const retried =
      iteration?.state === "backoff" && (event.type === "iterationQueued" || event.type === "iterationWaiting");
    if (!slept && !retried) continue;
    const seen = `${event.type} ${untilMs - fact.nowMs} ms before`;
    report({
      about: `execution ${fact.request.id}, ${place}`,
      expected: `to wait until ${untilMs}`,
      seen,
      events: [fact.at],
    });
  }
}
