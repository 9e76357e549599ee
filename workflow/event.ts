import type { ExecutionError, IterationError, IterationState } from "./execution.ts";
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
  | {
      type: "iterationQueued";
      step: string;
      iteration: string;
      attempt: number;
      workspace?: { name: string; generation: number };
    }
  /** The outputs of a job stand here, once: its `iterationEnded` has none. */
  | { type: "attemptEnded"; step: string; iteration: string; attempt: number; outcome: Outcome; facts: JobFacts }
  | { type: "iterationBackoff"; step: string; iteration: string; untilMs: number }
  | {
      type: "iterationWaiting";
      step: string;
      iteration: string;
      /** Of a child: from 1, as for jobs. */
      attempt?: number;
      on: { signal: string } | { untilMs: number } | { childId: string };
    }
  /** A failed iteration stops the others (`failFast`). */
  | { type: "stepStopping"; step: string; reason: string }
  /** The worker of a workspace is gone. `retry`: its open jobs start again in a fresh folder; `rerun`: so do `steps`, from
   * their first iteration under new keys; `fail`: the folder cannot be had again. */
  | {
      type: "workspaceLost";
      workspace: string;
      remedy: "retry" | "rerun" | "fail";
      steps: string[];
      reason: string;
      spends?: false;
    }
  | {
      type: "iterationEnded";
      step: string;
      iteration: string;
      state: Extract<IterationState, "succeeded" | "failed" | "cancelled">;
      outputs?: Record<string, Json>;
      error?: IterationError;
    }
  | {
      type: "stepEnded";
      step: string;
      state: "succeeded" | "failed" | "skipped" | "cancelled";
      reason?: string;
      error?: IterationError;
    }
  | { type: "signalReceived"; id: string; name: string; payload: Json; by: string }
  | { type: "signalConsumed"; name: string; step: string; iteration: string }
  | { type: "paused"; id: string; by: string }
  | { type: "resumed"; id: string; by: string }
  | { type: "cancelRequested"; id: string; reason: string; by: string }
  /** The execution's own timeout is over: everything stops as with a cancel, but it will have failed. */
  | { type: "executionTimedOut"; error: ExecutionError }
  /** `steps` begin anew, those of `finally` among them; of those in `keep` the succeeded iterations stay. */
  | { type: "retried"; id: string; by: string; steps: string[]; keep: string[]; workspaces: string[] }
  /** The steps are done; `outcome` is what they came to. */
  | { type: "finallyStarted"; outcome: "succeeded" | "failed" | "cancelled"; error?: ExecutionError }
  | { type: "executionEnded"; state: "succeeded" | "failed" | "cancelled"; output?: JsonObject; error?: ExecutionError }
);

export type HistoryEventType = HistoryEvent["type"];
