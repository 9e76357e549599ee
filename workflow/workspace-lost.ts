import { loseOrFail } from "./again.ts";
import { cancel, clearTimers, fail, recordAttempt } from "./end-iteration.ts";
import type { StepNode } from "./graph.ts";
import { own, type WorkspaceRecord } from "./execution.ts";
import type { Outcome } from "./job.ts";
import { LIMITS } from "./limits.ts";
import { stopIteration } from "./stop-iteration.ts";
import { iterationTimer } from "./timer-id.ts";
import { isStopping, openIterations, type OpenIteration, type Turn } from "./turn.ts";
import { workspaceKey } from "./workspace.ts";

type Lost = Extract<Outcome, { kind: "lost" }>;

/**
 * The worker of a workspace is gone and the folder with it; `lost` is the job that told. All its open jobs are in the same
 * boat, even one whose process may live: what it writes, nobody will see.
 * - Nothing had succeeded there: each job is retried in a fresh folder.
 * - Something had, and the lost step says `onLost: rerun`: the group begins anew in a fresh folder under new iteration
 *   keys, unless that would run an at-most-once step twice.
 * - Else the open jobs fail with WORKSPACE_LOST, and so does each step of the group that opens later.
 */
export function loseWorkspace(turn: Turn, name: string, lost: OpenIteration, outcome: Lost): void {
  const workspace = own(turn.execution.workspaces, name);
  if (workspace === undefined) return;
  const { generation } = workspace;
  const { reason } = outcome;
  const spends = outcome.spends === undefined ? {} : { spends: outcome.spends };
  const sharers = turn.graph.workspaces.get(name) ?? [];
  const boat = sharers.flatMap((node) => openIterations(turn, node)).filter((of) => of.iteration.state === "queued");
  const ran = sharers.filter((node) => hasRun(turn, node));
  const remedy = !workspace.used ? "retry" : mayRerun(turn, workspace, ran, lost) ? "rerun" : "fail";
  const steps = remedy === "rerun" ? ran.map((node) => node.step.id) : [];
  if (remedy === "rerun") for (const node of ran) for (const of of openIterations(turn, node)) abandon(turn, of, lost);
  turn.emit({ type: "workspaceLost", workspace: name, remedy, steps, reason, ...spends });
  if (remedy !== "fail") turn.releaseWorkspace(workspaceKey(turn.execution, name, generation));
  for (const id of steps) turn.touch(id);
  if (remedy === "rerun") return;
  for (const of of boat) {
    if (of.iteration !== lost.iteration) endAttempt(turn, of, { kind: "lost", reason, ...spends });
    if (isStopping(turn, of.record)) {
      cancel(turn, of);
      continue;
    }
    const message = `the worker that held workspace ${name} is gone: ${reason}`;
    if (remedy === "fail" && of.node.step.onLost !== "fail") {
      fail(turn, of, { code: "WORKSPACE_LOST", message, class: "infrastructure" });
    } else loseOrFail(turn, of, true, { code: "JOB_LOST", message, class: "infrastructure" });
  }
}

function mayRerun(turn: Turn, workspace: WorkspaceRecord, ran: StepNode[], lost: OpenIteration): boolean {
  if (lost.node.step.onLost !== "rerun" || workspace.losses >= LIMITS.infrastructureAttempts) return false;
  // The steps before `finally` are over: their dependents have seen what they came to.
  return ran.every((node) => node.inFinally === lost.node.inFinally && node.step.onLost !== "fail");
}

function hasRun(turn: Turn, node: StepNode): boolean {
  return (own(turn.execution.steps, node.step.id)?.opened ?? 0) > 0;
}

/** Leaves an iteration that the rerun supersedes. */
function abandon(turn: Turn, of: OpenIteration, lost: OpenIteration): void {
  clearTimers(turn, of);
  if (of.iteration === lost.iteration) return;
  if (of.iteration.state === "queued") turn.revokeJob(of.node.step.id, of.key, of.iteration.attempt);
  else stopIteration(turn, of, "its workspace is gone");
}

/** Of a job that shared the lost folder: told to stop, and recorded as lost. */
function endAttempt(turn: Turn, of: OpenIteration, outcome: Lost): void {
  const step = of.node.step.id;
  turn.revokeJob(step, of.key, of.iteration.attempt);
  turn.clearTimer(iterationTimer("queue", step, of.key));
  recordAttempt(turn, of, outcome);
}
