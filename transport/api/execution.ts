import type { DisplayState, ParentRef } from "../../workflow/execution.ts";
import type { ServerStream, TwoWay, Unary } from "../transport.ts";

/** Start and steer executions, read what they did. JSON values travel as text (`…Json`). */
export type ExecutionApi = {
  /** The client makes the id, so a retry is safe: same id and same request → the same execution; other request → ALREADY_EXISTS. */
  start: Unary<StartRequest, StartResponse>;
  get: Unary<{ id: string }, ExecutionView>;
  list: Unary<ListExecutionsRequest, { executions: ExecutionSummary[]; nextPage?: string }>;
  /** Answers when the execution has ended, or DEADLINE_EXCEEDED with the call's deadline. */
  wait: Unary<{ id: string }, ExecutionView>;
  cancel: Unary<{ id: string; reason: string; messageId: string }, Acknowledged>;
  signal: Unary<{ id: string; name: string; payloadJson: string; messageId: string }, Acknowledged>;
  pause: Unary<{ id: string; messageId: string }, Acknowledged>;
  resume: Unary<{ id: string; messageId: string }, Acknowledged>;
  /** Runs the named steps (default: those that failed or were cancelled) and their dependents again. */
  retry: Unary<{ id: string; steps: string[]; messageId: string }, Acknowledged>;
  history: Unary<{ id: string; afterRevision: number; limit: number }, HistoryResponse>;
  /** The recorded events from `afterRevision` on, then as they are committed, until the execution ends. */
  watch: ServerStream<{ id: string; afterRevision: number }, HistoryEntry>;
  /** With follow: until the execution ends. */
  logs: ServerStream<LogsRequest, LogsResponse>;
  /** Many starts over one stream; each is answered when started and, if `wait`, when ended. */
  run: TwoWay<RunRequest, RunResponse>;
};

export type Acknowledged = { revision: number };

export type StartRequest = {
  id: string;
  workflow: string;
  /** Exact version, range, channel, or empty for the default (channel `stable`, else the highest version). */
  range: string;
  inputJson: string;
  labels: Record<string, string>;
  priority?: "low" | "normal" | "high";
};

export type StartResponse = {
  id: string;
  uid: string;
  workflow: string;
  version: string;
  digest: string;
  created: boolean;
};

export type ListExecutionsRequest = {
  states: DisplayState[];
  workflow?: string;
  labels: Record<string, string>;
  startedAfterMs?: number;
  startedBeforeMs?: number;
  parent?: string;
  limit: number;
  page?: string;
};

export type ExecutionSummary = {
  id: string;
  uid: string;
  workflow: string;
  version: string;
  state: DisplayState;
  labels: Record<string, string>;
  parent?: ParentRef;
  shard: number;
  revision: number;
  startedAtMs: number;
  endedAtMs?: number;
};

export type ExecutionView = ExecutionSummary & {
  digest: string;
  inputJson: string;
  outputJson?: string;
  error?: ErrorView;
  /** The engine that owns its shard now. */
  engine?: string;
  steps: StepView[];
};

export type ErrorView = { code: string; message: string; step?: string; iteration?: string };

/** One step iteration, or one step that has none yet. */
export type StepView = {
  id: string;
  iteration: string;
  kind: "run" | "task" | "workflow" | "wait" | "sleep";
  state: "pending" | "queued" | "running" | "backoff" | "waiting" | "succeeded" | "failed" | "skipped" | "cancelled";
  needs: string[];
  inFinally: boolean;
  attempts: number;
  worker?: string;
  childId?: string;
  queuedAtMs?: number;
  startedAtMs?: number;
  endedAtMs?: number;
  outputsJson?: string;
  error?: ErrorView;
  exitCode?: number;
  /** Why it is not running, when it is queued. */
  reason?: string;
};

export type HistoryResponse = { entries: HistoryEntry[]; more: boolean };
/** `eventJson` is one HistoryEvent (workflow/event.ts). */
export type HistoryEntry = { revision: number; eventJson: string };

export type LogsRequest = { id: string; step?: string; follow: boolean; after?: string };
export type LogsResponse = {
  step: string;
  iteration: string;
  attempt: number;
  offset: number;
  data: Uint8Array;
  dropped: number;
  atMs: number;
  cursor: string;
};

/**
 * `brief`: of a success the output will do; its steps are left out, and its input is empty. `started` comes only when the end
 * takes longer than 100 ms.
 */
export type RunRequest = { requestId: number; start: StartRequest; wait: boolean; brief?: boolean };
export type RunResponse = { requestId: number } & (
  | { kind: "started"; started: StartResponse }
  | { kind: "ended"; ended: ExecutionView }
  | { kind: "error"; error: { code: string; message: string } }
);
