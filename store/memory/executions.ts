import type { ExecutionHead, TurnRequest } from "../store.ts";
import type { ExecutionRow } from "./rows.ts";
import { executionKey, type OpenExecution, type State } from "./state.ts";
import { addTo, removeFrom } from "./sets.ts";

export function findExecution(state: State, key: string): ExecutionRow | undefined {
  return state.executions.get(key)?.row ?? state.cold.finished(key);
}

/** In memory from now on: as it is, from its finished record (a retry), or as a new one. */
export function openExecution(state: State, request: TurnRequest): OpenExecution {
  const key = executionKey(request);
  const open = state.executions.get(key);
  if (open !== undefined) return open;
  const finished = state.cold.finished(key);
  if (finished !== undefined) state.cold.reopen(key);
  return keepExecution(state, finished ?? { serial: state.serial++, head: { ...request.head, revision: 0 } });
}

/** Into memory only: also how a stored one comes back. */
export function keepExecution(state: State, row: ExecutionRow): OpenExecution {
  const key = executionKey(row.head);
  const execution = {
    row,
    timers: new Map(),
    outbox: new Map(),
    jobs: new Set<string>(),
    workspaces: new Set<string>(),
  };
  state.executions.set(key, execution);
  addTo(state.executionsOf, row.head.shard, key);
  return execution;
}

export function saveHead(state: State, execution: OpenExecution, head: ExecutionHead): void {
  execution.row = { serial: execution.row.serial, head };
  state.journal.put("executions", executionKey(head), execution.row);
}

/** One that has ended and has nothing to send any more leaves memory. */
export function closeExecution(state: State, { row, outbox }: OpenExecution): void {
  if (row.head.state === "running" || outbox.size > 0) return;
  const key = executionKey(row.head);
  state.executions.delete(key);
  removeFrom(state.executionsOf, row.head.shard, key);
  state.journal.remove("executions", key);
  state.cold.finish(key, row);
}
