import type { Fenced, WorkerRequest, WorkerRequestStore } from "../store.ts";
import { recall, remember } from "./operations.ts";
import { FENCED, judge, liveSession } from "./sessions.ts";
import { REMEMBERED, type State } from "./state.ts";

type Request<Name extends keyof WorkerRequestStore> = Parameters<WorkerRequestStore[Name]>[0];

/** A request counts against the place it was made for: its pool, or, without one, its template in its namespace. */
function place(of: Pick<WorkerRequest, "pool" | "namespace" | "template">): string {
  return of.pool === undefined ? `template ${of.namespace}/${of.template}` : `pool ${of.namespace}/${of.pool}`;
}

export function reserveWorker(
  state: State,
  { opId, session, want, maximum }: Request<"reserve">,
): { status: "OK" | "DUPLICATE" | "FULL" } | Fenced {
  const nowMs = judge(state);
  if (liveSession(state, session) === undefined) return FENCED;
  if (recall(state, opId, "reserve") !== undefined || state.workerRequests.has(want.id)) return { status: "DUPLICATE" };
  let taken = 0;
  for (const { request } of state.workerRequests.values()) {
    if (request.state !== "gone" && place(request) === place(want)) taken += 1;
  }
  if (taken >= maximum) return { status: "FULL" };
  put(state, { ...want, state: "requested", createdAtMs: nowMs });
  remember(state, opId, { kind: "reserve" });
  return { status: "OK" };
}

export function updateWorker(
  state: State,
  { session, id, state: next, platformId, reason }: Request<"update">,
): { status: "OK" | "UNKNOWN" } | Fenced {
  judge(state);
  if (liveSession(state, session) === undefined) return FENCED;
  const request = state.workerRequests.get(id)?.request;
  if (request === undefined) return { status: "UNKNOWN" };
  put(state, {
    ...request,
    state: next,
    ...(platformId === undefined ? {} : { platformId }),
    ...(reason === undefined ? {} : { reason }),
  });
  if (next === "gone") forgetOldest(state);
  return { status: "OK" };
}

function put(state: State, request: WorkerRequest): void {
  const row = { order: state.order++, request };
  // Moved to the end: the oldest change comes first.
  state.workerRequests.delete(request.id);
  state.workerRequests.set(request.id, row);
  state.journal.put("workerRequests", request.id, row);
}

function forgetOldest(state: State): void {
  const gone = [...state.workerRequests.values()].filter(({ request }) => request.state === "gone");
  for (const { request } of gone.slice(0, Math.max(gone.length - REMEMBERED.goneRequests, 0))) {
    state.workerRequests.delete(request.id);
    state.journal.remove("workerRequests", request.id);
  }
}

export function listWorkers(state: State, { engine, open }: Request<"list">): WorkerRequest[] {
  return [...state.workerRequests.values()]
    .map(({ request }) => request)
    .filter((request) => engine === undefined || request.engine === engine)
    .filter((request) => open === undefined || (request.state !== "gone") === open)
    .sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
}
