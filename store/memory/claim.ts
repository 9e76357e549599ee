import { fits } from "../../workflow/matching.ts";
import type { Resources } from "../../workflow/requirement.ts";
import { AGEING_MS, type Assignment, type ClaimRequest, type Fenced, type WorkerSlot } from "../store.ts";
import { BANDS, type RequirementClass, type Signature } from "./line.ts";
import { recall, remember } from "./operations.ts";
import { factsOf, setClaim } from "./outcomes.ts";
import { park, unpark } from "./parking.ts";
import { dropReservation, leave, refusals, signatureFor } from "./queue.ts";
import type { GivenJob } from "./rows.ts";
import { FENCED, judge, liveSession } from "./sessions.ts";
import { SECRET_BYTES, type OpenJob, type Session, type State } from "./state.ts";
import { dropOldest } from "./sets.ts";
import { bind, loseWorkspacesOf } from "./workspaces.ts";

/**
 * Who gets what. For each worker in the caller's order: first the jobs pinned to its workspaces that it can run, then, slot
 * by slot, the head of one class that its signature can run and its free resources hold:
 * 1. By band; within a band the namespace with the fewest claimed jobs, then the one served longest ago; within a
 *    namespace the oldest head.
 * 2. But of every AGED_EVERY jobs that a signature is given, one goes to the oldest head of a lower band that has waited
 *    for AGEING_MS or longer. (Always preferring aged heads was rejected: a large low backlog is all aged, and would then
 *    stand before every high job.)
 * 3. An aged head that fits the worker's total but not what is free reserves the worker: it is given nothing smaller
 *    until the head fits there or was served elsewhere. One reservation per class and per worker.
 */
const AGED_EVERY = 4;
/** A reservation that its worker does not come back for lapses: the store is not told when a worker leaves. */
const RESERVATION_MS = 10 * 60_000;
const WORKERS_AT_ONCE = 32;
const PINNED_AT_ONCE = 32;
const ASSIGNMENTS_AT_ONCE = 256;

type Free = WorkerSlot["free"];
type Choice = { entry: OpenJob; of: RequirementClass };

export function claim(
  state: State,
  { opId, session, workers, gone }: ClaimRequest,
): { assignments: Assignment[]; nowMs: number } | Fenced {
  const nowMs = judge(state);
  const found = liveSession(state, session);
  if (found === undefined) return FENCED;
  const first = recall(state, opId, "claim");
  if (first !== undefined) return { assignments: givenAgain(state, first.given), nowMs };
  // Only what the caller's session holds: the worker may live on at another engine, which has adopted it.
  for (const worker of gone ?? []) loseWorkspacesOf(state, (row) => row.worker === worker && row.session === session);
  const assignments = claimFor(state, found, workers, nowMs);
  if (assignments.length > 0) remember(state, opId, { kind: "claim", given: givenOf(assignments) });
  return { assignments, nowMs };
}

export function claimFor(state: State, session: Session, slots: readonly WorkerSlot[], nowMs: number): Assignment[] {
  const assignments: Assignment[] = [];
  const hungry = new Set<string>();
  for (const slot of slots.slice(0, WORKERS_AT_ONCE)) {
    session.signatures.add(slot.signature);
    unpark(state, session, slot.signature);
    for (const entry of pinnedTo(state, slot)) {
      if (assignments.length < ASSIGNMENTS_AT_ONCE) assignments.push(give(state, entry, slot.worker, session, nowMs));
    }
    const signature = signatureFor(state, slot.signature, slot.offer);
    let free: Free = slot.free;
    while (free.slots > 0 && assignments.length < ASSIGNMENTS_AT_ONCE) {
      const choice = choose(state, signature, { worker: slot.worker, free }, session, nowMs);
      if (choice === undefined) break;
      free = rest(free, choice.entry.job.requirement.resources);
      served(state, choice);
      assignments.push(give(state, choice.entry, slot.worker, session, nowMs));
    }
    if (free.slots > 0) hungry.add(slot.signature);
  }
  // After all slots: one worker's parking must not be undone by the next of the same signature.
  for (const signature of hungry) park(state, session, signature);
  return assignments;
}

export function givenOf(assignments: readonly Assignment[]): GivenJob[] {
  return assignments.map(({ job, token }) => ({ jobId: job.id, token }));
}

/** The assignments of a first answer that still stand. */
export function givenAgain(state: State, given: readonly GivenJob[]): Assignment[] {
  return given.flatMap(({ jobId, token }) => {
    const entry = state.jobs.get(jobId);
    return entry?.claim?.token === token ? [assignmentOf(state, entry, entry.claim)] : [];
  });
}

function assignmentOf(state: State, entry: OpenJob, { token, worker }: { token: string; worker: string }): Assignment {
  return { job: entry.job, token, worker, facts: factsOf(state, entry) };
}

function give(state: State, entry: OpenJob, worker: string, session: Session, nowMs: number): Assignment {
  leave(state, entry);
  const token = state.random.hex(SECRET_BYTES);
  const row = { jobId: entry.job.id, token, worker, session: session.row.session, claimedAtMs: nowMs };
  setClaim(state, entry, row);
  bind(state, entry, row);
  return assignmentOf(state, entry, row);
}

