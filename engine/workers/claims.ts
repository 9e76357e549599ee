import type { Assignment, WorkerSlot } from "../../store/store.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import { untilAnswered } from "../retry.ts";
import { CLAIM_WORKERS, plan } from "../scheduler/plan.ts";
import type { WorkerSnapshot } from "../scheduler/snapshot.ts";
import type { WorkersContext } from "./context.ts";
import type { WorkerRecord } from "./record.ts";
import { hears, slotOf, snapshotOf } from "./record.ts";

/** A turn offers the best of so many idle workers; with a thousand idle ones, ranking all in each turn would cost more. */
const CANDIDATES = 64;

/**
 * Asks the store for jobs. A worker stands in one question at a time, else two answers could fill the same slot: that is
 * what `offered` guards. Questions are asked when something changed (a worker came or fell idle, a hint of work), never
 * on a clock; what got nothing is parked in the store, which hints when work comes.
 */
export class Claims {
  readonly #context: WorkersContext;
  readonly #dispatch: (assignment: Assignment) => void;
  #rotation = 0;
  /** Who is to ask in the next round. */
  readonly #due = new Set<string>();
  /** Those of whom it came due while they stood in another question. */
  readonly #missed = new Set<string>();
  #asking = false;

  constructor(context: WorkersContext, dispatch: (assignment: Assignment) => void) {
    this.#context = context;
    this.#dispatch = dispatch;
  }

  /** The workers that ask in a store call that is made anyway. Each `offer` must be closed by one `answered`. */
  offer(settled: readonly string[]): WorkerSlot[] {
    const first = new Set<string>();
    if (settled.length > 0) {
      for (const jobId of settled) {
        const holder = this.#context.holders.get(jobId);
        if (holder !== undefined) first.add(holder);
      }
    }
    return this.#take(this.#candidates(first), first);
  }

  answered(slots: readonly WorkerSlot[], assignments: readonly Assignment[]): void {
    const again: string[] = [];
    for (const slot of slots) {
      const record = this.#context.workers.get(slot.worker);
      if (record) record.offered = false;
      if (this.#missed.delete(slot.worker)) again.push(slot.worker);
    }
    for (const assignment of assignments) this.#dispatch(assignment);
    if (again.length > 0) this.ask(again);
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

  #candidates(first: ReadonlySet<string>): WorkerSnapshot[] {
    const nowMs = this.#context.clock.monotonic();
    const found: WorkerSnapshot[] = [];
    for (const id of first) {
      const record = this.#context.workers.get(id);
      if (record) found.push(snapshotOf(record, nowMs));
    }
    for (const record of this.#context.workers.values()) {
      if (found.length >= CANDIDATES) break;
      if (!first.has(record.id) && mayAsk(record)) found.push(snapshotOf(record, nowMs));
    }
    return found;
  }

  #take(candidates: readonly WorkerSnapshot[], first?: ReadonlySet<string>): WorkerSlot[] {
    const { closing, ownership, strategy, workers } = this.#context;
    if (closing() || !ownership.session) return [];
    this.#rotation += 1;
    const about = { strategy, rotation: this.#rotation, limit: CLAIM_WORKERS, ...(first ? { first } : {}) };
    return plan(candidates, about).flatMap((id) => {
      const record = workers.get(id);
      if (!record) return [];
      record.offered = true;
      record.askedSince = true;
      return [slotOf(record)];
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
      if (record?.offered) this.#missed.add(id);
      else if (record && mayAsk(record)) left.add(id);
    }
    this.#due.clear();
    while (left.size > 0) {
      const session = ownership.session;
      const nowMs = clock.monotonic();
      const candidates = [...left].flatMap((id) => {
        const record = workers.get(id);
        return record ? [snapshotOf(record, nowMs)] : [];
      });
      const slots = this.#take(candidates);
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

function mayAsk(record: WorkerRecord): boolean {
  return hears(record) && record.state === "available" && !record.offered;
}
