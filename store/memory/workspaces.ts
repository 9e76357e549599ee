import type { OpenJob, State } from "./state.ts";
import { SECRET_BYTES } from "./state.ts";
import { factsOf, putOutcome } from "./outcomes.ts";
import { leave, wait } from "./queue.ts";
import type { ClaimRow, WorkspaceRow } from "./rows.ts";
import { addTo, removeFrom } from "./sets.ts";

/**
 * A workspace is bound to the worker that claims its first job; from then on its jobs wait for that worker alone. When
 * one of its jobs is lost or the worker is gone, a workspace in which work was done is *lost*: jobs that wait for it, and
 * every later one, end as lost at once (naming the workspace) until the owner releases it. One in which nothing ran yet is
 * only unbound.
 */
export function bind(state: State, entry: OpenJob, claim: ClaimRow): void {
  const { workspace, namespace, executionId } = entry.job;
  if (workspace === undefined || state.workspaces.has(workspace)) return;
  const execution = `${namespace}/${executionId}`;
  put(state, { workspace, execution, worker: claim.worker, session: claim.session, used: false });
  for (const jobId of state.unbound.get(workspace) ?? []) {
    const other = state.jobs.get(jobId);
    if (other === undefined) continue;
    leave(state, other);
    wait(state, other);
  }
}

/** Into memory and journal; replaces what is known of the workspace. */
export function put(state: State, row: WorkspaceRow): void {
  keep(state, row);
  state.journal.put("workspaces", row.workspace, row);
}

/** Into memory only: also how a stored row comes back. */
export function keep(state: State, row: WorkspaceRow): void {
  const before = state.workspaces.get(row.workspace);
  if (before !== undefined) removeFrom(state.workspacesOf, before.worker, row.workspace);
  state.workspaces.set(row.workspace, row);
  if (row.lost === undefined) addTo(state.workspacesOf, row.worker, row.workspace);
  state.executions.get(row.execution)?.workspaces.add(row.workspace);
}

function unbind(state: State, row: WorkspaceRow): void {
  const waiting = state.pinned.get(row.workspace)?.entries() ?? [];
  for (const entry of waiting) leave(state, entry);
  state.workspaces.delete(row.workspace);
  removeFrom(state.workspacesOf, row.worker, row.workspace);
  state.executions.get(row.execution)?.workspaces.delete(row.workspace);
  state.journal.remove("workspaces", row.workspace);
  for (const entry of waiting) wait(state, entry);
}

export function release(state: State, workspace: string): void {
  const row = state.workspaces.get(workspace);
  if (row === undefined) return;
  unbind(state, row);
  if (row.lost !== undefined) return;
  const { session, worker } = row;
  state.hints.give({ kind: "session", session }, { kind: "workspaceReleased", workspace, worker });
}

/** Something ran in it: from now on it is not replaced silently. */
export function noteUse(state: State, workspace: string): void {
  const row = state.workspaces.get(workspace);
  if (row !== undefined && !row.used) put(state, { ...row, used: true });
}

/** A worker refused the job that had bound the workspace: any worker may have it, unless another job runs there. */
export function unbindUnused(state: State, workspace: string): void {
  const row = state.workspaces.get(workspace);
  if (row === undefined || row.used) return;
  for (const jobId of state.executions.get(row.execution)?.jobs ?? []) {
    const other = state.jobs.get(jobId);
    if (other?.job.workspace === workspace && other.claim !== undefined) return;
  }
  unbind(state, row);
}

/** The workers that held these are gone. */
export function loseWorkspacesOf(state: State, gone: (row: WorkspaceRow) => boolean, spends?: false): void {
  for (const row of state.workspaces.values()) {
    if (row.lost !== undefined || !gone(row)) continue;
    if (!row.used) {
      unbind(state, row);
      continue;
    }
    const waiting = state.pinned.get(row.workspace)?.entries() ?? [];
    const lost = `the worker ${row.worker} that held it is gone`;
    put(state, { ...row, lost, ...(spends === undefined ? {} : { spends }) });
    for (const entry of waiting) loseJob(state, entry);
  }
}

export function loseWorkspacesOfWorker(state: State, worker: string): void {
  if (state.workspacesOf.has(worker)) loseWorkspacesOf(state, (row) => row.worker === worker);
}

/** Where a new or released job goes: into its line, or straight to its owner when its workspace is lost. */
export function place(state: State, entry: OpenJob): void {
  const { workspace } = entry.job;
  if (workspace !== undefined && state.workspaces.get(workspace)?.lost !== undefined) loseJob(state, entry);
  else wait(state, entry);
}

function loseJob(state: State, entry: OpenJob): void {
  const workspace = entry.job.workspace ?? "";
  const { lost = "lost", spends } = state.workspaces.get(workspace) ?? {};
  const reason = `workspace ${workspace}: ${lost}`;
  const token = state.random.hex(SECRET_BYTES);
  const outcome = { kind: "lost", reason, workspace, ...(spends === undefined ? {} : { spends }) } as const;
  putOutcome(state, entry, { token, outcome, facts: factsOf(state, entry) });
}
