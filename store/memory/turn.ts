import { HodeiError } from "../../workflow/errors.ts";
import { LIMITS } from "../../workflow/limits.ts";
import type { InboxOutcome, TurnAnswer, TurnRequest } from "../store.ts";
import { claimFor, givenAgain, givenOf } from "./claim.ts";
import { closeExecution, findExecution, openExecution, saveHead } from "./executions.ts";
import { cancelJob, closeAll, enqueue, gateChanged, revokeJob } from "./jobs.ts";
import { recall, remember } from "./operations.ts";
import { closeJob } from "./outcomes.ts";
import { wakeFor } from "./parking.ts";
import type { SettledToken } from "./rows.ts";
import { FENCED, holds, judge, liveSession } from "./sessions.ts";
import { executionKey, executionOf, type OpenExecution, type OpenJob, type State } from "./state.ts";
import { noteUse, release } from "./workspaces.ts";

/** Every check first; from the first write on nothing can refuse any more. */
export function turn(state: State, request: TurnRequest): TurnAnswer {
  const nowMs = judge(state);
  const session = liveSession(state, request.fence.session);
  if (session === undefined || !holds(state, request.fence)) return FENCED;
  const first = recall(state, request.opId, "turn");
  if (first !== undefined) {
    const { revision, given } = first;
    return { status: "DUPLICATE", revision, nowMs, assignments: givenAgain(state, given) };
  }
  validate(request);
  const refused = check(state, request, nowMs);
  if (refused !== undefined) return refused;

  const execution = openExecution(state, request);
  const settled = fold(state, request);
  const revision = request.expectedRevision + 1;
  const gateBefore = execution.row.head.gate;
  record(state, execution, request, revision);
  const added = apply(state, execution, request, nowMs);
  if (gateBefore !== request.head.gate) added.push(...gateChanged(state, execution));
  closeExecution(state, execution);

  const assignments = claimFor(state, session, request.claimFor, nowMs);
  for (const entry of added) wakeFor(state, entry);
  remember(state, request.opId, { kind: "turn", revision, given: givenOf(assignments) }, settled);
  const { namespace, id } = request;
  state.hints.give({ kind: "execution", namespace, id }, { kind: "changed" });
  if (request.head.state !== "running") state.hints.give({ kind: "end", namespace, id }, { kind: "changed" });
  return { status: "OK", revision, nowMs, assignments };
}

/** What no caller may ask for, whatever the state. */
function validate(request: TurnRequest): void {
  const { fence, head, namespace, id } = request;
  const wrong = (field: string, message: string): never => {
    throw new HodeiError("INVALID_ARGUMENT", message, { field });
  };
  if (head.namespace !== namespace || head.id !== id) wrong("head", "the head is of another execution");
  if (head.shard !== fence.shard) wrong("head.shard", `the execution is of shard ${head.shard}, not ${fence.shard}`);
  for (const job of request.enqueue) {
    if (job.shard !== fence.shard || executionOf(job) !== executionKey(request)) {
      wrong("enqueue", `job ${job.id} is not of execution ${executionKey(request)} in shard ${fence.shard}`);
    }
  }
  const entries = Math.max(request.enqueue.length, request.outbox.length);
  if (entries > LIMITS.commitEntries) {
    const message = `${entries} jobs or messages in one commit; at most ${LIMITS.commitEntries}`;
    throw new HodeiError("TOO_LARGE", message, { field: request.enqueue.length === entries ? "enqueue" : "outbox" });
  }
}

