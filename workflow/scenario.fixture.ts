import assert from "node:assert/strict";
import type { Definition, Step, StepBase } from "./definition.ts";
import type { HistoryEvent } from "./event.ts";
import type { Execution } from "./execution.ts";
import { fold } from "./fold.ts";
import type { Failure, Job, Outcome } from "./job.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import type { Message, OutboxMessage, Start, Transition, TransitionContext } from "./message.ts";
import { parseTimer } from "./timer-id.ts";
import { transition } from "./transition.ts";

const BASE: Omit<StepBase, "id"> = {
  needs: [],
  failFast: true,
  continueOnError: false,
  retry: { maxAttempts: 1, initialMs: 1000, maxMs: 60_000, multiplier: 2, on: ["user", "timeout"] },
  timeout: { queueMs: 300_000, startMs: 60_000, runMs: 1_800_000 },
  agent: {},
  env: {},
  onLost: "retry",
};

type Extra = Partial<Omit<StepBase, "id">>;
/** A step without its id, which is the key that it stands under. */
export type StepPart = (id: string) => Step;

export const run =
  (extra: Extra & { script?: string; container?: string } = {}): StepPart =>
  (id) => ({ ...BASE, kind: "run", script: "true", shell: "sh", ...extra, id });
export const task =
  (extra: Extra & { handler?: string; input?: Json } = {}): StepPart =>
  (id) => ({ ...BASE, kind: "task", handler: "h", input: {}, ...extra, id });
export const child =
  (extra: Extra & { input?: Json; affinity?: "parent" } = {}): StepPart =>
  (id) => ({ ...BASE, kind: "workflow", workflow: "sub", range: "^1.0.0", input: {}, ...extra, id });
export const wait =
  (extra: Extra & Partial<Extract<Step, { kind: "wait" }>> = {}): StepPart =>
  (id) => ({ ...BASE, kind: "wait", signal: "go", ...extra, id });
export const sleep =
  (duration: number | string, extra: Extra = {}): StepPart =>
  (id) => ({ ...BASE, kind: "sleep", duration, ...extra, id });

type Parts = Record<string, StepPart>;
type DefinitionPart = Partial<Pick<Definition, "output" | "timeoutMs" | "priority">> & {
  steps: Parts;
  finally?: Parts;
};

function named(parts: Parts): Record<string, Step> {
  return Object.fromEntries(Object.entries(parts).map(([id, part]) => [id, part(id)]));
}

export function define(part: DefinitionPart): Definition {
  const { steps, finally: after = {}, ...rest } = part;
  return {
    name: "w",
    version: "1.0.0",
    labels: {},
    output: {},
    priority: "normal",
    ...rest,
    steps: named(steps),
    finally: named(after),
  };
}

/** A shell in memory for one execution. After each message it checks what must hold of every transition. */
export class Scenario {
  readonly definition: Definition;
  readonly history: HistoryEvent[] = [];
  /** Every message and what came with it: sent again, they must give the same history. */
  readonly taken: { message: Message; context: TransitionContext }[] = [];
  readonly jobs = new Map<string, Job>();
  readonly timers = new Map<string, number>();
  readonly sent: OutboxMessage[] = [];
  readonly cancelled: string[] = [];
  readonly revoked: string[] = [];
  readonly released: string[] = [];
  /** Sends `continue` by itself when work was left. */
  goesOn = true;
  nowMs = 1_000_000;
  random = 0.5;
  #execution: Execution | undefined;
  #ids = 0;

  constructor(part: DefinitionPart | Definition) {
    this.definition = "name" in part ? part : define(part);
  }

