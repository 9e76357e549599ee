import type { ExecutionHead, ExecutionRecord, Fence } from "../store/store.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import type { HistoryEvent } from "../workflow/event.ts";
import type { Execution } from "../workflow/execution.ts";
import { fold } from "../workflow/fold.ts";
import type { Message, Transition } from "../workflow/message.ts";
import { transition } from "../workflow/transition.ts";
import type { Actor } from "./actor.ts";
import { dropState } from "./actor.ts";
import type { Definitions } from "./definitions.ts";
import type { ExecutorHooks, ExecutorOptions } from "./executor.ts";
import type { Committed, Envelope } from "./mailbox.ts";
import type { Quarantine } from "./quarantine.ts";
import { isQueueTimer, judgeQueueTimer } from "./queue-timeout.ts";
import { untilAnswered } from "./retry.ts";
import type { Loaded } from "./turn.ts";
import { CONTINUE_TIMER, headOf, snapshotFor, TurnDraft, usesOf } from "./turn.ts";

/** A turn made in memory, ready to be committed. */
export type Turn = {
  draft: TurnDraft;
  head: ExecutionHead;
  expectedRevision: number;
  snapshot?: string;
  /** Whether the execution was open when the turn began; undefined when it did not exist. */
  wasOpen?: boolean;
  /** The start that creates the execution in this turn. */
  creation?: Envelope;
};

const NOTHING: Transition = {
  events: [],
  enqueue: [],
  cancel: [],
  timers: [],
  clearTimers: [],
  outbox: [],
  releaseWorkspaces: [],
  more: false,
};

type Progress = {
  actor: Actor;
  fence: Fence;
  draft: TurnDraft;
  creation?: Envelope;
  /** The state was read from the store for this very turn. */
  fresh: boolean;
  wasOpen: boolean;
  /** Head before the transition that did not fit any more. */
  headBefore?: ExecutionHead;
};

/** Loads executions and advances them by messages; answers what is refused at once. Nothing is written here. */
export class Folder {
  readonly #options: ExecutorOptions;
  readonly #quarantine: Quarantine;
  readonly #definitions: Definitions;

  constructor(options: ExecutorOptions, quarantine: Quarantine, definitions: Definitions) {
    this.#options = options;
    this.#quarantine = quarantine;
    this.#definitions = definitions;
  }

  /**
   * The turn that these messages make, or undefined when nothing is to be committed (all were answered, or put back into
   * the mailbox because the state has to be read again).
   */
  async fold(actor: Actor, fence: Fence, batch: Envelope[]): Promise<Turn | undefined> {
    const { ownership } = this.#options;
    const draft = new TurnDraft();
    // A start is tried without reading first: a new execution costs one store call, an existing one a CONFLICT.
    const creates = batch[0]?.opening !== undefined && !actor.exists;
    const fresh = actor.state === undefined;
    if (fresh && !creates && !(await this.#load(actor, fence, batch))) return undefined;
    const wasOpen = actor.state?.execution.state === "running";
    const progress: Progress = { actor, fence, draft, fresh, wasOpen: actor.carried?.wasOpen ?? wasOpen };
    if (actor.carried && actor.state) {
      draft.add(actor.carried.envelope, actor.carried.transition, sourceOf(actor.state));
      actor.carried = undefined;
    }
    for (let index = 0; index < batch.length; index += 1) {
      let judged = batch[index]!;
      if (actor.state && isQueueTimer(judged.fire)) {
        judged = await this.#judged(actor.state, fence, judged);
        if (!ownership.holds(fence)) {
          actor.mailbox.putBack([...draft.envelopes, ...batch.slice(index)]);
          return undefined;
        }
      }
      const step = this.#take(progress, judged);
      if (step === "folded") continue;
      actor.mailbox.putBack(batch.slice(step === "carried" || step === "dropped" ? index + 1 : index));
      if (step === "dropped") actor.mailbox.putBack(draft.envelopes);
      if (step === "dropped") return undefined;
      break;
    }
    return this.#turn(progress);
  }

  async #judged(state: Loaded, fence: Fence, envelope: Envelope): Promise<Envelope> {
    const { store, hooks, clock, random, ownership } = this.#options;
    const templateMismatches: ExecutorHooks["templateMismatches"] = (requirement) =>
      hooks.templateMismatches(requirement);
    const scope = { clock, random, goOn: () => ownership.holds(fence) };
    try {
      return await untilAnswered(scope, () => judgeQueueTimer(envelope, { state, store, templateMismatches }));
    } catch (error) {
      // The shard went while the store was away: whoever asked for this turn turns it away.
      if (ownership.holds(fence) || !isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) throw error;
      return envelope;
    }
  }

  #turn(progress: Progress): Turn | undefined {
    const { actor, draft, creation } = progress;
    const state = actor.state;
    if (!state || draft.envelopes.length === 0) return undefined;
    if (draft.empty && !progress.fresh) {
      // Nothing to commit, so nothing would tell that our memory is ahead of a store that lost its tail: who repeats a
      // start or an end, and is told that it was taken, never says it again. Rare, so the store is asked.
      dropState(actor);
      actor.mailbox.putBack(draft.envelopes);
      return undefined;
    }
    if (draft.empty) {
      for (const envelope of draft.envelopes) envelope.done(committed(state.execution, state.revision, false));
      return undefined;
    }
    const snapshot = progress.headBefore ? undefined : snapshotFor(state, draft);
    return {
      draft,
      head: progress.headBefore ?? headOf(state),
      expectedRevision: state.revision,
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(creation ? { creation } : { wasOpen: progress.wasOpen }),
    };
  }

