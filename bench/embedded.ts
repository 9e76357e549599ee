import { coldStart } from "./cold-start.ts";
import { wideFanOut } from "./fan-out.ts";
import { finished } from "./finished.ts";
import { graph } from "./graph.ts";
import { growingHistory } from "./growing-history.ts";
import { oneStepAlone } from "./latency.ts";
import type { Bench } from "./measure.ts";
import { forEach, threeStep } from "./throughput.ts";

/** One per row of the table in docs/performance.md. */
export const EMBEDDED: Readonly<Record<string, Bench>> = {
  "three-step": threeStep,
  "one-step": oneStepAlone,
  "for-each": forEach,
  "fan-out": wideFanOut,
  graph,
  history: growingHistory,
  "cold-start": coldStart,
  finished,
};
