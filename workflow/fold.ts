import { HodeiError, unreachable } from "./errors.ts";
import type { HistoryEvent } from "./event.ts";
import {
  own,
  ownOr,
  type Execution,
  type IterationRecord,
  type StepRecord,
  type WorkspaceRecord,
} from "./execution.ts";
import { LIMITS } from "./limits.ts";
import type { Start } from "./message.ts";

/**
 * The only place where an execution changes. `apply` works in place and returns what it was given (a 10,000-way step is
 * not copied at each outcome), so whoever folds owns the object. It knows no definition: an event carries all it needs.
 */
export function fold(events: Iterable<HistoryEvent>, from?: Execution): Execution {
  let execution = from;
  for (const event of events) execution = apply(execution, event);
  if (execution === undefined) throw new HodeiError("DATA_CORRUPT", "the history of an execution holds no event");
  return execution;
}

export function apply(execution: Execution | undefined, event: HistoryEvent): Execution {
  if (event.type === "executionStarted") {
    if (execution === undefined) return started(event.start, event.atMs);
    throw new HodeiError("DATA_CORRUPT", `execution ${execution.id} was started twice`);
  }
  if (execution === undefined) throw new HodeiError("DATA_CORRUPT", `a history begins with ${event.type}`);
  if ("step" in event) applyToStep(execution, event);
  else applyToExecution(execution, event);
  return execution;
}

type StepEvent = Extract<HistoryEvent, { step: string }>;
type ExecutionEvent = Exclude<HistoryEvent, StepEvent | { type: "executionStarted" }>;

function started(start: Start, atMs: number): Execution {
  return {
    namespace: start.namespace,
    id: start.id,
    uid: start.uid,
    workflow: start.definition.name,
    version: start.definition.version,
    digest: start.definition.digest,
    lock: start.lock,
    labels: start.labels,
    priority: start.priority ?? "normal",
    input: start.input,
    requestDigest: start.requestDigest,
    ...(start.parent === undefined ? {} : { parent: start.parent }),
    depth: start.parent === undefined ? 0 : start.parent.depth + 1,
    runNumber: start.runNumber,
    state: "running",
    gate: "open",
    phase: "steps",
    steps: {},
    workspaces: {},
    startedAtMs: atMs,
    seen: [],
    signals: {},
  };
}

function applyToExecution(execution: Execution, event: ExecutionEvent): void {
  if ("id" in event) {
    execution.seen.push(event.id);
    if (execution.seen.length > LIMITS.signalsRemembered) execution.seen.shift();
  }
  switch (event.type) {
    case "signalReceived":
      ownOr(execution.signals, event.name, () => []).push(event.payload);
      return;
    case "paused":
      execution.gate = "paused";
      return;
    case "resumed":
      execution.gate = "open";
      return;
    case "cancelRequested":
      execution.gate = "cancelled";
      execution.stopping = { outcome: "cancelled", atMs: event.atMs };
      execution.cancelReason = event.reason;
      return;
    case "executionTimedOut":
      execution.gate = "cancelled";
      execution.stopping = { outcome: "failed", error: event.error, atMs: event.atMs };
      return;
    case "workspaceLost":
      loseWorkspace(execution, event);
      return;
    case "retried":
      retry(execution, event);
      return;
    case "finallyStarted":
      execution.phase = "finally";
      execution.outcome = event.outcome;
      if (event.error !== undefined) execution.error = event.error;
      // What stopped the steps must not stop what cleans up after them; a pause still holds it.
      if (execution.gate === "cancelled") execution.gate = "open";
      delete execution.stopping;
      return;
    case "executionEnded":
      execution.phase = "done";
      execution.state = event.state;
      execution.endedAtMs = event.atMs;
      if (event.output !== undefined) execution.output = event.output;
      if (event.error !== undefined) execution.error = event.error;
      return;
    default:
      unreachable(event);
  }
}

