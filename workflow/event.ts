import type { ExecutionError, IterationState } from "./execution.ts";
import type { Json, JsonObject } from "./json.ts";
import type { JobFacts, Outcome } from "./job.ts";
import type { Start } from "./message.ts";

/**
 * The recorded facts of one execution, in order. History is these and nothing else: `fold(history)` is the state.
 * `atMs` is the store's wall clock. New kinds may be added; a kind's meaning never changes.
 */
export type HistoryEvent = { atMs: number } & (
  | { type: "executionStarted"; start: Start }
  | { type: "stepOpened"; step: string; items?: Json[] }
  | { type: "iterationQueued"; step: string; iteration: string; attempt: number }
  | { type: "attemptEnded"; step: string; iteration: string; attempt: number; outcome: Outcome; facts: JobFacts }
  | { type: "iterationBackoff"; step: string; iteration: string; untilMs: number }
  | {
      type: "iterationWaiting";
      step: string;
      iteration: string;
      on: { signal: string } | { untilMs: number } | { childId: string };
    }
  | { type: "iterationRerun"; step: string; iteration: string; next: string; reason: string }
  | {
      type: "iterationEnded";
      step: string;
      iteration: string;
      state: Extract<IterationState, "succeeded" | "failed" | "cancelled">;
      outputs?: Record<string, Json>;
      error?: ExecutionError & { class?: string; exitCode?: number };
    }
  | {
      type: "stepEnded";
      step: string;
      state: "succeeded" | "failed" | "skipped" | "cancelled";
      reason?: string;
      error?: ExecutionError;
    }
  | { type: "signalReceived"; id: string; name: string; payload: Json; by: string }
  | { type: "signalConsumed"; name: string; step: string; iteration: string }
  | { type: "paused"; id: string; by: string }
  | { type: "resumed"; id: string; by: string }
  | { type: "cancelRequested"; id: string; reason: string; by: string }
  | { type: "retried"; id: string; by: string; steps: string[] }
  /** The steps are done; `outcome` is what they came to. */
  | { type: "finallyStarted"; outcome: "succeeded" | "failed" | "cancelled"; error?: ExecutionError }
  | { type: "executionEnded"; state: "succeeded" | "failed" | "cancelled"; output?: JsonObject; error?: ExecutionError }
);

export type HistoryEventType = HistoryEvent["type"];
