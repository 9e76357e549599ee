import type { Fence, TurnAnswer, TurnRequest, WorkerSlot } from "../store/store.ts";
import { fullJitterMs } from "../base/backoff.ts";
import { HodeiError, isHodeiError, toHodeiError } from "../workflow/errors.ts";
import type { Actor } from "./actor.ts";
import { dropState } from "./actor.ts";
import { outcomesOfWithdrawn } from "./cancelled.ts";
import type { ExecutorOptions } from "./executor.ts";
import type { Turn } from "./folding.ts";
import { committed, failed } from "./folding.ts";
import type { InboxEntries } from "./entries.ts";
import type { Envelope } from "./mailbox.ts";
import type { Quarantine } from "./quarantine.ts";
import { untilAnswered } from "./retry.ts";
import { CONTINUE_TIMER } from "./turn.ts";

/** Conflicts in a row that reading again explains; beyond it we and the store disagree for good. */
const CONFLICTS_BOUND = 20;
const CONFLICT_BACKOFF = { initialMs: 1, maxMs: 500 };

/** Takes turns through the store, and gives every message of a turn its answer. */
export class Committer {
  readonly #options: ExecutorOptions;
  readonly #quarantine: Quarantine;
  readonly #entries: InboxEntries;
  #operations = 0;
  readonly #put: (actor: Actor, envelope: Envelope) => void;

  constructor(
    options: ExecutorOptions,
    parts: { quarantine: Quarantine; entries: InboxEntries; put: (actor: Actor, envelope: Envelope) => void },
  ) {
    this.#options = options;
    this.#quarantine = parts.quarantine;
    this.#entries = parts.entries;
    this.#put = parts.put;
  }

  async commit(actor: Actor, fence: Fence, turn: Turn): Promise<void> {
    const { store, clock, random, ownership, hooks, metrics } = this.#options;
    const claimFor = turn.draft.claims ? hooks.offer(turn.draft.settled) : [];
    // Unique as its session is: an id of its own was a microsecond and twice the length in what the store remembers.
    this.#operations += 1;
    const opId = `${fence.session}/${this.#operations.toString(36)}`;
    const request = turn.draft.request({ ...turn, opId, fence, claimFor });
    const startedMs = clock.monotonic();
    let answer: TurnAnswer;
    try {
      answer = await untilAnswered({ clock, random, goOn: () => ownership.holds(fence) }, () => store.turn(request));
    } catch (error) {
      hooks.assigned(claimFor, []);
      return this.#thrown(actor, fence, turn, error);
    }
    metrics.observe("hodei_engine_turn_duration_seconds", (clock.monotonic() - startedMs) / 1000);
    metrics.count("hodei_engine_turns_total", { status: answer.status });
    if (answer.status !== "OK" && answer.status !== "DUPLICATE") hooks.assigned(claimFor, []);
    switch (answer.status) {
      case "OK":
      case "DUPLICATE":
        return this.#done(actor, fence, turn, { request, answer, claimFor });
      case "FENCED":
        ownership.fenced(fence);
        return this.#turnAway(actor, turn);
      case "CONFLICT":
        return await this.#conflict(actor, turn, answer);
      case "EARLY":
        return this.#early(actor, turn, answer.byMs);
      default:
        return answer satisfies never;
    }
  }