function check(state: State, request: TurnRequest, nowMs: number): TurnAnswer | undefined {
  const found = findExecution(state, executionKey(request));
  const revision = found?.head.revision ?? 0;
  const conflict: TurnAnswer = { status: "CONFLICT", revision, outcomes: [] };
  if (revision !== request.expectedRevision) return conflict;

  const taken = new Set(request.take);
  for (const entry of taken) {
    const outcome = state.inbox.get(entry)?.outcome;
    if (outcome === undefined || executionOf(outcome.job) !== executionKey(request)) return conflict;
  }
  const outcomes: InboxOutcome[] = [];
  const claimed: string[] = [];
  const ours = (jobId: string): OpenJob | undefined => {
    const entry = state.jobs.get(jobId);
    return entry !== undefined && executionOf(entry.job) === executionKey(request) ? entry : undefined;
  };
  const withOutcome = (entry: OpenJob | undefined): boolean => {
    if (entry?.outcome === undefined || taken.has(entry.outcome.entry)) return false;
    outcomes.push(entry.outcome);
    return true;
  };
  for (const { jobId, token } of request.settle) {
    const entry = ours(jobId);
    if (!withOutcome(entry) && entry?.claim?.token !== token) return { ...conflict, outcomes };
  }
  for (const jobId of [...request.cancel, ...(request.revoke ?? [])]) withOutcome(ours(jobId));
  for (const jobId of request.withdraw ?? []) {
    const entry = ours(jobId);
    if (!withOutcome(entry) && entry?.claim !== undefined) claimed.push(jobId);
  }
  if (outcomes.length + claimed.length > 0) {
    return { ...conflict, outcomes, ...(claimed.length > 0 ? { claimed } : {}) };
  }
  return checkNew(state, request, nowMs, conflict);
}

function checkNew(state: State, request: TurnRequest, nowMs: number, conflict: TurnAnswer): TurnAnswer | undefined {
  const timers = state.executions.get(executionKey(request))?.timers;
  let earlyMs = 0;
  for (const id of request.fire) {
    const atMs = timers?.get(id);
    if (atMs === undefined) return conflict;
    earlyMs = Math.max(earlyMs, atMs - nowMs);
  }
  if (earlyMs > 0) return { status: "EARLY", byMs: earlyMs };
  const leaving = new Set([...request.cancel, ...(request.revoke ?? []), ...(request.withdraw ?? [])]);
  for (const { id } of request.enqueue) {
    const entry = state.jobs.get(id);
    if (entry === undefined || leaving.has(id)) continue;
    throw new HodeiError("INVALID_ARGUMENT", `job ${id} is open already`, { field: "enqueue" });
  }
  return undefined;
}

/** Jobs that end in this turn: their outcomes are part of its events. */
function fold(state: State, request: TurnRequest): SettledToken[] {
  const settled: (SettledToken | undefined)[] = [];
  for (const entry of request.take) {
    const jobId = state.inbox.get(entry)?.outcome.jobId ?? "";
    const job = state.jobs.get(jobId);
    if (job !== undefined) settled.push(closeJob(state, job));
  }
  for (const { jobId } of request.settle) {
    const job = state.jobs.get(jobId);
    if (job === undefined) continue;
    if (job.job.workspace !== undefined) noteUse(state, job.job.workspace);
    settled.push(closeJob(state, job));
  }
  return settled.filter((token) => token !== undefined);
}

function record(state: State, execution: OpenExecution, request: TurnRequest, revision: number): void {
  const { serial } = execution.row;
  if (request.events.length > 0) state.cold.appendCommit(serial, revision, request.events);
  if (request.snapshot !== undefined) state.cold.putSnapshot(serial, { revision, text: request.snapshot });
  if (request.definitions !== undefined) state.cold.putDefinitions(serial, request.definitions);
  saveHead(state, execution, { ...request.head, revision });
}

/** Answers the jobs that are new. */
function apply(state: State, execution: OpenExecution, request: TurnRequest, nowMs: number): OpenJob[] {
  const key = executionKey(request);
  for (const jobId of request.cancel) cancelJob(state, key, jobId);
  for (const jobId of [...(request.revoke ?? []), ...(request.withdraw ?? [])]) revokeJob(state, key, jobId);

  for (const id of [...request.fire, ...request.clearTimers]) {
    if (execution.timers.delete(id)) state.journal.remove("timers", `${key}/${id}`);
  }
  for (const timer of request.timers) {
    execution.timers.set(timer.id, timer.atMs);
    state.journal.put("timers", `${key}/${timer.id}`, { execution: key, timer });
  }
  for (const id of request.outboxDone) {
    if (execution.outbox.delete(id)) state.journal.remove("outbox", `${key}/${id}`);
  }
  for (const entry of request.outbox) {
    const row = { execution: key, order: state.order++, entry };
    execution.outbox.set(entry.id, row);
    state.journal.put("outbox", `${key}/${entry.id}`, row);
  }
  for (const workspace of request.releaseWorkspaces) release(state, workspace);
  if (request.head.state !== "running") {
    closeAll(state, execution);
    return [];
  }
  return request.enqueue.map((job) => enqueue(state, execution, job, nowMs));
}