/** What waits for this very worker and can run there: the first job of a workspace chose it, the others may ask for more. */
function pinnedTo(state: State, { worker, offer }: WorkerSlot): OpenJob[] {
  const waiting: OpenJob[] = [];
  for (const workspace of state.workspacesOf.get(worker) ?? []) {
    waiting.push(...(state.pinned.get(workspace)?.entries() ?? []));
  }
  const fit = waiting.filter(({ job }) => refusals(job, offer).length === 0);
  return fit.sort((a, b) => a.order - b.order).slice(0, PINNED_AT_ONCE);
}

/** The next job for one slot, or undefined: nothing fits, or the worker is kept for something larger. */
function choose(
  state: State,
  signature: Signature,
  slot: { worker: string; free: Free },
  session: Session,
  nowMs: number,
): Choice | undefined {
  const kept = state.reservations.get(slot.worker);
  if (kept !== undefined) {
    const entry = oldestHead(kept);
    // What it offers may have changed since: a second hello, or another worker under its id.
    if (entry !== undefined && kept.reservation !== undefined && signature.eligible.has(kept)) {
      kept.reservation.atMs = nowMs;
      return fits(entry.job.requirement.resources, slot.free) ? { entry, of: kept } : undefined;
    }
    dropReservation(state, kept);
  }
  let best: Choice | undefined;
  let bestRank = Infinity;
  /** The oldest aged head that fits, by rank of its band. */
  const aged: (Choice | undefined)[] = [];
  let tooLarge: Choice | undefined;
  for (const of of signature.eligible) {
    if (of.waiting === 0) continue;
    const room = fits(of.requirement.resources, slot.free);
    for (const [rank, band] of BANDS.entries()) {
      const entry = of.lines[band].head();
      if (entry === undefined) continue;
      const choice = { entry, of };
      const isAged = nowMs - entry.enqueuedAtMs >= AGEING_MS;
      if (!room) {
        if (isAged && older(choice, tooLarge) && reservable(state, of, nowMs)) tooLarge = choice;
        continue;
      }
      if (isAged && older(choice, aged[rank])) aged[rank] = choice;
      if (rank < bestRank || (rank === bestRank && before(state, choice, best))) {
        best = choice;
        bestRank = rank;
      }
    }
  }
  const large = tooLarge;
  if (large !== undefined && aged.every((choice) => choice === undefined || older(large, choice))) {
    reserve(state, large.of, slot.worker, session, nowMs);
    return undefined;
  }
  const passedOver = aged.slice(bestRank + 1).filter((choice) => choice !== undefined);
  const [oldest] = passedOver.sort((a, b) => a.entry.order - b.entry.order);
  if (oldest === undefined || signature.sinceAged < AGED_EVERY - 1) {
    signature.sinceAged = Math.min(signature.sinceAged + 1, AGED_EVERY);
    return best;
  }
  signature.sinceAged = 0;
  return oldest;
}

function oldestHead(of: RequirementClass): OpenJob | undefined {
  const heads = BANDS.map((band) => of.lines[band].head()).filter((head) => head !== undefined);
  return heads.sort((a, b) => a.order - b.order)[0];
}

function older(choice: Choice, than: Choice | undefined): boolean {
  return than === undefined || choice.entry.order < than.entry.order;
}

/** Within one band. */
function before(state: State, choice: Choice, than: Choice | undefined): boolean {
  if (than === undefined) return true;
  const [a, b] = [choice.of.namespace, than.of.namespace];
  if (a !== b) {
    const running = (state.running.get(a) ?? 0) - (state.running.get(b) ?? 0);
    if (running !== 0) return running < 0;
    const last = (state.served.get(a) ?? 0) - (state.served.get(b) ?? 0);
    if (last !== 0) return last < 0;
  }
  return older(choice, than);
}

function reservable(state: State, of: RequirementClass, nowMs: number): boolean {
  const { reservation } = of;
  if (reservation === undefined) return true;
  if (nowMs - reservation.atMs < RESERVATION_MS) return false;
  dropReservation(state, of);
  return true;
}

function reserve(state: State, of: RequirementClass, worker: string, session: Session, nowMs: number): void {
  of.reservation = { worker, session: session.row.session, atMs: nowMs };
  state.reservations.set(worker, of);
}

function served(state: State, { of }: Choice): void {
  dropReservation(state, of);
  // Moved to the end, so that the bound forgets the namespaces that were served longest ago.
  state.served.delete(of.namespace);
  state.served.set(of.namespace, state.order++);
  dropOldest(state.served, 10_000);
}

function rest(free: Free, taken: Resources): Free {
  return {
    slots: free.slots - 1,
    cpuMillis: free.cpuMillis - taken.cpuMillis,
    memoryBytes: free.memoryBytes - taken.memoryBytes,
    gpu: free.gpu - taken.gpu,
    storageBytes: free.storageBytes - taken.storageBytes,
  };
}
