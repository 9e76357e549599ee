import type { Definition, Lock } from "./definition.ts";
import type { ExecutionError, ParentRef } from "./execution.ts";
import type { Json, JsonObject } from "./json.ts";
import type { Job, JobFacts, Outcome } from "./job.ts";
import type { HistoryEvent } from "./event.ts";

/**
 * Everything that can happen to an execution. `transition(compiled, execution, message, context)` answers with what to
 * record and what to do. `id` makes a message idempotent: a second delivery of the same id changes nothing.
 */
export type Message =
  | { kind: "start"; start: Start }
  | { kind: "outcome"; step: string; iteration: string; attempt: number; outcome: Outcome; facts: JobFacts }
  /** `reason`: of a queue timer, why no worker could serve the job, in words; the step then fails with NO_MATCHING_WORKER. */
  | { kind: "timer"; timer: string; reason?: string }
  | { kind: "signal"; id: string; name: string; payload: Json; by: string }
  | { kind: "cancel"; id: string; reason: string; by: string }
  | { kind: "pause"; id: string; by: string }
  | { kind: "resume"; id: string; by: string }
  /** Only on a failed or cancelled execution: the named steps (default: all that failed) and what depends on them run again. */
  | { kind: "retry"; id: string; by: string; steps: string[] }
  | {
      kind: "childEnded";
      step: string;
      iteration: string;
      childId: string;
      state: "succeeded" | "failed" | "cancelled";
      output?: JsonObject;
      error?: ExecutionError;
    }
  /** The start of a child was refused for good (unknown version, bad input, depth, tree size). */
  | { kind: "childRefused"; step: string; iteration: string; childId: string; error: ExecutionError }
  /** More iterations or jobs wait than one commit holds: go on. */
  | { kind: "continue" };

export type Start = {
  namespace: string;
  id: string;
  uid: string;
  definition: Pick<Definition, "name" | "version"> & { digest: string };
  lock: Lock;
  input: Json;
  labels: Record<string, string>;
  priority?: Definition["priority"];
  requestDigest: string;
  parent?: ParentRef;
  runNumber: number;
};

/** What the shell lends to the pure core for one message. */
export type TransitionContext = {
  /** The store's wall clock, ms. */
  nowMs: number;
  /** A float in [0, 1), for jitter. */
  random: number;
  /** Shard of this execution. */
  shard: number;
};

/** What to record and what to do about it, all in one commit. Empty when the message changes nothing. */
export type Transition = {
  events: HistoryEvent[];
  enqueue: Job[];
  /** By job id. Queued ones leave the queue; running ones are told to stop. */
  cancel: string[];
  /** Those of `cancel` whose result must not be taken any more, whatever their state (timeouts, losses, a grace that is over). */
  revoke?: string[];
  timers: Timer[];
  clearTimers: string[];
  outbox: OutboxMessage[];
  /** Keys of workspaces that no step needs any more. */
  releaseWorkspaces: string[];
  /** True when work was left for a `continue` message. */
  more: boolean;
};

/** Durable; `id` is unique within the execution, setting it again moves it. */
export type Timer = { id: string; atMs: number };

/** To another execution, at least once, in order per (source, target); `seq` counts from 1 within the source. */
export type OutboxMessage =
  | {
      kind: "startChild";
      target: string;
      step: string;
      iteration: string;
      workflow: string;
      version: string;
      digest: string;
      input: Json;
      parent: ParentRef;
    }
  | { kind: "cancelChild"; target: string; step: string; iteration: string; reason: string }
  | {
      kind: "childEnded";
      target: string;
      step: string;
      iteration: string;
      childId: string;
      parentUid: string;
      state: "succeeded" | "failed" | "cancelled";
      output?: JsonObject;
      error?: ExecutionError;
    };
