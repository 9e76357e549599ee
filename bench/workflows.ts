import { seededRandom } from "../base/random.ts";
import { defineWorkflow, type Workflow } from "../cmd/package.ts";
import type { StepRef } from "../sdk/workflow.ts";
import { noop } from "./handlers.ts";

export const threeSteps = defineWorkflow({
  name: "bench-three-steps",
  version: "1.0.0",
  steps: ({ task }) => {
    const first = task("first", noop, { input: {} });
    const second = task("second", noop, { input: {}, needs: [first] });
    task("third", noop, { input: {}, needs: [second] });
  },
});

export const oneStep = defineWorkflow({
  name: "bench-one-step",
  version: "1.0.0",
  steps: ({ task }) => void task("only", noop, { input: {} }),
});

const ITEMS = {
  type: "object",
  required: ["items"],
  properties: { items: { type: "array", items: { type: "integer" } } },
} as const;

export const fanOut = defineWorkflow({
  name: "bench-fan-out",
  version: "1.0.0",
  input: ITEMS,
  steps: ({ task, input }) => void task("each", noop, { forEach: input.items, input: {} }),
});

/** One iteration at a time: every step is a turn of its own, so that what grows with the history is seen. */
export const oneByOne = defineWorkflow({
  name: "bench-one-by-one",
  version: "1.0.0",
  input: ITEMS,
  steps: ({ task, input }) => void task("each", noop, { forEach: input.items, maxParallel: 1, input: {} }),
});

export const itemsOf = (count: number): { items: number[] } => ({
  items: Array.from({ length: count }, (_, at) => at),
});

/** Each step needs up to three of the forty before it: wide enough for all slots, some fifty steps deep for 1,000. */
const NEEDS_MOST = 3;
const NEEDS_FROM = 40;

/** The same graph for the same seed. */
export function randomGraph(steps: number, seed: number): Workflow {
  const random = seededRandom(seed);
  return defineWorkflow({
    name: "bench-graph",
    version: `1.0.${steps}`,
    steps: ({ task }) => {
      const made: StepRef[] = [];
      for (let at = 0; at < steps; at += 1) {
        const near = made.slice(-NEEDS_FROM);
        const picked = Array.from({ length: NEEDS_MOST }, () => near[Math.floor(random.float() * near.length)]);
        const needs = [...new Set(picked)].filter((step) => step !== undefined);
        made.push(task(`step-${at}`, noop, { input: {}, ...(needs.length > 0 ? { needs } : {}) }));
      }
    },
  });
}