/** A step without a record is pending; its first event, opening or skipping it, makes the record. */
function applyToStep(execution: Execution, event: StepEvent): void {
  const step = ownOr(execution.steps, event.step, () => pendingStep(0));
  switch (event.type) {
    case "stepOpened":
      step.state = "open";
      step.startedAtMs ??= event.atMs;
      if (event.items !== undefined) step.items = event.items;
      return;
    case "stepStopping":
      step.stoppingAtMs = event.atMs;
      return;
    case "stepEnded":
      step.state = event.state;
      step.endedAtMs = event.atMs;
      if (event.reason !== undefined) step.reason = event.reason;
      if (event.error !== undefined) step.error = event.error;
      return;
    case "iterationQueued":
    case "iterationBackoff":
    case "iterationWaiting":
    case "attemptEnded":
      moveIteration(execution, step, event);
      return;
    case "iterationEnded":
      endIteration(execution, step, event);
      return;
    case "signalConsumed": {
      const remembered = own(execution.signals, event.name);
      remembered?.shift();
      if (remembered?.length === 0) delete execution.signals[event.name];
      return;
    }
    default:
      unreachable(event);
  }
}

type IterationMove = Extract<
  StepEvent,
  { type: "iterationQueued" | "iterationBackoff" | "iterationWaiting" | "attemptEnded" }
>;

function moveIteration(execution: Execution, step: StepRecord, event: IterationMove): void {
  const iteration = openIteration(step, event);
  switch (event.type) {
    case "iterationQueued":
      iteration.state = "queued";
      iteration.attempt = event.attempt;
      iteration.queuedAtMs = event.atMs;
      delete iteration.untilMs;
      // Of the newest attempt, as they come with its outcome.
      delete iteration.worker;
      delete iteration.startedAtMs;
      if (event.workspace === undefined) return;
      iteration.workspace = event.workspace;
      ownOr(execution.workspaces, event.workspace.name, unusedWorkspace);
      return;
    case "iterationBackoff":
      iteration.state = "backoff";
      iteration.untilMs = event.untilMs;
      return;
    case "iterationWaiting":
      iteration.state = "waiting";
      iteration.queuedAtMs = event.atMs;
      if (event.attempt !== undefined) iteration.attempt = event.attempt;
      if ("childId" in event.on) iteration.childId = event.on.childId;
      if ("untilMs" in event.on) iteration.untilMs = event.on.untilMs;
      else delete iteration.untilMs;
      return;
    case "attemptEnded":
      endAttempt(iteration, event);
      return;
    default:
      unreachable(event);
  }
}

/**
 * What an attempt costs: a loss of the machine is counted apart from the user's failures. The iteration stays `queued` until
 * the next event of the same commit says how it goes on, so nobody ever sees it between the two.
 */
function endAttempt(iteration: IterationRecord, event: Extract<StepEvent, { type: "attemptEnded" }>): void {
  const { outcome, facts } = event;
  if (facts.worker !== undefined) iteration.worker = facts.worker;
  if (facts.startedAtMs !== undefined) iteration.startedAtMs = facts.startedAtMs;
  switch (outcome.kind) {
    case "succeeded":
      iteration.outputs = outcome.outputs;
      return;
    case "failed":
      if (outcome.failure.class === "infrastructure") iteration.losses++;
      else iteration.failures++;
      return;
    case "timeout":
      if (outcome.timeout === "start") iteration.losses++;
      else iteration.failures++;
      return;
    case "lost":
    case "rejected":
      if (outcome.spends !== false) iteration.losses++;
      return;
    case "cancelled":
      return;
    default:
      unreachable(outcome);
  }
}

