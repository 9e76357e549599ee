import { defineConfig } from "vitest/config";

/** The tests of the core alone: what they let through is what the score tells. */
const CORE = [
  "transition",
  "transition.property",
  "outcome",
  "steering",
  "fan-out",
  "expand",
  "end-iteration",
  "workspace-lost",
  "signal",
  "child",
  "scope",
  "fold",
  "timer-id",
];

export default defineConfig({
  test: {
    include: CORE.map((name) => `workflow/${name}.test.ts`),
    setupFiles: ["./test/mutation/setup.ts"],
    isolate: false,
    testTimeout: 60_000,
  },
});
