import type { ExecutionHead, Fence, OutboxEntry, TurnRequest, WorkerSlot } from "../store/store.ts";
import type { Definition } from "../workflow/definition.ts";
import type { Execution } from "../workflow/execution.ts";
import type { Job } from "../workflow/job.ts";
import { LIMITS } from "../workflow/limits.ts";
import type { Transition } from "../workflow/message.ts";
import type { Envelope } from "./mailbox.ts";
import { isQueueTimer } from "./queue-timeout.ts";

/** An execution in memory: what `transition` advances and what the next commit is measured against. */
export type Loaded = {
  definition: Definition;
  execution: Execution;
  revision: number;
  shard: number;
  /** "name@version" of everything locked. */
  uses: string[];
  /** Those that the store holds, by id: firing one that it does not hold is a CONFLICT. */
  timers: Map<string, number>;
  /** Since the last snapshot, to decide on the next one. */
  eventsSince: number;
  bytesSince: number;
  snapshotBytes: number;
};

/**
 * Work that a transition left over ("more") must survive a crash between two turns, else nothing would ever go on: this
 * timer is set in the same commit, long due, and fired by the `continue` turn. Cheaper than looking at every open
 * execution when a shard is taken over.
 */
export const CONTINUE_TIMER = "~continue";
/** Fewer events than this are folded in less time than a snapshot takes to write. */
const SNAPSHOT_EVENTS = 100;
/** Bytes of events per byte of the snapshot before. */
const SNAPSHOT_BYTES = 4;

const NO_TIMERS: ReadonlyMap<string, number> = new Map();
const NONE: ReadonlySet<string> = new Set();

/**
 * What one commit will hold: the transitions of several messages, one after the other. Most hold one transition with a job
 * and a timer, so that the sets are made when something comes into them: all of them were 2 KB of garbage per commit.
 */
export class TurnDraft {
  readonly envelopes: Envelope[] = [];
  readonly #events: string[] = [];
  readonly #take: string[] = [];
  readonly #settle: { jobId: string; token: string }[] = [];
  readonly #fire: string[] = [];
  readonly #outboxDone: string[] = [];
  #definitions: Record<string, string> | undefined;
  readonly #enqueue: Job[] = [];
  #cancel: Set<string> | undefined;
  /** Made and unmade within this commit: the store never hears of them, but their iterations wait for a last word. */
  #unmade: Set<string> | undefined;
  /** Those of `#cancel` whose results must not be taken any more. */
  #revoke: Set<string> | undefined;
  #withdraw: Map<string, Envelope> | undefined;
  #timers: Map<string, number> | undefined;
  #clear: Set<string> | undefined;
  readonly #outbox: OutboxEntry[] = [];
  #release: Set<string> | undefined;
  #bytes = 0;
  #more = false;

