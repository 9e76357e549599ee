import type { Job } from "../../workflow/job.ts";
import { closeJob } from "./outcomes.ts";
import { classKey, leave } from "./queue.ts";
import { noteRevoked } from "./sessions.ts";
import { executionKey, executionOf, type OpenExecution, type OpenJob, type State } from "./state.ts";
import { place, release } from "./workspaces.ts";

export function enqueue(state: State, execution: OpenExecution, job: Job, nowMs: number): OpenJob {
  const row = { job, classKey: classKey(job), order: state.order++, enqueuedAtMs: nowMs };
  // An object of its own: the row's text must not change with claims.
  const entry: OpenJob = { ...row };
  state.jobs.set(job.id, entry);
  execution.jobs.add(job.id);
  state.journal.put("jobs", job.id, row);
  place(state, entry);
  return entry;
}

/** A waiting job goes; a claimed one is asked to stop, and stays until its outcome is folded. */
export function cancelJob(state: State, execution: string, jobId: string): void {
  const entry = state.jobs.get(jobId);
  if (entry === undefined || executionOf(entry.job) !== execution) return;
  if (entry.claim === undefined) {
    closeJob(state, entry);
    return;
  }
  if (entry.claim.cancelling === true) return;
  // The same claim, told to stop: not `setClaim`, which would count it anew.
  entry.claim = { ...entry.claim, cancelling: true };
  state.journal.put("claims", jobId, entry.claim);
  tellToStop(state, entry);
}

/** Gone whatever its state; the holder's worker is stopped and its result will be STALE. */
export function revokeJob(state: State, execution: string, jobId: string): void {
  const entry = state.jobs.get(jobId);
  if (entry === undefined || executionOf(entry.job) !== execution) return;
  if (entry.claim !== undefined) {
    noteRevoked(state, entry.claim.session, jobId, entry.claim.token);
    tellToStop(state, entry);
  }
  closeJob(state, entry);
}

export function tellToStop(state: State, { job, claim }: OpenJob): void {
  if (claim === undefined) return;
  const { session, token, worker } = claim;
  state.hints.give({ kind: "session", session }, { kind: "cancel", jobId: job.id, token, worker });
}

/** The execution has ended: nothing of it runs, waits or is held any more. */
export function closeAll(state: State, execution: OpenExecution): void {
  const key = executionKey(execution.row.head);
  for (const jobId of execution.jobs) revokeJob(state, key, jobId);
  for (const workspace of execution.workspaces) release(state, workspace);
  for (const timer of execution.timers.keys()) state.journal.remove("timers", `${key}/${timer}`);
  execution.timers.clear();
}

/** Waiting jobs stand in no line while the gate is shut. Answers those that stand in line again. */
export function gateChanged(state: State, execution: OpenExecution): OpenJob[] {
  const { head } = execution.row;
  const waiting = [...execution.jobs]
    .map((jobId) => state.jobs.get(jobId))
    .filter((entry) => entry !== undefined && entry.claim === undefined && entry.outcome === undefined)
    .filter((entry) => entry !== undefined);
  if (head.state === "running" && head.gate === "open") {
    for (const entry of waiting) if (entry.place === undefined) place(state, entry);
    return waiting;
  }
  for (const entry of waiting) leave(state, entry);
  return [];
}
