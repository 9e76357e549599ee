import type { HistoryEvent } from "../../../workflow/event.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report } from "./invariant.ts";
import { keyOf } from "./world.ts";

/** What has ended of one execution, and where it did. */
type Ended = {
  execution: number | undefined;
  /** By step. */
  steps: Map<string, number>;
  /** By step, then by iteration: the state is what a retry goes by. */
  iterations: Map<string, Map<string, { at: number; state: string }>>;
};

export const oneEnd: Invariant = {
  name: "an end is one, and stands",
  promise:
    "An execution, a step and an iteration end once; nothing comes of them afterwards, unless somebody asks for a retry.",
  watch(report) {
    const executions = new Map<string, Ended>();
    return {
      before(fact) {
        if (fact.kind !== "commit") return;
        const key = keyOf(fact.request);
        const ended = executions.get(key) ?? { execution: undefined, steps: new Map(), iterations: new Map() };
        executions.set(key, ended);
        for (const event of fact.events) follow(ended, event, fact, report);
      },
      end(world) {
        for (const [key, { state }] of world.executions) {
          if (state.phase !== "done") continue;
          const open = Object.entries(state.steps).filter(([, step]) => step.open > 0 || step.endedAtMs === undefined);
          if (open.length === 0) continue;
          const seen = open.map(([id, step]) => `${id} is ${step.state} with ${step.open} open`).join(", ");
          const at = executions.get(key)?.execution;
          report({
            about: `execution ${key}`,
            expected: "no open step after its end",
            seen,
            events: at === undefined ? [] : [at],
          });
        }
      },
    };
  },
};

function follow(ended: Ended, event: HistoryEvent, fact: FactOf<"commit">, report: Report): void {
  const about = `execution ${fact.request.id}`;
  const complain = (what: string, since: number): void =>
    report({ about, expected: `nothing more of ${what} after its end`, seen: event.type, events: [since, fact.at] });
  if (event.type === "retried") return reset(ended, event);
  if (ended.execution !== undefined) complain("the execution", ended.execution);
  if (event.type === "executionEnded") ended.execution = fact.at;
  if (event.type === "workspaceLost" && event.remedy === "rerun") {
    for (const step of event.steps) ended.steps.delete(step);
  }
  if (!("step" in event)) return;
  // A signal that came too late for the iteration is still taken off the list.
  const stepEnd = ended.steps.get(event.step);
  if (stepEnd !== undefined) complain(`step ${event.step}`, stepEnd);
  if (event.type === "stepEnded") ended.steps.set(event.step, fact.at);
  if (!("iteration" in event)) return;
  const iterations = ended.iterations.get(event.step) ?? new Map<string, { at: number; state: string }>();
  ended.iterations.set(event.step, iterations);
  const before = iterations.get(event.iteration);
  if (before !== undefined) complain(`${event.step}/${event.iteration}`, before.at);
  if (event.type === "iterationEnded") iterations.set(event.iteration, { at: fact.at, state: event.state });
}

function reset(ended: Ended, event: Extract<HistoryEvent, { type: "retried" }>): void {
  ended.execution = undefined;
  for (const step of event.steps) {
    ended.steps.delete(step);
    for (const [key, { state }] of ended.iterations.get(step) ?? []) {
      if (!event.keep.includes(step) || state !== "succeeded") ended.iterations.get(step)?.delete(key);
    }
  }
}
