import type { Assignment, Store, WorkerSlot } from "../../store/store.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import type { Resources } from "../../workflow/requirement.ts";
import type { Ownership } from "../ownership.ts";
import { untilAnswered } from "../retry.ts";
import { feasible } from "../scheduler/feasible.ts";
import { CLAIM_WORKERS, plan } from "../scheduler/plan.ts";
import type { WorkersContext } from "./context.ts";
import type { WorkerRecord } from "./record.ts";
import { freeOf, hears, slotOf, snapshotOf } from "./record.ts";

const RESOURCES = ["cpuMillis", "memoryBytes", "gpu", "storageBytes"] as const satisfies (keyof Resources)[];
/** A turn offers the best of so many idle workers; with a thousand idle ones, ranking all in each turn would cost more. */
const CANDIDATES = 64;

type Shared = "clock" | "random" | "logger" | "metrics" | "strategy" | "workers" | "holders" | "closing";
export type ClaimsContext = Pick<WorkersContext, Shared> & {
  store: Pick<Store, "claim">;
  ownership: Pick<Ownership, "session" | "suspect">;
};
type Free = WorkerSlot["free"];
type Candidate = { record: WorkerRecord; free: Free };

/**
 * Asks the store for jobs. Each question offers the room of a worker that no other question offers: two answers cannot
 * fill the same place, and the commit that settles a job can always ask for the next one in its place (one question at a
 * time per worker cost 0.7 claims of their own per 3-step workflow). Questions are asked when something changed (a worker
 * came or fell idle, a hint of work), never on a clock; what got nothing is parked in the store, which hints when work comes.
 */
export class Claims {
  readonly #context: ClaimsContext;
  readonly #dispatch: (assignment: Assignment) => void;
  #rotation = 0;
  /** Who is to ask in the next round. */
  readonly #due = new Set<string>();
  /** Those of whom it came due while other questions offered all they have. */
  readonly #missed = new Set<string>();
  #asking = false;

  constructor(context: ClaimsContext, dispatch: (assignment: Assignment) => void) {
    this.#context = context;
    this.#dispatch = dispatch;
  }

  /** The workers that ask in a store call that is made anyway. Each `offer` must be closed by one `answered`. */
  offer(settled: readonly { jobId: string }[]): WorkerSlot[] {
    const { holders, workers } = this.#context;
    const found: Candidate[] = [];
    const named: WorkerRecord[] = [];
    for (const { jobId } of settled) {
      const record = workers.get(holders.get(jobId) ?? "");
      if (!record || named.includes(record)) continue;
      named.push(record);
      found.push({ record, free: freeOf(record) });
    }
    for (const record of workers.values()) {
      if (found.length >= CANDIDATES) break;
      if (!mayAsk(record)) continue;
      const free = freeOf(record);
      if ((free.slots > 0 || record.workspaces.size > 0) && !named.includes(record)) found.push({ record, free });
    }
    return this.#take(found, named.length);
  }

  answered(slots: readonly WorkerSlot[], assignments: readonly Assignment[]): void {
    const { workers } = this.#context;
    for (const slot of slots) workers.get(slot.worker)?.asking.delete(slot);
    for (const assignment of assignments) this.#dispatch(assignment);
    const again = slots.filter((slot) => this.#asksAgain(slot, assignments)).map((slot) => slot.worker);
    if (again.length > 0) this.ask(again);
  }

  /**
   * Whether something came up for the worker while it was asked about, or its room was asked about in parts that were each
   * too small: a job may fit the whole.
   */
  #asksAgain(slot: WorkerSlot, assignments: readonly Assignment[]): boolean {
    const record = this.#context.workers.get(slot.worker);
    const missed = this.#missed.delete(slot.worker);
    if (!record) return false;
    const left = { ...slot.free };
    for (const { worker, job } of assignments) if (worker === slot.worker) subtract(left, job.requirement.resources);
    const others = record.asking.size > 0;
    const before = record.leftover;
    record.leftover = others ? left : undefined;
    if (missed || others || before === undefined) return missed;
    return exceeds(freeOf(record), left.slots > 0 ? left : before);
  }