  get empty(): boolean {
    const lists = [this.#events, this.#take, this.#settle, this.#fire, this.#outbox, this.#outboxDone];
    return lists.every((list) => list.length === 0);
  }
  get events(): number {
    return this.#events.length;
  }
  get bytes(): number {
    return this.#bytes;
  }
  get more(): boolean {
    return this.#more;
  }
  /** Jobs that ended with outcomes of our own workers. */
  get settled(): readonly { jobId: string }[] {
    return this.#settle;
  }
  /** Jobs that this commit makes or settles: there may be work for idle workers in the same call. */
  get claims(): boolean {
    return this.#enqueue.length > 0 || this.#settle.length > 0;
  }
  get timers(): ReadonlyMap<string, number> {
    return this.#timers ?? NO_TIMERS;
  }
  get cleared(): ReadonlySet<string> {
    return this.#clear ?? NONE;
  }
  get outbox(): readonly OutboxEntry[] {
    return this.#outbox;
  }
  /** Jobs that were told to stop, those that never came to the store among them. */
  get cancelled(): ReadonlySet<string> {
    const cancel = this.#cancel ?? NONE;
    return this.#unmade ? new Set([...cancel, ...this.#unmade]) : cancel;
  }

  /** The jobs that this message withdraws from the queue. */
  withdrawnBy(envelope: Envelope): string[] {
    return [...(this.#withdraw ?? [])].filter(([, by]) => by === envelope).map(([id]) => id);
  }

  /** Whether the transition must wait for the next commit, by the published bounds. The first one always fits. */
  isFullFor(transition: Transition): boolean {
    if (this.envelopes.length === 0) return false;
    const entries = this.#enqueue.length + this.#outbox.length + transition.enqueue.length + transition.outbox.length;
    return entries > LIMITS.commitEntries || this.#bytes > LIMITS.commitBytes / 2;
  }

  /** `revision` is the one that this commit will have: outbox ids sort in the order of their making. */
  add(envelope: Envelope, transition: Transition, source: { namespace: string; uid: string; revision: number }): void {
    this.#addEnvelope(envelope);
    for (const event of transition.events) this.#text(JSON.stringify(event));
    for (const job of transition.enqueue) this.#enqueue.push(job);
    for (const id of transition.cancel) this.#cancelJob(id, envelope);
    for (const id of transition.revoke ?? []) if (this.#cancel?.has(id)) (this.#revoke ??= new Set()).add(id);
    for (const id of transition.clearTimers) {
      this.#timers?.delete(id);
      (this.#clear ??= new Set()).add(id);
    }
    for (const timer of transition.timers) this.#setTimer(timer.id, timer.atMs);
    for (const message of transition.outbox) {
      const id = `${source.uid}/${String(source.revision).padStart(10, "0")}/${this.#outbox.length}`;
      const text = JSON.stringify(message);
      this.#bytes += text.length;
      this.#outbox.push({ id, target: message.target, namespace: source.namespace, text });
    }
    for (const workspace of transition.releaseWorkspaces) (this.#release ??= new Set()).add(workspace);
    // Kept even when a later message of the same turn leaves nothing over: one `continue` too many changes nothing.
    this.#more ||= transition.more;
    if (this.#more) this.#setTimer(CONTINUE_TIMER, 1);
  }

  /** The request, built once: a repeat after UNAVAILABLE must be the same operation. */
  request(about: {
    opId: string;
    fence: Fence;
    head: ExecutionHead;
    expectedRevision: number;
    snapshot?: string;
    claimFor: WorkerSlot[];
  }): TurnRequest {
    const { opId, fence, head, expectedRevision, snapshot, claimFor } = about;
    const revoke = this.#revoke;
    const timers: TurnRequest["timers"] = [];
    for (const [id, atMs] of this.timers) timers.push({ id, atMs });
    const request: TurnRequest = {
      opId,
      fence,
      namespace: head.namespace,
      id: head.id,
      expectedRevision,
      events: this.#events,
      head,
      take: this.#take,
      settle: this.#settle,
      enqueue: this.#enqueue,
      cancel: [...(this.#cancel ?? NONE)].filter((id) => !revoke?.has(id)),
      revoke: [...(revoke ?? NONE)],
      withdraw: [...(this.#withdraw?.keys() ?? NONE)],
      timers,
      clearTimers: [...this.cleared],
      fire: this.#fire,
      outbox: this.#outbox,
      outboxDone: this.#outboxDone,
      releaseWorkspaces: [...(this.#release ?? NONE)],
      claimFor,
    };
    if (snapshot !== undefined) request.snapshot = snapshot;
    if (expectedRevision === 0 && this.#definitions) request.definitions = this.#definitions;
    return request;
  }

  #addEnvelope(envelope: Envelope): void {
    const { take, settle, fire, outboxDone, opening } = envelope;
    this.envelopes.push(envelope);
    if (take !== undefined) this.#take.push(take);
    if (settle !== undefined) this.#settle.push(settle);
    if (fire !== undefined) this.#fire.push(fire);
    if (outboxDone !== undefined) this.#outboxDone.push(outboxDone);
    if (opening) this.#definitions ??= opening.definitions;
  }

  #cancelJob(id: string, by: Envelope): void {
    const made = this.#enqueue.findIndex((job) => job.id === id);
    if (made >= 0) {
      this.#enqueue.splice(made, 1);
      (this.#unmade ??= new Set()).add(id);
    } else if (isQueueTimer(by.fire)) (this.#withdraw ??= new Map()).set(id, by);
    else (this.#cancel ??= new Set()).add(id);
  }

  #setTimer(id: string, atMs: number): void {
    (this.#timers ??= new Map()).set(id, atMs);
    this.#clear?.delete(id);
  }

  #text(event: string): void {
    this.#events.push(event);
    this.#bytes += event.length;
  }
}

/**
 * What list and get show. `revision` here is the expected one; the store sets its own. `was`: what a transition changes of
 * it, as it stood before one that is not in this commit.
 */
export function headOf(
  loaded: Loaded,
  was: Pick<Execution, "state" | "gate"> & { endedAtMs?: number | undefined } = loaded.execution,
): ExecutionHead {
  const of = loaded.execution;
  const head: ExecutionHead = {
    namespace: of.namespace,
    id: of.id,
    uid: of.uid,
    shard: loaded.shard,
    revision: loaded.revision,
    workflow: of.workflow,
    version: of.version,
    digest: of.digest,
    requestDigest: of.requestDigest,
    uses: loaded.uses,
    labels: of.labels,
    state: was.state,
    gate: was.gate,
    startedAtMs: of.startedAtMs,
  };
  if (of.parent) head.parent = of.parent;
  if (was.endedAtMs !== undefined) head.endedAtMs = was.endedAtMs;
  return head;
}

/**
 * The snapshot for this commit, if one is worth it: after 100 events, once four times as many bytes of events have
 * gathered as the last snapshot was long, and always at the end. So what is written of a 10,000-way step is 1.6 times its
 * last snapshot in all (at once as many bytes: 3.5 times, a sixteenth of its CPU; every 100 events: gigabytes), and
 * loading one folds a few megabytes at the most.
 */
export function snapshotFor(loaded: Loaded, draft: TurnDraft): string | undefined {
  if (draft.events === 0) return undefined;
  const ended = loaded.execution.state !== "running";
  const due =
    loaded.eventsSince + draft.events >= SNAPSHOT_EVENTS &&
    loaded.bytesSince + draft.bytes >= SNAPSHOT_BYTES * loaded.snapshotBytes;
  return ended || due ? JSON.stringify(loaded.execution) : undefined;
}

/** "name@version" of everything that an execution holds fast, itself included. */
export function usesOf(execution: Pick<Execution, "workflow" | "version" | "lock">): string[] {
  const locked = Object.values(execution.lock.entries).map((entry) => `${entry.name}@${entry.version}`);
  return [...new Set([`${execution.workflow}@${execution.version}`, ...locked])];
}
