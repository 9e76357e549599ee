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
  /** Set while everything that is open is being stopped; what the steps will have come to then. */
  stopping?: { outcome: "failed" | "cancelled"; error?: ExecutionError; atMs: number };
  phase: "steps" | "finally" | "done";
  /** A step that has not opened, nor ended, has no record: it is pending. */
  steps: Record<string, StepRecord>;
  /** By workspace name, once a job of it was queued. */
  workspaces: Record<string, WorkspaceRecord>;
  output?: JsonObject;
  error?: ExecutionError;
  cancelReason?: string;
  startedAtMs: number;
  /** When a retry last set it running again: its timeout counts from there. */
  retriedAtMs?: number;
  endedAtMs?: number;
  /** Ids of messages already taken, oldest first, bounded by LIMITS.signalsRemembered. */
  seen: string[];
  /** Signals that came before a step waited for them, in order, by name. */
  signals: Record<string, Json[]>;
};

export type ExecutionState = "running" | "succeeded" | "failed" | "cancelled";
/** What claims respect: `paused` and `cancelled` stop queued jobs from being given out. */
export type Gate = "open" | "paused" | "cancelled";

/** `depth` is the parent's own (0 for a root); its child's is one more. */
export type ParentRef = { executionId: string; uid: string; step: string; iteration: string; depth: number };

export type ExecutionError = { code: ErrorCode; message: string; step?: string; iteration?: string };

export type StepState = "pending" | "open" | "succeeded" | "failed" | "skipped" | "cancelled";

export type StepRecord = {
  state: StepState;
  /** Set when forEach or matrix was expanded: one value per iteration, in order. */
  items?: Json[];
  /** How often the step began anew in a fresh workspace: 0, and then 1 gives the keys "0.1", "1.1", …. */
  generation: number;
  /** By iteration key: "0", "1", …; a rerun of iteration 3 is "3.1". A plain step has "0". */
  iterations: Record<string, IterationRecord>;
  /** How many items have been opened (the window's right edge). */
  opened: number;
  /** Counts kept so that a 10,000-way step is not rescanned at each outcome; `ended` includes failed and cancelled. */
  open: number;
  ended: number;
  failed: number;
  cancelled: number;
  /** Attempts made before a retry of the execution reset the step, by iteration key: numbering goes on from there. */
  attemptsBefore?: Record<string, number>;
  /** The other iterations are being stopped because one failed (`failFast`). */
  stoppingAtMs?: number;
  /** Why it was skipped or cancelled. */
  reason?: string;
  error?: IterationError;
  startedAtMs?: number;
  endedAtMs?: number;
};

/** One folder on one worker. */
export type WorkspaceRecord = {
  /** Counts up when the worker is lost: jobs then ask for a fresh folder, under another key. */
  generation: number;
  /** How often that happened since the start or the newest retry of the execution: bounded. */
  losses: number;
  /** Some iteration has succeeded in it, so its loss cannot be hidden. */
  used: boolean;
  /** Gone for good: steps that still want it fail with WORKSPACE_LOST. */
  lost: boolean;
};

export type IterationError = ExecutionError & { class?: string; exitCode?: number };

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
  error?: IterationError;
  worker?: string;
  childId?: string;
  /** What its newest job asked for. */
  workspace?: { name: string; generation: number };
  /** The end of a sleep or of a wait between attempts. */
  untilMs?: number;
  openedAtMs: number;
  queuedAtMs?: number;
  startedAtMs?: number;
  endedAtMs?: number;
};

/** How an execution is named to people: paused is a gate on a running one. */
export const DISPLAY_STATES = ["running", "paused", "cancelling", "succeeded", "failed", "cancelled"] as const;
export type DisplayState = (typeof DISPLAY_STATES)[number];

export function displayState(of: { state: ExecutionState; gate: Gate }): DisplayState {
  if (of.state !== "running" || of.gate === "open") return of.state;
  return of.gate === "paused" ? "paused" : "cancelling";
}

/**
 * The record of that name. Names come from people: a step called `constructor` must not be found on the prototype, and a
 * snapshot has one.
 */
export function own<T>(records: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(records, name) ? records[name] : undefined;
}

/** The same, made when there is none. */
export function ownOr<T>(records: Record<string, T>, name: string, make: () => T): T {
  const known = own(records, name);
  if (known !== undefined) return known;
  const made = make();
  records[name] = made;
  return made;
}
