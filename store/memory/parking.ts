import type { OpenJob, Session, State } from "./state.ts";
import { addTo, removeFrom } from "./sets.ts";

/** The session has a free worker of this signature and nothing for it: it wants to hear of work. */
export function park(state: State, session: Session, signature: string): void {
  if (session.parked.get(signature) === "parked") return;
  session.parked.set(signature, "parked");
  addTo(state.parked, signature, session.row.session);
}

/** The session asks for this signature, or for none any more. */
export function unpark(state: State, session: Session, signature?: string): void {
  const signatures = signature === undefined ? [...session.parked.keys()] : [signature];
  for (const each of signatures) {
    session.parked.delete(each);
    removeFrom(state.parked, each, session.row.session);
  }
}

/** Hints to the one session that can take the job: the holder of its workspace, else the one that has waited longest. */
export function wakeFor(state: State, entry: OpenJob): void {
  if (entry.place === undefined) return;
  const binding = entry.job.workspace === undefined ? undefined : state.workspaces.get(entry.job.workspace);
  if (binding !== undefined) {
    state.hints.give({ kind: "session", session: binding.session }, { kind: "work" });
    return;
  }
  const of = state.classes.get(entry.classKey);
  if (of === undefined) return;
  for (const [digest, sessions] of state.parked) {
    if (state.signatures.get(digest)?.eligible.has(of) !== true) continue;
    const [longest] = sessions;
    if (longest === undefined) continue;
    removeFrom(state.parked, digest, longest);
    state.sessions.get(longest)?.parked.set(digest, "woken");
    state.hints.give({ kind: "session", session: longest }, { kind: "work" });
    return;
  }
}
