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

/** What one commit will hold: the transitions of several messages, one after the other. */
export class TurnDraft {
  readonly envelopes: Envelope[] = [];
  readonly #events: string[] = [];
  readonly #enqueue = new Map<string, Job>();
  readonly #cancel = new Set<string>();
  /** Made and unmade within this commit: the store never hears of them, but their iterations wait for a last word. */
  readonly #unmade = new Set<string>();
  /** Those of `#cancel` whose results must not be taken any more. */
  readonly #revoke = new Set<string>();
  readonly #withdraw = new Map<string, Envelope>();
  readonly #timers = new Map<string, number>();
  readonly #clear = new Set<string>();
  readonly #outbox: OutboxEntry[] = [];
  readonly #release = new Set<string>();
  #bytes = 0;
  #more = false;

  get empty(): boolean {
    return this.#events.length === 0 && this.envelopes.every((envelope) => !touchesStore(envelope));
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
  /** Jobs that this commit makes or settles: there may be work for idle workers in the same call. */
  get claims(): boolean {
    return this.#enqueue.size > 0 || this.envelopes.some((envelope) => envelope.settle !== undefined);
  }
  get timers(): ReadonlyMap<string, number> {
    return this.#timers;
  }
  get cleared(): ReadonlySet<string> {
    return this.#clear;
  }
  get outbox(): readonly OutboxEntry[] {
    return this.#outbox;
  }
  /** Jobs that were told to stop, those that never came to the store among them. */
  get cancelled(): ReadonlySet<string> {
    return this.#unmade.size === 0 ? this.#cancel : new Set([...this.#cancel, ...this.#unmade]);
  }

  /** The jobs that this message withdraws from the queue. */
  withdrawnBy(envelope: Envelope): string[] {
    return [...this.#withdraw].filter(([, by]) => by === envelope).map(([id]) => id);
  }

  /** Whether the transition must wait for the next commit, by the published bounds. The first one always fits. */
  isFullFor(transition: Transition): boolean {
    if (this.envelopes.length === 0) return false;
    const entries = this.#enqueue.size + this.#outbox.length + transition.enqueue.length + transition.outbox.length;
    return entries > LIMITS.commitEntries || this.#bytes > LIMITS.commitBytes / 2;
  }

  /** `revision` is the one that this commit will have: outbox ids sort in the order of their making. */
  add(envelope: Envelope, transition: Transition, source: { namespace: string; uid: string; revision: number }): void {
    this.envelopes.push(envelope);
    for (const event of transition.events) this.#text(JSON.stringify(event));
    for (const job of transition.enqueue) this.#enqueue.set(job.id, job);
    for (const id of transition.cancel) {
      if (this.#enqueue.delete(id)) this.#unmade.add(id);
      else if (isQueueTimer(envelope.fire)) this.#withdraw.set(id, envelope);
      else this.#cancel.add(id);
    }
    for (const id of transition.revoke ?? []) if (this.#cancel.has(id)) this.#revoke.add(id);
    for (const id of transition.clearTimers) {
      this.#timers.delete(id);
      this.#clear.add(id);
    }
    for (const timer of transition.timers) {
      this.#timers.set(timer.id, timer.atMs);
      this.#clear.delete(timer.id);
    }
    for (const message of transition.outbox) {
      const id = `${source.uid}/${String(source.revision).padStart(10, "0")}/${this.#outbox.length}`;
      const text = JSON.stringify(message);
      this.#bytes += text.length;
      this.#outbox.push({ id, target: message.target, namespace: source.namespace, text });
    }
    for (const workspace of transition.releaseWorkspaces) this.#release.add(workspace);
    // Kept even when a later message of the same turn leaves nothing over: one `continue` too many changes nothing.
    this.#more ||= transition.more;
    if (this.#more) this.#timers.set(CONTINUE_TIMER, 1);
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
    const pick = <Part>(part: (envelope: Envelope) => Part | undefined): Part[] =>
      this.envelopes.map(part).filter((value) => value !== undefined);
    const definitions = pick((envelope) => envelope.opening?.definitions)[0];
    return {
      opId: about.opId,
      fence: about.fence,
      namespace: about.head.namespace,
      id: about.head.id,
      expectedRevision: about.expectedRevision,
      events: this.#events,
      head: about.head,
      ...(about.snapshot === undefined ? {} : { snapshot: about.snapshot }),
      ...(about.expectedRevision === 0 && definitions ? { definitions } : {}),
      take: pick((envelope) => envelope.take),
      settle: pick((envelope) => envelope.settle),
      enqueue: [...this.#enqueue.values()],
      cancel: [...this.#cancel].filter((id) => !this.#revoke.has(id)),
      revoke: [...this.#revoke],
      withdraw: [...this.#withdraw.keys()],
      timers: [...this.#timers].map(([id, atMs]) => ({ id, atMs })),
      clearTimers: [...this.#clear],
      fire: pick((envelope) => envelope.fire),
      outbox: this.#outbox,
      outboxDone: pick((envelope) => envelope.outboxDone),
      releaseWorkspaces: [...this.#release],
      claimFor: about.claimFor,
    };
  }

  #text(event: string): void {
    this.#events.push(event);
    this.#bytes += event.length;
  }
}

function touchesStore(envelope: Envelope): boolean {
  const { take, settle, fire, outboxDone } = envelope;
  return [take, settle, fire, outboxDone].some((part) => part !== undefined);
}

/** What list and get show. `revision` here is the expected one; the store sets its own. */
export function headOf(loaded: Loaded): ExecutionHead {
  const of = loaded.execution;
  return {
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
    state: of.state,
    gate: of.gate,
    ...(of.parent ? { parent: of.parent } : {}),
    startedAtMs: of.startedAtMs,
    ...(of.endedAtMs === undefined ? {} : { endedAtMs: of.endedAtMs }),
  };
}

/**
 * The snapshot for this commit, if one is worth it: after 100 events, once as many bytes of events have gathered as the
 * last snapshot was long (a 10,000-way step would otherwise write megabytes every 100 events), and always at the end.
 */
export function snapshotFor(loaded: Loaded, draft: TurnDraft): string | undefined {
  if (draft.events === 0) return undefined;
  const ended = loaded.execution.state !== "running";
  const due =
    loaded.eventsSince + draft.events >= SNAPSHOT_EVENTS && loaded.bytesSince + draft.bytes >= loaded.snapshotBytes;
  return ended || due ? JSON.stringify(loaded.execution) : undefined;
}

/** "name@version" of everything that an execution holds fast, itself included. */
export function usesOf(execution: Pick<Execution, "workflow" | "version" | "lock">): string[] {
  const locked = Object.values(execution.lock.entries).map((entry) => `${entry.name}@${entry.version}`);
  return [...new Set([`${execution.workflow}@${execution.version}`, ...locked])];
}
