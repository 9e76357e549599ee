import type { Definition } from "./definition.ts";
import type { HistoryEvent } from "./event.ts";
import { own, type Execution, type IterationRecord, type StepRecord } from "./execution.ts";
import { HodeiError } from "./errors.ts";
import { scopeOf } from "./scope.ts";
import type { Scope } from "./expression.ts";
import { apply } from "./fold.ts";
import { graphOf, type Graph, type StepNode } from "./graph.ts";
import { jobId, type Job } from "./job.ts";
import { LIMITS } from "./limits.ts";
import type { OutboxMessage, Timer, Transition, TransitionContext } from "./message.ts";

type WithoutTime<E> = E extends unknown ? Omit<E, "atMs"> : never;

/**
 * One message being worked in: what it has recorded and asked for so far. Rules change the execution by `emit` alone,
 * and `touch` the steps that may now go further; `settle` (settle.ts) visits those until nothing moves.
 */
export class Turn {
  readonly definition: Definition;
  readonly graph: Graph;
  readonly context: TransitionContext;
  /** Steps to look at again, each once however often it is touched. */
  readonly touched = new Set<string>();
  /** Whether the phase may have ended: a step has, or everything is to be looked at. */
  phaseMayEnd = false;
  more = false;
  readonly #events: HistoryEvent[] = [];
  /** Made when a job comes: most messages make one or none. */
  #enqueue: Map<string, Job> | undefined;
  readonly #cancel: string[] = [];
  readonly #revoke: string[] = [];
  /** One answer per timer, the last one: undefined clears it. */
  readonly #timers = new Map<string, number | undefined>();
  #outbox: OutboxMessage[] = [];
  readonly #release: string[] = [];
  #entries = 0;
  #bytes = 0;
  #execution: Execution | undefined;

  constructor(definition: Definition, execution: Execution | undefined, context: TransitionContext) {
    this.definition = definition;
    this.graph = graphOf(definition);
    this.context = context;
    this.#execution = execution;
  }

  get execution(): Execution {
    if (this.#execution === undefined) throw new HodeiError("INTERNAL", "no execution has been started in this turn");
    return this.#execution;
  }

  get nowMs(): number {
    return this.context.nowMs;
  }

  /** Applies the event at once: the rules that run next see the new state, which is the one that a fold gives. */
  emit(event: WithoutTime<HistoryEvent>): void {
    const recorded = { atMs: this.nowMs, ...event } as HistoryEvent;
    this.#execution = apply(this.#execution, recorded);
    this.#events.push(recorded);
  }

  touch(step: string): void {
    this.touched.add(step);
  }

  /** Everything of the current phase: after a start, a resume, a retry, and to go on after a full commit. */
  touchAll(): void {
    for (const node of this.phaseNodes()) this.touched.add(node.step.id);
    this.phaseMayEnd = true;
  }

  phaseNodes(): readonly StepNode[] {
    return this.execution.phase === "finally" ? this.graph.finally : this.graph.steps;
  }

  scope(more?: Pick<Scope, "matrix" | "item" | "index">): Scope {
    return scopeOf(this.graph, this.execution, more);
  }

  /** Whether so many more jobs or messages go into this commit, all of them or none. When not, the answer says `more`. */
  takeRoom(entries = 1): boolean {
    if (this.#entries + entries <= LIMITS.commitEntries && this.#bytes < LIMITS.commitBytes) {
      this.#entries += entries;
      return true;
    }
    this.more = true;
    return false;
  }

  /** What an entry weighs beyond a few hundred bytes: scripts and inputs of 64 KiB fill a commit long before 256 jobs do. */
  weigh(bytes: number): void {
    this.#bytes += bytes;
  }

  // Effects are kept so that each id stands in the answer once: the store need not know in which order they were meant.

  enqueue(job: Job): void {
    (this.#enqueue ??= new Map()).set(job.id, job);
  }

  /** False: the job was only enqueued in this very turn, and now never leaves it. */
  cancelJob(step: string, iteration: string, attempt: number): boolean {
    const { namespace, id: executionId } = this.execution;
    const id = jobId({ namespace, executionId, step, iteration, attempt });
    if (this.#enqueue?.delete(id)) return false;
    this.#cancel.push(id);
    return true;
  }

  /** As `cancelJob`, and no result of that attempt is taken any more: the iteration goes on without it. */
  revokeJob(step: string, iteration: string, attempt: number): void {
    if (this.cancelJob(step, iteration, attempt)) this.#revoke.push(...this.#cancel.slice(-1));
  }

  send(message: OutboxMessage): void {
    this.#outbox.push(message);
  }

  /** False: the child's start was only decided in this very turn, and is taken back. */
  cancelChild(message: Extract<OutboxMessage, { kind: "cancelChild" }>): boolean {
    const before = this.#outbox.length;
    this.#outbox = this.#outbox.filter((sent) => sent.kind !== "startChild" || sent.target !== message.target);
    if (this.#outbox.length < before) return false;
    this.#outbox.push(message);
    return true;
  }

  setTimer(id: string, atMs: number): void {
    this.#timers.set(id, atMs);
  }

  clearTimer(id: string): void {
    this.#timers.set(id, undefined);
  }

  releaseWorkspace(key: string): void {
    this.#release.push(key);
  }

  result(): { execution: Execution | undefined; transition: Transition } {
    const timers: Timer[] = [];
    const clearTimers: string[] = [];
    for (const [id, atMs] of this.#timers) {
      if (atMs === undefined) clearTimers.push(id);
      else timers.push({ id, atMs });
    }
    const transition: Transition = {
      events: this.#events,
      enqueue: this.#enqueue === undefined ? [] : [...this.#enqueue.values()],
      cancel: this.#cancel,
      timers,
      clearTimers,
      outbox: this.#outbox,
      releaseWorkspaces: this.#release,
      more: this.more,
    };
    if (this.#revoke.length > 0) transition.revoke = this.#revoke;
    return { execution: this.#execution, transition };
  }
}

export type Place = { node: StepNode; key: string };

/** One iteration that is not over, with all that the rules about it look at. */
export type OpenIteration = Place & { record: StepRecord; iteration: IterationRecord };

/** Undefined when the step or iteration is unknown or has ended: then whatever was meant for it comes too late. */
export function findOpen(turn: Turn, step: string, key: string): OpenIteration | undefined {
  const node = turn.graph.nodes.get(step);
  const record = own(turn.execution.steps, step);
  const iteration = record?.iterations[key];
  if (node === undefined || record === undefined || iteration === undefined || !isOpen(iteration)) return undefined;
  return { node, record, key, iteration };
}

/** Of one step. Looks at every iteration: for rare events only (a stop, a resume, a lost workspace). */
export function openIterations(turn: Turn, node: StepNode): OpenIteration[] {
  const record = own(turn.execution.steps, node.step.id);
  if (record === undefined || record.open === 0) return [];
  return Object.entries(record.iterations).flatMap(([key, iteration]) =>
    isOpen(iteration) ? [{ node, record, key, iteration }] : [],
  );
}

function isOpen(iteration: IterationRecord): boolean {
  return iteration.state === "queued" || iteration.state === "backoff" || iteration.state === "waiting";
}

/** Whether what is open there has been told to stop. */
export function isStopping(turn: Turn, record: StepRecord): boolean {
  return turn.execution.gate === "cancelled" || record.stoppingAtMs !== undefined;
}
