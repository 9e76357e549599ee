import { defineWorkflow } from "../sdk/workflow.ts";
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

export const fanOut = defineWorkflow({
  name: "bench-fan-out",
  version: "1.0.0",
  input: {
    type: "object",
    required: ["items"],
    properties: { items: { type: "array", items: { type: "integer" } } },
  },
  steps: ({ task, input }) => void task("each", noop, { forEach: input.items, input: {} }),
});