  #done(
    actor: Actor,
    fence: Fence,
    turn: Turn,
    about: {
      request: TurnRequest;
      answer: Extract<TurnAnswer, { status: "OK" | "DUPLICATE" }>;
      claimFor: WorkerSlot[];
    },
  ): void {
    const { hooks, time, ownership } = this.#options;
    const { draft, creation } = turn;
    const { answer } = about;
    time.observe(answer.nowMs);
    actor.exists = true;
    actor.conflicts = 0;
    const state = actor.state;
    if (!state) throw new HodeiError("INTERNAL", "a turn was committed for an execution that is not loaded");
    const execution = state.execution;
    state.revision = answer.revision;
    const snapshot = turn.snapshot;
    state.eventsSince = snapshot === undefined ? state.eventsSince + draft.events : 0;
    state.bytesSince = snapshot === undefined ? state.bytesSince + draft.bytes : 0;
    state.snapshotBytes = snapshot === undefined ? state.snapshotBytes : snapshot.length;
    hooks.assigned(about.claimFor, answer.assignments);
    if (draft.cancelled.size > 0) hooks.cancelled(draft.cancelled);
    if (about.request.enqueue.length > answer.assignments.length) hooks.unmatched();
    for (const envelope of draft.envelopes) {
      envelope.done(committed(execution, answer.revision, envelope === creation));
    }
    this.#lifecycle(turn);
    // Lost while the commit was under way: it counts, but what follows from it is the next owner's.
    if (!ownership.holds(fence)) return dropState(actor);
    const fired = about.request.fire.filter((id) => !draft.timers.has(id));
    if (turn.head.state === "running") {
      hooks.timers(actor, draft.timers, fired.length === 0 ? draft.cleared : [...draft.cleared, ...fired]);
    } else {
      // The store cleared all of them with the end.
      hooks.timers(actor, new Map(), [...state.timers.keys(), ...draft.cleared, ...fired]);
      state.timers.clear();
    }
    if (draft.outbox.length > 0) hooks.outbox(actor, draft.outbox);
    if (draft.cancelled.size > 0 && turn.head.state === "running") this.#followCancelled(actor, fence, turn);
    if (!draft.more) return;
    this.#put(actor, { message: { kind: "continue" }, fire: CONTINUE_TIMER, done: () => {} });
  }

  #followCancelled(actor: Actor, fence: Fence, turn: Turn): void {
    const { ownership, logger, time } = this.#options;
    const about = { ...this.#options, holds: (of: Fence) => ownership.holds(of), nowMs: time.now() };
    const of = { namespace: actor.namespace, id: actor.id, uid: turn.head.uid, fence, cancelled: turn.draft.cancelled };
    outcomesOfWithdrawn(about, of)
      .then((envelopes) => envelopes.forEach((envelope) => this.#put(actor, envelope)))
      .catch((error: unknown) => logger.warn({ error, execution: actor.id }, "cancelled jobs were not looked up"));
  }

  #lifecycle(turn: Turn): void {
    const { hooks, emit, logger } = this.#options;
    const { head, creation } = turn;
    const fields = { execution: head.id, namespace: head.namespace, shard: head.shard };
    const details = { executionId: head.id, facts: { workflow: head.workflow, version: head.version } };
    const open = head.state === "running";
    if (creation) {
      logger.info(fields, "execution started");
      emit("ExecutionStarted", `${head.workflow}@${head.version} started`, details);
    }
    if (open && turn.wasOpen !== true) hooks.opened(head.shard, 1);
    if (!open && turn.wasOpen === true) hooks.opened(head.shard, -1);
    if (open || turn.wasOpen === false) return;
    logger.info({ ...fields, state: head.state }, "execution ended");
    emit("ExecutionEnded", `${head.workflow}@${head.version} ${head.state}`, details);
  }

  /** Somebody else wrote, or an outcome came first: read again, fold those outcomes first, then what was in flight. */
  async #conflict(actor: Actor, turn: Turn, answer: Extract<TurnAnswer, { status: "CONFLICT" }>): Promise<void> {
    const claimed = new Set(answer.claimed);
    const again = turn.draft.envelopes.flatMap((envelope) => {
      if (envelope.settle) {
        // Whether the token still counts is what we may have been wrong about: let the store judge it by itself.
        envelope.done({ status: "report" });
        return [];
      }
      // The queue timeout of a job that was claimed meanwhile: the timer is over, the job goes on.
      const withdrew = turn.draft.withdrawnBy(envelope).some((id) => claimed.has(id));
      return [withdrew ? { ...envelope, message: undefined } : envelope];
    });
    const first = answer.outcomes.flatMap((entry) => this.#entries.admit(entry) ?? []);
    dropState(actor);
    actor.exists = true;
    actor.conflicts += 1;
    // An entry that left the inbox behind our back conflicts for ever: give up ours, the inbox is read again.
    const giveUp = actor.conflicts > 2;
    actor.mailbox.putBack([...first, ...again.filter((envelope) => !giveUp || envelope.take === undefined)]);
    const error = new HodeiError("CONFLICT", "the outcome could not be taken");
    for (const envelope of again) if (giveUp && envelope.take !== undefined) envelope.done(failed(error));
    this.#options.logger.debug(
      { execution: actor.id, conflicts: actor.conflicts },
      "the record moved on; reading again",
    );
    if (actor.conflicts > CONFLICTS_BOUND) {
      throw new HodeiError("CONFLICT", `${actor.conflicts} commits in a row found another revision than was read`);
    }
    const { clock, random } = this.#options;
    if (actor.conflicts > 1) await clock.sleep(fullJitterMs(actor.conflicts, random.float(), CONFLICT_BACKOFF));
  }

  #early(actor: Actor, turn: Turn, byMs: number): void {
    dropState(actor);
    const others = turn.draft.envelopes.filter((envelope) => envelope.fire === undefined);
    actor.mailbox.putBack(others);
    for (const envelope of turn.draft.envelopes)
      if (envelope.fire !== undefined) envelope.done({ status: "early", byMs });
  }

  #turnAway(actor: Actor, turn: Turn): void {
    dropState(actor);
    const error = new HodeiError("NOT_OWNER", `shard ${actor.shard} is not owned here`);
    for (const envelope of turn.draft.envelopes) {
      envelope.done(envelope.settle ? { status: "report" } : failed(error));
    }
  }

  #thrown(actor: Actor, fence: Fence, turn: Turn, error: unknown): void {
    // Unanswered to the end of our ownership: the callers repeat it elsewhere, under the same ids.
    if (!this.#options.ownership.holds(fence) || isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) {
      return this.#turnAway(actor, turn);
    }
    dropState(actor);
    const envelopes = turn.draft.envelopes;
    const [only] = envelopes;
    if (only && envelopes.length === 1) {
      const asked = only.take ?? only.settle ?? only.fire ?? only.outboxDone;
      const kept = asked !== undefined || only.message?.kind === "continue";
      return only.done(failed(kept ? this.#quarantine.add(actor, error) : toHodeiError(error)));
    }
    // The store refuses the whole: each alone, so that one message that is too large fails by itself.
    actor.alone = envelopes.length;
    actor.mailbox.putBack(envelopes);
  }
}