  /**
   * `folded`: go on. `unread`: this one needs the stored state, which was not read. `carried`: advanced, but for the next
   * commit. `dropped`: the state in memory is spoilt; it was given up and this envelope answered.
   */
  #take(progress: Progress, envelope: Envelope): "folded" | "unread" | "carried" | "dropped" {
    const { actor, draft } = progress;
    const state = actor.state;
    if (!state) return envelope.opening ? this.#create(progress, envelope) : "unread";
    if (envelope.opening && envelope.message?.kind === "start") {
      if (envelope.message.start.requestDigest === state.execution.requestDigest) {
        // One that ended before this turn tells its parent again, once; one that ends in it is telling it anyway.
        const tells = !progress.wasOpen && progress.creation === undefined && draft.outbox.length === 0;
        if (tells) return this.#advance(progress, state, envelope, envelope.message);
        draft.add(envelope, NOTHING, sourceOf(state));
        return "folded";
      }
      const message = `execution ${actor.id} exists and was started by another request`;
      envelope.done(failed(new HodeiError("ALREADY_EXISTS", message, { field: "id" })));
      return "folded";
    }
    if (envelope.take !== undefined && !progress.wasOpen && state.revision > 0) {
      // With the end all its jobs and their outcomes left the store.
      envelope.done(committed(state.execution, state.revision, false));
      return "folded";
    }
    const message = relevant(envelope, state, this.#options.time.now());
    if (message === "answered") return "folded";
    if (message === undefined) {
      draft.add(envelope, NOTHING, sourceOf(state));
      return "folded";
    }
    return this.#advance(progress, state, envelope, message);
  }

  #create(progress: Progress, envelope: Envelope): "folded" | "dropped" {
    const { actor, draft } = progress;
    const { opening, message } = envelope;
    if (!opening || message?.kind !== "start") throw new HodeiError("INTERNAL", "a start without its definition");
    try {
      const made = transition(opening.definition, undefined, message, this.#context(actor));
      if (!made.execution) throw new HodeiError("INTERNAL", "a start made no execution");
      actor.state = {
        definition: opening.definition,
        execution: made.execution,
        revision: 0,
        shard: actor.shard,
        uses: usesOf(made.execution),
        timers: new Map(),
        eventsSince: 0,
        bytesSince: 0,
        snapshotBytes: 0,
      };
      draft.add(envelope, made.transition, sourceOf(actor.state));
      keepTimers(actor.state, made.transition);
      progress.creation = envelope;
      return "folded";
    } catch (error) {
      // There is nothing yet that could be quarantined: whoever asked is told, as for every refused start.
      envelope.done(failed(refusal(error)));
      this.#log(actor, error);
      dropState(actor);
      return "dropped";
    }
  }

  #advance(progress: Progress, state: Loaded, envelope: Envelope, message: Message): "folded" | "carried" | "dropped" {
    const { actor, draft } = progress;
    const { state: stateBefore, gate, endedAtMs } = state.execution;
    try {
      const made = transition(state.definition, state.execution, message, this.#context(actor));
      if (made.execution) state.execution = made.execution;
      this.#options.metrics.count("hodei_engine_messages_total", { kind: message.kind });
      if (envelope.settle && made.transition.events.length === 0) {
        // The attempt is over for this execution; whether the token still counts is for the store to say.
        envelope.done({ status: "report" });
        return "folded";
      }
      keepTimers(state, made.transition);
      if (draft.isFullFor(made.transition)) {
        progress.headBefore = headOf(state, { state: stateBefore, gate, endedAtMs });
        actor.carried = { envelope, transition: made.transition, wasOpen: stateBefore === "running" };
        return "carried";
      }
      draft.add(envelope, made.transition, sourceOf(state));
      return "folded";
    } catch (error) {
      return this.#refused(progress, state, envelope, error);
    }
  }

