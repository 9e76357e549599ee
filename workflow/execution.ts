import type { Json, JsonObject } from "./json.ts";
import type { Lock, Priority } from "./definition.ts";
import type { ErrorCode } from "./errors.ts";

/**
 * The state of one execution: a fold of its history, plain JSON, so that a snapshot is its serialisation. Only
 * `apply` (event.ts) changes it.
 */
export type Execution = {
  namespace: string;
  id: string;
  uid: string;
  workflow: string;
  version: string;
  digest: string;
  lock: Lock;
  labels: Record<string, string>;
  priority: Priority;
  input: Json;
  /** Digest of the start request as written; same id with another one is refused. */
  requestDigest: string;
  parent?: ParentRef;
  /** 0 for a root. */
  depth: number;
  /** The run number of the workflow (BUILD_NUMBER). */
  runNumber: number;
  state: ExecutionState;
  /** What the steps came to, known once `finally` begins. */
  outcome?: "succeeded" | "failed" | "cancelled";
  gate: Gate;
  phase: "steps" | "finally" | "done";
  steps: Record<string, StepRecord>;
  output?: JsonObject;
  error?: ExecutionError;
  cancelReason?: string;
  startedAtMs: number;
  endedAtMs?: number;
  /** Ids of messages already taken, oldest first, bounded by LIMITS.signalsRemembered. */
  seen: string[];
  /** Signals that came before a step waited for them, in order, by name. */
  signals: Record<string, Json[]>;
};

export type ExecutionState = "running" | "succeeded" | "failed" | "cancelled";
/** What claims respect: `paused` and `cancelled` stop queued jobs from being given out. */
export type Gate = "open" | "paused" | "cancelled";

export type ParentRef = { executionId: string; uid: string; step: string; iteration: string; depth: number };

export type ExecutionError = { code: ErrorCode; message: string; step?: string; iteration?: string };

export type StepState = "pending" | "open" | "succeeded" | "failed" | "skipped" | "cancelled";

export type StepRecord = {
  state: StepState;
  /** Set when forEach or matrix was expanded: one value per iteration, in order. */
  items?: Json[];
  /** By iteration key: "0", "1", …; a rerun of iteration 3 is "3.1". A plain step has "0". */
  iterations: Record<string, IterationRecord>;
  /** How many items have been opened (the window's right edge). */
  opened: number;
  /** Counts kept so that a 10,000-way step is not rescanned at each outcome. */
  ended: number;
  failed: number;
  error?: ExecutionError;
  startedAtMs?: number;
  endedAtMs?: number;
};

export type IterationState =
  | "queued" // a job is with the store or a worker
  | "backoff" // waits for its retry timer
  | "waiting" // for a signal, a timer or a child
  | "succeeded"
  | "failed"
  | "cancelled"
  /** Superseded by a rerun. */
  | "rerun";

export type IterationRecord = {
  state: IterationState;
  attempt: number;
  /** Attempts of the user's budget already spent; infrastructure losses beside. */
  failures: number;
  losses: number;
  outputs?: Record<string, Json>;
  error?: ExecutionError & { class?: string; exitCode?: number };
  worker?: string;
  childId?: string;
  queuedAtMs?: number;
  startedAtMs?: number;
  endedAtMs?: number;
};

/** How an execution is named to people: paused is a gate on a running one. */
export type DisplayState = ExecutionState | "paused" | "cancelling";

export function displayState(of: { state: ExecutionState; gate: Gate }): DisplayState {
  if (of.state !== "running" || of.gate === "open") return of.state;
  return of.gate === "paused" ? "paused" : "cancelling";
}
