import type { Definition, StepKind } from "./definition.ts";
import { own, type Execution, type IterationRecord, type IterationState, type StepRecord } from "./execution.ts";
import { graphOf, type StepNode } from "./graph.ts";
import { jobId } from "./job.ts";

/** What is known of a job that is under way, apart from what the history holds. */
export type OpenJob = {
  jobId: string;
  state: "queued" | "claimed";
  worker?: string;
  startedAtMs?: number;
  /** Why no worker has it, in words. */
  reason?: string;
};

/**
 * One step iteration, or one step that has none (then `iteration` is ""). What `get` and `describe` show; shaped as the
 * API's own view of a step.
 */
export type StepRow = {
  id: string;
  iteration: string;
  kind: StepKind;
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
  error?: { code: string; message: string; step?: string; iteration?: string };
  exitCode?: number;
  reason?: string;
};

/** In the order of the definition, `finally` last; iterations in theirs. Those that a rerun superseded are left out. */
export function stepViews(definition: Definition, execution: Execution, openJobs: Iterable<OpenJob> = []): StepRow[] {
  const graph = graphOf(definition);
  const jobs = new Map<string, OpenJob>();
  for (const job of openJobs) jobs.set(job.jobId, job);
  return [...graph.steps, ...graph.finally].flatMap((node) => rowsOf(node, execution, jobs));
}

function rowsOf(node: StepNode, execution: Execution, jobs: ReadonlyMap<string, OpenJob>): StepRow[] {
  const record = own(execution.steps, node.step.id);
  const rows = Object.entries(record?.iterations ?? {}).flatMap(([key, iteration]) =>
    iteration.state === "rerun" ? [] : [iterationRow(node, execution, key, iteration, jobs)],
  );
  return rows.length > 0 ? rows : [stepRow(node, record)];
}

function stepRow(node: StepNode, record: StepRecord | undefined): StepRow {
  const { step, inFinally } = node;
  const state = record === undefined || record.state === "open" ? "pending" : record.state;
  const row: StepRow = {
    id: step.id,
    iteration: "",
    kind: step.kind,
    state,
    needs: step.needs,
    inFinally,
    attempts: 0,
  };
  if (record?.startedAtMs !== undefined) row.startedAtMs = record.startedAtMs;
  if (record?.endedAtMs !== undefined) row.endedAtMs = record.endedAtMs;
  if (record?.error !== undefined) row.error = errorRow(record.error);
  if (record?.reason !== undefined) row.reason = record.reason;
  return row;
}

function iterationRow(
  node: StepNode,
  execution: Execution,
  key: string,
  iteration: IterationRecord,
  jobs: ReadonlyMap<string, OpenJob>,
): StepRow {
  const { step, inFinally } = node;
  const { attempt, worker, childId, queuedAtMs, startedAtMs, endedAtMs, outputs, error, untilMs } = iteration;
  const state = displayed(iteration.state);
  const row: StepRow = {
    id: step.id,
    iteration: key,
    kind: step.kind,
    state,
    needs: step.needs,
    inFinally,
    attempts: attempt,
  };
  if (worker !== undefined) row.worker = worker;
  if (childId !== undefined) row.childId = childId;
  if (queuedAtMs !== undefined) row.queuedAtMs = queuedAtMs;
  // No queue stands before what no worker runs. A worker's clock may be ahead of the store's.
  const byWorker = step.kind === "run" || step.kind === "task";
  const began = byWorker ? startedAtMs : (startedAtMs ?? queuedAtMs);
  if (began !== undefined) row.startedAtMs = Math.min(began, endedAtMs ?? began);
  if (endedAtMs !== undefined) row.endedAtMs = endedAtMs;
  if (outputs !== undefined) row.outputsJson = JSON.stringify(outputs);
  if (error !== undefined) row.error = errorRow(error);
  if (error?.exitCode !== undefined) row.exitCode = error.exitCode;
  if (state === "waiting" || state === "backoff") row.reason = waitReason(node, untilMs, childId);
  if (state !== "queued") return row;
  const { namespace, id: executionId } = execution;
  const job = jobs.get(jobId({ namespace, executionId, step: step.id, iteration: key, attempt }));
  return job === undefined ? row : withJob(row, job);
}

function displayed(state: IterationState): StepRow["state"] {
  // A superseded one has no row.
  return state === "rerun" ? "cancelled" : state;
}

function withJob(row: StepRow, job: OpenJob): StepRow {
  if (job.state === "claimed") row.state = "running";
  if (job.worker !== undefined) row.worker = job.worker;
  if (job.startedAtMs !== undefined) row.startedAtMs = job.startedAtMs;
  if (job.reason !== undefined) row.reason = job.reason;
  return row;
}

function waitReason(node: StepNode, untilMs: number | undefined, childId: string | undefined): string {
  if (untilMs !== undefined) return `until ${new Date(untilMs).toISOString()}`;
  if (node.step.kind === "wait") return `for signal ${node.step.signal}`;
  return `for ${childId ?? "its sub-workflow"}`;
}

function errorRow(error: { code: string; message: string; step?: string; iteration?: string }): StepRow["error"] {
  const { code, message, step, iteration } = error;
  return {
    code,
    message,
    ...(step === undefined ? {} : { step }),
    ...(iteration === undefined ? {} : { iteration }),
  };
}