  get execution(): Execution {
    if (this.#execution === undefined) throw new Error("not started");
    return this.#execution;
  }
  get state(): Execution["state"] {
    return this.execution.state;
  }

  start(input: Json = {}, extra: Partial<Start> = {}): this {
    const start: Start = {
      namespace: "ns",
      id: "x",
      uid: "u",
      definition: { name: "w", version: "1.0.0", digest: "sha256:0" },
      lock: { entries: { "sub ^1.0.0": { name: "sub", version: "1.2.3", digest: "sha256:1" } } },
      input,
      labels: {},
      requestDigest: "r",
      runNumber: 7,
      ...extra,
    };
    this.send({ kind: "start", start });
    return this;
  }

  send(message: Message): Transition {
    const context = { nowMs: this.nowMs, random: this.random, shard: 3 };
    this.taken.push({ message, context });
    const made = transition(this.definition, this.#execution, message, context);
    this.#execution = made.execution;
    this.#take(message, made.transition);
    assertPlain(this.#execution);
    assert.deepStrictEqual(fold(this.history), this.#execution);
    if (made.transition.more && this.goesOn) this.send({ kind: "continue" });
    return made.transition;
  }

  #take(message: Message, made: Transition): void {
    assertPlain(made);
    assert.ok(made.enqueue.length + made.outbox.length <= LIMITS.commitEntries, "more entries than a commit holds");
    this.history.push(...made.events);
    for (const id of made.cancel) assert.ok(this.jobs.has(id), `${id} is cancelled and not open`);
    this.cancelled.push(...made.cancel);
    assert.equal(new Set(made.revoke).size, made.revoke?.length ?? 0, "a job is revoked twice");
    for (const id of made.revoke ?? []) {
      assert.ok(made.cancel.includes(id), `${id} is revoked and not told to stop`);
      this.jobs.delete(id);
      this.revoked.push(id);
    }
    for (const job of made.enqueue) {
      assert.ok(!this.jobs.has(job.id), `${job.id} is enqueued twice`);
      this.jobs.set(job.id, job);
    }
    for (const id of made.clearTimers) {
      const fired = message.kind === "timer" && message.timer === id;
      assert.ok(fired || this.#mayHave(id), `${id} is cleared and could not have been set`);
      this.timers.delete(id);
    }
    for (const { id, atMs } of made.timers) {
      assert.ok(this.#mayHave(id) && !made.clearTimers.includes(id), `${id} is set and cleared, or of another kind`);
      assert.ok(atMs >= this.nowMs, `${id} is set to the past`);
      this.timers.set(id, atMs);
    }
    this.sent.push(...made.outbox);
    for (const key of made.releaseWorkspaces) {
      assert.ok(!this.released.includes(key), `${key} is released twice`);
      this.released.push(key);
    }
  }

  /** Whether a step of that kind ever has such a timer. */
  #mayHave(id: string): boolean {
    const timer = parseTimer(id);
    if (timer === undefined) return false;
    if (timer.kind === "execution") return this.definition.timeoutMs !== undefined;
    if (timer.kind === "grace") return true;
    const step = this.definition.steps[timer.step] ?? this.definition.finally[timer.step];
    const isJob = step?.kind === "run" || step?.kind === "task";
    if (timer.kind === "queue") return isJob;
    if (timer.kind === "sleep") return step?.kind === "sleep";
    return timer.kind === "retry" ? isJob || step?.kind === "workflow" : step?.timeout.totalMs !== undefined;
  }

  /** The open job of an iteration. */
  job(step: string, iteration = "0"): Job {
    const found = [...this.jobs.values()].filter((job) => job.step === step && job.iteration === iteration);
    const newest = found.at(-1);
    if (newest === undefined)
      throw new Error(`no job of ${step}/${iteration}; open: ${[...this.jobs.keys()].join(" ")}`);
    return newest;
  }

  end(step: string, outcome: Outcome, iteration = "0"): Transition {
    return this.endJob(this.job(step, iteration), outcome);
  }
  endJob(job: Job, outcome: Outcome): Transition {
    const { step, iteration, attempt } = job;
    this.jobs.delete(job.id);
    const facts = { enqueuedAtMs: this.nowMs, worker: "w1", startedAtMs: this.nowMs, endedAtMs: this.nowMs };
    return this.send({ kind: "outcome", step, iteration, attempt, outcome, facts });
  }

  succeed(step: string, outputs: Record<string, Json> = {}, iteration = "0"): Transition {
    return this.end(step, { kind: "succeeded", outputs }, iteration);
  }
  fail(step: string, failure: Partial<Failure> = {}, iteration = "0"): Transition {
    return this.end(step, { kind: "failed", failure: { class: "user", message: "boom", ...failure } }, iteration);
  }
  lose(step: string, iteration = "0"): Transition {
    return this.end(step, { kind: "lost", reason: "node gone" }, iteration);
  }

  signal(name: string, payload: Json = {}, by = "ann"): Transition {
    return this.send({ kind: "signal", id: this.id(), name, payload, by });
  }
  cancel(reason = "enough"): Transition {
    return this.send({ kind: "cancel", id: this.id(), reason, by: "ann" });
  }
  pause(): Transition {
    return this.send({ kind: "pause", id: this.id(), by: "ann" });
  }
  resume(): Transition {
    return this.send({ kind: "resume", id: this.id(), by: "ann" });
  }
  retry(...steps: string[]): Transition {
    return this.send({ kind: "retry", id: this.id(), by: "ann", steps });
  }
  childEnded(step: string, end: Partial<Extract<Message, { kind: "childEnded" }>> = {}): Transition {
    const childId = this.execution.steps[step]?.iterations["0"]?.childId ?? "";
    return this.send({ kind: "childEnded", step, iteration: "0", childId, state: "succeeded", output: {}, ...end });
  }

  /** Moves time to when the timer is due and fires it. */
  fire(timer: string, reason?: string): Transition {
    const atMs = this.timers.get(timer);
    if (atMs === undefined) throw new Error(`no timer ${timer}; set: ${[...this.timers.keys()].join(" ")}`);
    this.nowMs = Math.max(this.nowMs, atMs);
    return this.send(reason === undefined ? { kind: "timer", timer } : { kind: "timer", timer, reason });
  }

  id(): string {
    return `m${++this.#ids}`;
  }
  step(id: string): string {
    return this.execution.steps[id]?.state ?? "pending";
  }
  iteration(step: string, key = "0"): Execution["steps"][string]["iterations"][string] | undefined {
    return this.execution.steps[step]?.iterations[key];
  }
  types(): string[] {
    return this.history.map((event) => event.type);
  }
}

/** What is committed is what was decided: a field that is there and undefined would be gone when it is read again. */
function assertPlain(value: unknown): void {
  assert.deepStrictEqual(value, JSON.parse(JSON.stringify(value)));
}
