import type { Execution } from "../../../workflow/execution.ts";
import type { Invariant } from "./invariant.ts";
import { executionOf, type World } from "./world.ts";

export const everythingEnds: Invariant = {
  name: "everything ends",
  promise: "After all faults have healed every execution that was started ends; none is lost and none waits for ever.",
  watch: (report, run) => ({
    end(world, last) {
      if (!last) return;
      const stored = new Map(run.rest.executions.map(({ head }) => [`${head.namespace}/${head.id}`, head]));
      for (const [key, { state, commits }] of world.executions) {
        const head = stored.get(key);
        if (head !== undefined && head.state !== "running") continue;
        const seen = head === undefined ? "the store does not hold it" : standing(state, world, key);
        report({ about: `execution ${key}`, expected: "to have ended", seen, events: commits.slice(-1) });
      }
      if (!run.healed) report({ about: "the cluster", expected: "to come to rest", seen: "it did not", events: [] });
    },
  }),
};

/** What it waits for, as far as can be told. */
function standing(state: Execution, world: World, key: string): string {
  const open = Object.entries(state.steps).flatMap(([id, step]) =>
    Object.entries(step.iterations)
      .filter(([, { state: at }]) => at === "queued" || at === "backoff" || at === "waiting")
      .map(([iteration, { state: at, attempt, childId }]) =>
        `${id}/${iteration}#${attempt} ${at} ${childId ?? ""}`.trim(),
      ),
  );
  const jobs = [...world.jobs.values()].filter(({ job }) => executionOf(job) === key);
  const held = jobs.map(
    ({ job, claim, outcome }) => `${job.id} ${claim?.worker ?? outcome?.outcome.kind ?? "in the queue"}`,
  );
  return `gate ${state.gate}, phase ${state.phase}; open: ${open.join(", ") || "nothing"}; jobs: ${held.join(", ") || "none"}`;
}
