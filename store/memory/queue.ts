import { classKeyOf, mismatches } from "../../workflow/matching.ts";
import type { Mismatch, Offer, Requirement } from "../../workflow/requirement.ts";
import type { Job } from "../../workflow/job.ts";
import { WaitingLine, type RequirementClass, type Signature } from "./line.ts";
import { executionOf, REMEMBERED, type OpenJob, type Session, type State } from "./state.ts";
import { addTo, count, dropOldest, removeFrom } from "./sets.ts";

/** Every clause that keeps the class off the offer for ever; the namespace is one. */
export function refusals(of: { namespace: string; requirement: Requirement }, offer: Offer): Mismatch[] {
  const foreign = offer.namespace !== of.namespace && offer.namespace !== "*";
  const namespace = { clause: `namespace ${of.namespace}`, reason: `the worker serves ${offer.namespace}` };
  return [...(foreign ? [namespace] : []), ...mismatches(of.requirement, offer)];
}

/** Parsing and hashing a requirement costs 10 times more than finding it here; steps repeat the same few. */
const classKeys = new Map<string, string>();

export function classKey(job: Pick<Job, "requirement" | "namespace">): string {
  const text = `${job.namespace} ${JSON.stringify(job.requirement)}`;
  let key = classKeys.get(text);
  if (key === undefined) {
    classKeys.set(text, (key = classKeyOf(job.requirement, job.namespace)));
    dropOldest(classKeys, 2048);
  }
  return key;
}

function classOf(state: State, entry: OpenJob): RequirementClass {
  const known = state.classes.get(entry.classKey);
  if (known !== undefined) return known;
  const lines = { high: new WaitingLine(), normal: new WaitingLine(), low: new WaitingLine() };
  const { namespace, requirement } = entry.job;
  const created = { key: entry.classKey, namespace, requirement, lines, waiting: 0, waitingOf: new Map() };
  state.classes.set(created.key, created);
  for (const signature of state.signatures.values()) {
    if (refusals(created, signature.offer).length === 0) signature.eligible.add(created);
  }
  return created;
}

export function signatureFor(state: State, digest: string, offer: Offer): Signature {
  let signature = state.signatures.get(digest);
  if (signature === undefined) {
    signature = { digest, offer, eligible: new Set(), sinceAged: 0 };
    for (const each of state.classes.values()) {
      if (refusals(each, offer).length === 0) signature.eligible.add(each);
    }
  }
  // Moved to the end: the one that has not asked for longest is forgotten first.
  state.signatures.delete(digest);
  state.signatures.set(digest, signature);
  dropOldest(state.signatures, REMEMBERED.signatures);
  return signature;
}

/** Puts a job that has neither claim nor outcome where it waits: its workspace's line or its class. Not if it is held back. */
export function wait(state: State, entry: OpenJob): void {
  if (entry.place !== undefined || heldBack(state, entry.job)) return;
  const { workspace } = entry.job;
  if (workspace !== undefined && state.workspaces.has(workspace)) {
    const line = state.pinned.get(workspace) ?? new WaitingLine();
    state.pinned.set(workspace, line);
    line.add(entry);
    return;
  }
  if (workspace !== undefined) addTo(state.unbound, workspace, entry.job.id);
  const of = classOf(state, entry);
  of.lines[entry.job.priority].add(entry);
  of.waiting += 1;
  count(of.waitingOf, entry.job.shard, 1);
  state.emptyClasses.delete(of.key);
}

/** Takes a job out of the line it waits in, if it waits. */
export function leave(state: State, entry: OpenJob): void {
  const line = entry.place;
  if (line === undefined) return;
  line.remove(entry);
  const { workspace } = entry.job;
  if (workspace !== undefined && state.pinned.get(workspace) === line) {
    if (line.size === 0) state.pinned.delete(workspace);
    return;
  }
  if (workspace !== undefined) removeFrom(state.unbound, workspace, entry.job.id);
  const of = state.classes.get(entry.classKey);
  if (of === undefined) return;
  of.waiting -= 1;
  count(of.waitingOf, entry.job.shard, -1);
  if (of.waiting === 0) emptied(state, of);
}

/** A class that is empty now is likely to fill again: the newest are kept with what was evaluated for them. */
function emptied(state: State, of: RequirementClass): void {
  dropReservation(state, of);
  state.emptyClasses.set(of.key, of);
  for (const [key, oldest] of state.emptyClasses) {
    if (state.emptyClasses.size <= REMEMBERED.emptyClasses) return;
    state.emptyClasses.delete(key);
    state.classes.delete(key);
    for (const signature of state.signatures.values()) signature.eligible.delete(oldest);
  }
}

export function dropReservation(state: State, of: RequirementClass): void {
  if (of.reservation === undefined) return;
  state.reservations.delete(of.reservation.worker);
  of.reservation = undefined;
}

/** Whether the execution's gate or end keeps its jobs from being given out. */
function heldBack(state: State, job: Job): boolean {
  const head = state.executions.get(executionOf(job))?.row.head;
  return head === undefined || head.state !== "running" || head.gate !== "open";
}

/** Whether something waits that a session could run: for its parked signatures, or for workspaces its workers hold. */
export function jobsThatWait(state: State, session: Session): boolean {
  for (const workspace of state.pinned.keys()) {
    if (state.workspaces.get(workspace)?.session === session.row.session) return true;
  }
  for (const digest of session.parked.keys()) {
    // Of one that was forgotten nobody knows what it could run: it is told to ask, and is known again.
    for (const of of state.signatures.get(digest)?.eligible ?? state.classes.values()) if (of.waiting > 0) return true;
  }
  return false;
}