  #refused(progress: Progress, state: Loaded, envelope: Envelope, error: unknown): "folded" | "dropped" {
    const { actor, draft } = progress;
    const asked = envelope.take ?? envelope.settle ?? envelope.fire ?? envelope.outboxDone;
    if (isHodeiError(error) && error.code !== "INTERNAL" && error.code !== "DATA_CORRUPT") {
      // A refusal (CLOSED, …) changes nothing: it is decided before anything is folded.
      if (asked === undefined) envelope.done(failed(error));
      else if (envelope.settle) envelope.done({ status: "report" });
      else draft.add(envelope, NOTHING, sourceOf(state));
      return "folded";
    }
    // A defect. From a caller's message it costs that call; from anything that would come again, the execution stops.
    this.#log(actor, error);
    dropState(actor);
    if (asked === undefined && envelope.message?.kind !== "continue") envelope.done(failed(refusal(error)));
    else envelope.done(failed(this.#quarantine.add(actor, error)));
    return "dropped";
  }

  /** False when there is nothing to fold: the shard is gone, the execution is unknown (all answered) or broken. */
  async #load(actor: Actor, fence: Fence, batch: Envelope[]): Promise<boolean> {
    const { store, clock, random, ownership } = this.#options;
    const scope = { clock, random, goOn: () => ownership.holds(fence) };
    try {
      const read = { namespace: actor.namespace, id: actor.id, fence };
      const record = await untilAnswered(scope, () => store.readExecution(read));
      if (record?.status === "FENCED") ownership.fenced(fence);
      if (record?.status === "FENCED" || !ownership.holds(fence)) {
        actor.mailbox.putBack(batch);
        return false;
      }
      actor.exists = record !== undefined;
      if (record) {
        actor.state = loadedFrom(record, actor.shard, this.#definitions);
        return true;
      }
      return this.#unknown(actor, batch);
    } catch (error) {
      if (isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) {
        actor.mailbox.putBack(batch);
        return false;
      }
      const refused = this.#quarantine.add(actor, error);
      for (const envelope of batch) envelope.done(failed(refused));
      return false;
    }
  }

  /** No such execution: everything but a start that waits behind is answered. */
  #unknown(actor: Actor, batch: Envelope[]): false {
    const error = new HodeiError("NOT_FOUND", `no execution ${actor.id}`);
    const start = batch.findIndex((envelope) => envelope.opening !== undefined);
    const unknown = start < 0 ? batch : batch.slice(0, start);
    for (const envelope of unknown) envelope.done(envelope.settle ? { status: "report" } : failed(error));
    if (start >= 0) actor.mailbox.putBack(batch.slice(start));
    return false;
  }

  #context(actor: Actor): { nowMs: number; random: number; shard: number } {
    return { nowMs: this.#options.time.now(), random: this.#options.random.float(), shard: actor.shard };
  }

  #log(actor: Actor, error: unknown): void {
    const fields = { error, execution: actor.id, namespace: actor.namespace };
    if (isHodeiError(error) && error.code !== "INTERNAL") this.#options.logger.debug(fields, "message refused");
    else this.#options.logger.error(fields, "the transition threw");
  }
}

/** The message to fold, undefined when only the store's lists are concerned, or "answered" when nothing is. */
function relevant(envelope: Envelope, state: Loaded, nowMs: number): Message | undefined | "answered" {
  if (envelope.uid !== undefined && envelope.uid !== state.execution.uid) {
    if (envelope.take !== undefined) return undefined;
    envelope.done({ status: "report" });
    return "answered";
  }
  if (envelope.fire !== undefined) {
    const atMs = state.timers.get(envelope.fire);
    // Cleared or moved since it was armed; an unknown one would make the whole turn a CONFLICT.
    if (atMs === undefined) envelope.done(committed(state.execution, state.revision, false));
    else if (atMs > nowMs) envelope.done({ status: "early", byMs: atMs - nowMs });
    if (atMs === undefined || atMs > nowMs) return "answered";
    state.timers.delete(envelope.fire);
  }
  return envelope.message;
}

function loadedFrom(record: ExecutionRecord, shard: number, definitions: Definitions): Loaded {
  const source = record.definitions[record.head.digest];
  if (source === undefined) {
    throw new HodeiError(
      "DATA_CORRUPT",
      `the definition ${record.head.digest} of execution ${record.head.id} is missing`,
    );
  }
  const snapshot = record.snapshot ? (JSON.parse(record.snapshot.text) as Execution) : undefined;
  const events = record.events.map((text) => JSON.parse(text) as HistoryEvent);
  return {
    definition: definitions.read(record.head.digest, source),
    execution: fold(events, snapshot),
    revision: record.head.revision,
    shard,
    uses: record.head.uses,
    timers: new Map(record.timers.map((timer) => [timer.id, timer.atMs])),
    eventsSince: events.length,
    bytesSince: record.events.reduce((sum, text) => sum + text.length, 0),
    snapshotBytes: record.snapshot?.text.length ?? 0,
  };
}

function keepTimers(state: Loaded, made: Transition): void {
  for (const id of made.clearTimers) state.timers.delete(id);
  for (const timer of made.timers) state.timers.set(timer.id, timer.atMs);
  if (made.more) state.timers.set(CONTINUE_TIMER, 1);
}

function sourceOf(state: Loaded): { namespace: string; uid: string; revision: number } {
  return { namespace: state.execution.namespace, uid: state.execution.uid, revision: state.revision + 1 };
}

export function committed(of: Execution, revision: number, created: boolean): Committed {
  const { uid, version, digest } = of;
  return { status: "committed", revision, uid, version, digest, created };
}

export function failed(error: HodeiError): { status: "failed"; error: HodeiError } {
  return { status: "failed", error };
}

function refusal(error: unknown): HodeiError {
  if (isHodeiError(error)) return error;
  return new HodeiError("INTERNAL", "the execution could not take this message; the engine's log has the cause", {
    cause: error,
  });
}
