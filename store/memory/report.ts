import type { Outcome } from "../../workflow/job.ts";
import type { Fenced, ReportAnswer, ReportRequest, Store } from "../store.ts";
import { claimFor, givenAgain, givenOf } from "./claim.ts";
import { tellToStop } from "./jobs.ts";
import { recall, remember } from "./operations.ts";
import { claimsOf, factsOf, putOutcome, setClaim } from "./outcomes.ts";
import { FENCED, judge, liveSession, mayReportLost } from "./sessions.ts";
import type { GivenJob } from "./rows.ts";
import type { OpenJob, State } from "./state.ts";
import { loseWorkspacesOf, noteUse, put, unbindUnused } from "./workspaces.ts";

export function reportAndClaim(state: State, request: ReportRequest): ReportAnswer {
  const nowMs = judge(state);
  const session = liveSession(state, request.session);
  if (session === undefined) return FENCED;
  const first = recall(state, request.opId, "report");
  if (first !== undefined) {
    const status = first.status === "OK" ? "DUPLICATE" : first.status;
    return { status, assignments: givenAgain(state, first.given), nowMs };
  }
  const status = report(state, request, nowMs);
  // Whatever the report came to, its worker has ended the attempt.
  for (const { revoked } of state.sessions.values()) revoked.delete(request.token);
  const assignments = claimFor(state, session, request.claimFor, nowMs);
  if (status === "OK" || assignments.length > 0) {
    remember(state, request.opId, { kind: "report", status, given: givenOf(assignments) });
  }
  return { status, assignments, nowMs };
}

function report(state: State, request: ReportRequest, nowMs: number): "OK" | "DUPLICATE" | "STALE" {
  const { session, jobId, token, outcome, facts } = request;
  const entry = state.jobs.get(jobId);
  if (entry?.outcome?.token === token) return repeated(entry.outcome.outcome.kind === "lost", outcome);
  if (entry?.claim?.token !== token) {
    const settled = state.settled.get(token);
    return settled === undefined ? "STALE" : repeated(settled.lost, outcome);
  }
  if (outcome.kind === "lost" && !mayReportLost(state, session, entry, nowMs)) return "STALE";
  const { workspace } = entry.job;
  putOutcome(state, entry, { token, outcome: inWorkspace(state, entry, outcome), facts: factsOf(state, entry, facts) });
  if (workspace === undefined) return "OK";
  // Only this one: an assignment that never arrived is lost too, and its worker may well hold others.
  if (outcome.kind === "lost") loseWorkspacesOf(state, (row) => row.workspace === workspace, outcome.spends);
  else if (outcome.kind === "rejected") unbindUnused(state, workspace);
  else noteUse(state, workspace);
  return "OK";
}

/** A result that comes after its attempt was declared lost is not the one that counts: its worker is told so. */
function repeated(lost: boolean, outcome: Outcome): "DUPLICATE" | "STALE" {
  return lost && outcome.kind !== "lost" ? "STALE" : "DUPLICATE";
}

/** A worker that is gone took along what earlier jobs had left in the workspace: the owner must know that too. */
function inWorkspace(state: State, { job }: OpenJob, outcome: Outcome): Outcome {
  if (outcome.kind !== "lost" || job.workspace === undefined) return outcome;
  return state.workspaces.get(job.workspace)?.used === true ? { ...outcome, workspace: job.workspace } : outcome;
}

export function adopt(
  state: State,
  { opId, session, worker, jobs }: Parameters<Store["adopt"]>[0],
): { adopted: string[]; stale: string[]; missing?: GivenJob[] } | Fenced {
  judge(state);
  const found = liveSession(state, session);
  if (found === undefined) return FENCED;
  const first = recall(state, opId, "adopt");
  if (first !== undefined) return adoption(first);
  const adopted: string[] = [];
  const stale: string[] = [];
  let moved = false;
  for (const { jobId, token } of jobs) {
    const entry = state.jobs.get(jobId);
    const { claim } = entry ?? {};
    if (entry === undefined || claim?.token !== token) {
      stale.push(token);
      continue;
    }
    adopted.push(token);
    if (claim.session === session && claim.worker === worker) continue;
    moved = true;
    setClaim(state, entry, { ...claim, session, worker });
    if (claim.cancelling === true) tellToStop(state, entry);
  }
  for (const workspace of state.workspacesOf.get(worker) ?? []) {
    const row = state.workspaces.get(workspace);
    if (row === undefined || row.session === session) continue;
    moved = true;
    put(state, { ...row, session });
  }
  const missing = moveUnlisted(state, { session, worker }, new Set(jobs.map(({ token }) => token)));
  if (moved || missing.length > 0) remember(state, opId, { kind: "adopt", adopted, stale, missing });
  return adoption({ adopted, stale, missing });
}

function adoption({ adopted, stale, missing }: { adopted: string[]; stale: string[]; missing: GivenJob[] }) {
  return { adopted, stale, ...(missing.length > 0 ? { missing } : {}) };
}

/** Claims of the worker under other sessions that it does not know of: the assignment was lost with its stream. */
function moveUnlisted(
  state: State,
  { session, worker }: { session: string; worker: string },
  listed: ReadonlySet<string>,
): GivenJob[] {
  const unlisted = [...state.claimsOf.keys()]
    .filter((other) => other !== session)
    .flatMap((other) => claimsOf(state, other))
    .filter(({ token, entry }) => entry.claim?.worker === worker && !listed.has(token))
    .sort((a, b) => a.entry.order - b.entry.order);
  for (const { entry } of unlisted) if (entry.claim !== undefined) setClaim(state, entry, { ...entry.claim, session });
  return unlisted.map(({ jobId, token }) => ({ jobId, token }));
}
