import { defineConfig } from "vitest/config";

const NEVER = ["**/node_modules/**", "dist/**"];
/** Tests of functions and objects alone: no socket, no child, no file that another would meet. */
const PURE = ["{base,workflow,sdk}/**/*.test.ts", "engine/scheduler/**/*.test.ts", "orchestrator/**/*.test.ts"];
/** Whole programs as child processes, and simulated lives of a cluster; `npm run check` leaves them to `npm test`. */
const WHOLE = ["test/e2e/**/*.test.ts", "test/simulation/**/*.test.ts", "test/scenarios/**/*.test.ts"];

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
    setupFiles: ["./test/property-seed.ts"],
    projects: [
      // One module graph for all files of a worker: importing it anew for each was a third of their CPU (15.1 s → 10.6 s).
      { extends: true, test: { name: "pure", include: PURE, exclude: NEVER, isolate: false } },
      { extends: true, test: { name: "parts", include: ["**/*.test.ts"], exclude: [...NEVER, ...PURE, ...WHOLE] } },
      { extends: true, test: { name: "whole", include: WHOLE, exclude: NEVER } },
    ],
  },
});
