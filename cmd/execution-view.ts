import { styleText } from "node:util";
import type { Outcome } from "../workflow/job.ts";
import type { ExecutionView, StepView } from "../transport/api/execution.ts";
import { type Format, isoTime, printOne, shortDuration, table } from "./output.ts";

/** What `run`, `get execution` and `describe execution` print under `-o json`: docs/schemas/execution.json. */
export type ExecutionJson = {
  executionId: string;
  uid: string;
  workflow: string;
  version: string;
  state: string;
  input: unknown;
  output: unknown;
  labels: Record<string, string>;
  parent?: string;
  engine?: string;
  shard: number;
  startedAt?: string;
  endedAt?: string;
  steps: StepJson[];
  error?: { code: string; message: string; step?: string; iteration?: string };
};

export type StepJson = {
  id: string;
  iteration: string;
  kind: string;
  state: string;
  attempts: number;
  worker?: string;
  childId?: string;
  queuedAt?: string;
  startedAt?: string;
  endedAt?: string;
  outputs?: unknown;
  exitCode?: number;
  reason?: string;
  error?: { code: string; message: string };
};

export function executionJson(view: ExecutionView): ExecutionJson {
  return {
    executionId: view.id,
    uid: view.uid,
    workflow: view.workflow,
    version: view.version,
    state: view.state,
    input: parsed(view.inputJson),
    output: parsed(view.outputJson),
    labels: view.labels,
    parent: view.parent?.executionId,
    engine: view.engine,
    shard: view.shard,
    startedAt: isoTime(view.startedAtMs),
    endedAt: isoTime(view.endedAtMs),
    steps: view.steps.map(stepJson),
    error: view.error,
  };
}

function stepJson(step: StepView): StepJson {
  const { id, iteration, kind, state, attempts, worker, childId, exitCode, reason, error } = step;
  return {
    id,
    iteration,
    kind,
    state,
    attempts,
    worker,
    childId,
    queuedAt: isoTime(step.queuedAtMs),
    startedAt: isoTime(step.startedAtMs),
    endedAt: isoTime(step.endedAtMs),
    outputs: step.outputsJson === undefined ? undefined : parsed(step.outputsJson),
    exitCode,
    reason,
    error: error === undefined ? undefined : { code: error.code, message: error.message },
  };
}

const parsed = (text: string | undefined): unknown =>
  text === undefined || text === "" ? null : (JSON.parse(text) as unknown);

/** What `get execution`, `describe execution` and the end of `run` print. */
export function printExecution(format: Format, view: ExecutionView, nowMs: number): void {
  printOne(
    format,
    format === "table" || format === "wide" ? view : executionJson(view),
    () => executionText(view, nowMs),
    () => view.id,
  );
}

/** The same, for people. */
export function executionText(view: ExecutionView, nowMs: number): string {
  const head = [
    ["Execution", view.id],
    ["Workflow", `${view.workflow}@${view.version}`],
    ["State", paint(view.state)],
    ["Shard", `${view.shard}${view.engine === undefined ? "" : ` on ${view.engine}`}`],
    ["Started", isoTime(view.startedAtMs) ?? "-"],
    ["Took", shortDuration((view.endedAtMs ?? nowMs) - view.startedAtMs)],
    ...(view.parent === undefined ? [] : [["Parent", view.parent.executionId]]),
    ...(view.outputJson === undefined || view.outputJson === "{}" ? [] : [["Output", view.outputJson]]),
    ...(view.error === undefined ? [] : [["Error", `${view.error.code}: ${view.error.message}`]]),
  ];
  const lines = head.map(([title, value]) => `${`${title}:`.padEnd(11)}${value}`);
  return [...lines, "", stepTable(view.steps, nowMs)].join("\n");
}

/** One line per step iteration: where it ran, how long it waited, started and ran. */
export function stepTable(steps: readonly StepView[], nowMs: number): string {
  const span = (from: number | undefined, to: number | undefined): string =>
    from === undefined ? "-" : shortDuration((to ?? nowMs) - from);
  return table(steps, [
    { title: "step", cell: stepNames(steps) },
    { title: "state", cell: (step) => step.state },
    { title: "worker", cell: (step) => step.worker ?? step.childId ?? "-" },
    { title: "queued", cell: (step) => span(step.queuedAtMs, step.startedAtMs ?? step.endedAtMs) },
    { title: "ran", cell: (step) => span(step.startedAtMs, step.endedAtMs) },
    { title: "attempts", cell: (step) => String(step.attempts) },
    {
      title: "result",
      cell: (step) =>
        firstLine(step.error?.message ?? step.reason ?? (step.exitCode === undefined ? "" : `exit ${step.exitCode}`)),
    },
  ]);
}

/** `build`, or `each[0]`, `each[1]` where a step has several iterations. */
export function stepNames(steps: readonly StepView[]): (step: StepView) => string {
  const several = new Set(steps.filter(({ iteration }) => !/^0?$/.test(iteration)).map(({ id }) => id));
  return (step) => (several.has(step.id) ? `${step.id}[${step.iteration}]` : step.id);
}

/** How an attempt ended, with the reason when it was not well. */
export function outcomeWords(outcome: Outcome): string {
  switch (outcome.kind) {
    case "failed":
      return `failed: ${firstLine(outcome.failure.message)}`;
    case "rejected":
    case "lost":
      return `${outcome.kind}: ${firstLine(outcome.reason)}`;
    case "timeout":
      return `${outcome.timeout} timeout`;
    case "succeeded":
    case "cancelled":
      return outcome.kind;
    default:
      return String(outcome satisfies never);
  }
}

export const firstLine = (text: string): string => (text.split("\n")[0] ?? "").slice(0, 120);

/** Colour only where the stream is a terminal and NO_COLOR is unset: `styleText` sees to both. */
export function paint(state: string): string {
  const colours = {
    succeeded: "green",
    failed: "red",
    running: "cyan",
    cancelled: "yellow",
    paused: "yellow",
  } as const;
  const colour = colours[state as keyof typeof colours];
  return colour === undefined ? state : styleText(colour, state, { stream: process.stdout });
}