function endIteration(
  execution: Execution,
  step: StepRecord,
  event: Extract<StepEvent, { type: "iterationEnded" }>,
): void {
  // It may end without ever having been queued, e.g. when its input does not evaluate.
  const iteration = openIteration(step, event);
  iteration.state = event.state;
  iteration.endedAtMs = event.atMs;
  if (event.outputs !== undefined) iteration.outputs = event.outputs;
  if (event.error !== undefined) iteration.error = event.error;
  delete iteration.untilMs;
  step.open--;
  step.ended++;
  if (event.state === "cancelled") step.cancelled++;
  if (event.state === "failed") {
    step.failed++;
    step.error ??= event.error;
  }
  if (event.state !== "succeeded" || iteration.workspace === undefined) return;
  const workspace = own(execution.workspaces, iteration.workspace.name);
  // Always of its newest generation: with the loss of one, all its open jobs got another or ended.
  if (workspace !== undefined) workspace.used = true;
}

/**
 * The record of the iteration, made at its first event. Windows open from left to right, so that `opened` is the index of
 * the newest key plus one; a retry that kept iterations jumps over them.
 */
function openIteration(step: StepRecord, event: { iteration: string; atMs: number }): IterationRecord {
  const known = step.iterations[event.iteration];
  if (known !== undefined) return known;
  const fresh: IterationRecord = {
    state: "queued",
    attempt: step.attemptsBefore?.[event.iteration] ?? 0,
    failures: 0,
    losses: 0,
    openedAtMs: event.atMs,
  };
  step.iterations[event.iteration] = fresh;
  step.open++;
  step.opened = Number.parseInt(event.iteration, 10) + 1;
  return fresh;
}

/** What a rerun supersedes stays on record, under its old keys and outside all counters. */
function loseWorkspace(execution: Execution, event: Extract<ExecutionEvent, { type: "workspaceLost" }>): void {
  const workspace = ownOr(execution.workspaces, event.workspace, unusedWorkspace);
  if (event.remedy === "fail") {
    workspace.lost = true;
    return;
  }
  workspace.generation++;
  if (event.spends !== false) workspace.losses++;
  workspace.used = false;
  for (const id of event.steps) {
    const step = own(execution.steps, id);
    if (step === undefined) continue;
    for (const iteration of Object.values(step.iterations)) iteration.state = "rerun";
    execution.steps[id] = { ...pendingStep(step.generation + 1), iterations: step.iterations };
  }
}

function retry(execution: Execution, event: Extract<ExecutionEvent, { type: "retried" }>): void {
  execution.state = "running";
  execution.gate = "open";
  execution.phase = "steps";
  execution.retriedAtMs = event.atMs;
  delete execution.stopping;
  delete execution.outcome;
  delete execution.output;
  delete execution.error;
  delete execution.cancelReason;
  delete execution.endedAtMs;
  for (const id of event.steps) {
    const step = own(execution.steps, id);
    if (step !== undefined) execution.steps[id] = resetStep(step, event.keep.includes(id));
  }
  for (const name of event.workspaces) {
    const workspace = own(execution.workspaces, name);
    // The old folder was released when the execution ended.
    if (workspace !== undefined) {
      execution.workspaces[name] = { ...unusedWorkspace(), generation: workspace.generation + 1 };
    }
  }
}

/** A new record, not the old one changed: what was derived from an ended record stays true of that record. */
function resetStep(step: StepRecord, keep: boolean): StepRecord {
  const reset = pendingStep(step.generation);
  const attemptsBefore = { ...step.attemptsBefore };
  for (const [key, iteration] of Object.entries(step.iterations)) {
    if (iteration.attempt > 0) attemptsBefore[key] = iteration.attempt;
    if (!keep || iteration.state !== "succeeded") continue;
    reset.iterations[key] = iteration;
    reset.ended++;
  }
  if (keep && step.items !== undefined) reset.items = step.items;
  if (Object.keys(attemptsBefore).length > 0) reset.attemptsBefore = attemptsBefore;
  return reset;
}

function unusedWorkspace(): WorkspaceRecord {
  return { generation: 0, losses: 0, used: false, lost: false };
}

function pendingStep(generation: number): StepRecord {
  return { state: "pending", generation, iterations: {}, opened: 0, open: 0, ended: 0, failed: 0, cancelled: 0 };
}