  /** Something changed for these workers, or (a hint of work) for all: they ask soon. */
  ask(workers: Iterable<string> = this.#context.workers.keys()): void {
    for (const id of workers) this.#due.add(id);
    if (!this.#asking && this.#due.size > 0) void this.#askAll();
  }

  /** The worker is dead: the workspaces it held are lost with it. */
  gone(worker: string): void {
    const { store, ownership, clock, random, logger } = this.#context;
    const session = ownership.session;
    // Without a session its workspaces are given up by the store when the time for adoption is over.
    if (!session) return;
    const request = { opId: random.id(), session, workers: [], gone: [worker] };
    const scope = { clock, random, goOn: () => ownership.session === session };
    untilAnswered(scope, () => store.claim(request)).catch((error: unknown) => {
      logger.warn({ error, worker }, "the workspaces of a dead worker were not given up");
    });
  }

  /** `first`: so many of them, from the left, ask before any ranking. */
  #take(candidates: readonly Candidate[], first: number): WorkerSlot[] {
    const { closing, ownership, strategy, clock } = this.#context;
    if (candidates.length === 0 || closing() || !ownership.session) return [];
    this.#rotation += 1;
    const nowMs = clock.monotonic();
    const snapshots = candidates.map(({ record, free }) => snapshotOf(record, free, nowMs));
    const [only] = candidates;
    // What most commits come to: the worker whose job they settle, and nobody else has room.
    if (only && candidates.length === 1) return feasible(snapshots).map(() => asked(only));
    const named = new Set(candidates.slice(0, first).map(({ record }) => record.id));
    const byId = new Map(candidates.map((candidate) => [candidate.record.id, candidate]));
    const about = { strategy, rotation: this.#rotation, limit: CLAIM_WORKERS, first: named };
    return plan(snapshots, about).flatMap((id) => {
      const candidate = byId.get(id);
      return candidate ? [asked(candidate)] : [];
    });
  }

  async #askAll(): Promise<void> {
    const { logger, closing } = this.#context;
    this.#asking = true;
    try {
      while (this.#due.size > 0 && !closing()) await this.#round();
    } catch (error) {
      // The renewal says within 3 s whether work waits.
      const level = isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED") ? "warn" : "error";
      logger[level]({ error }, "claiming stopped");
    } finally {
      this.#asking = false;
    }
  }

  /** Everyone whose turn it is, once. */
  async #round(): Promise<void> {
    const { store, ownership, clock, random, workers, metrics } = this.#context;
    const left = new Set<string>();
    for (const id of this.#due) {
      const record = workers.get(id);
      if (!record || !mayAsk(record)) continue;
      if (record.asking.size > 0 && freeOf(record).slots === 0) this.#missed.add(id);
      else left.add(id);
    }
    this.#due.clear();
    while (left.size > 0) {
      const session = ownership.session;
      const candidates = [...left].flatMap((id) => {
        const record = workers.get(id);
        return record ? [{ record, free: freeOf(record) }] : [];
      });
      const slots = this.#take(candidates, 0);
      if (slots.length === 0 || !session) return;
      for (const slot of slots) left.delete(slot.worker);
      const request = { opId: random.id(), session, workers: slots };
      let assignments: Assignment[] = [];
      try {
        const scope = { clock, random, goOn: () => ownership.session === session };
        const answer = await untilAnswered(scope, () => store.claim(request));
        if ("status" in answer) return ownership.suspect();
        assignments = answer.assignments;
      } finally {
        this.answered(slots, assignments);
      }
      metrics.count("hodei_scheduler_claims_total", { result: assignments.length > 0 ? "work" : "empty" });
    }
  }
}

/** The worker's place in a question; what it offers is spoken for until the answer. */
function asked({ record, free }: Candidate): WorkerSlot {
  const slot = slotOf(record, free);
  record.asking.add(slot);
  record.questions += 1;
  return slot;
}

function mayAsk(record: WorkerRecord): boolean {
  return hears(record) && record.state === "available";
}

function subtract(from: Free, of: Resources): void {
  from.slots -= 1;
  for (const name of RESOURCES) from[name] -= of[name];
}

function exceeds(free: Free, than: Free): boolean {
  return free.slots > 0 && RESOURCES.some((name) => free[name] > than[name]);
}
