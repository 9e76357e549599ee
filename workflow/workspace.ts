import { HodeiError } from "./errors.ts";
import { own, type Execution, type WorkspaceRecord } from "./execution.ts";
import type { StepNode } from "./graph.ts";
import type { Turn } from "./turn.ts";

/** What the store pins to a worker: `uid/name`, and `uid/name#2` once the folder was lost twice. */
export function workspaceKey(execution: Execution, name: string, generation: number): string {
  return generation === 0 ? `${execution.uid}/${name}` : `${execution.uid}/${name}#${generation}`;
}

/** What a new job of the step asks for. Throws WORKSPACE_LOST when the folder is gone with what others put into it. */
export function wantedWorkspace(turn: Turn, node: StepNode): { name: string; generation: number } | undefined {
  const name = node.step.workspace;
  if (name === undefined) return undefined;
  const known: WorkspaceRecord | undefined = own(turn.execution.workspaces, name);
  if (known?.lost) throw new HodeiError("WORKSPACE_LOST", `the worker that held workspace ${name} is gone`);
  return { name, generation: known?.generation ?? 0 };
}

/** When a step has ended: lets the worker forget the folder once no step can want it any more. */
export function releaseIfLast(turn: Turn, node: StepNode): void {
  const name = node.step.workspace;
  const known = name === undefined ? undefined : own(turn.execution.workspaces, name);
  if (name === undefined || known === undefined) return;
  const sharers = turn.graph.workspaces.get(name) ?? [];
  if (sharers.some((sharer) => own(turn.execution.steps, sharer.step.id)?.endedAtMs === undefined)) return;
  turn.releaseWorkspace(workspaceKey(turn.execution, name, known.generation));
}
