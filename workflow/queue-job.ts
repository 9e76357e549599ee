import type { Step } from "./definition.ts";
import type { Scope } from "./expression.ts";
import { render } from "./expression.ts";
import { HodeiError } from "./errors.ts";
import type { StepNode } from "./graph.ts";
import { jobId, type Job, type Work } from "./job.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { iterationTimer } from "./timer-id.ts";
import type { Turn } from "./turn.ts";
import { wantedWorkspace, workspaceKey } from "./workspace.ts";

/** Between SIGTERM and SIGKILL. */
export const GRACE_MS = 30_000;

export type JobStep = Extract<Step, { kind: "run" | "task" }>;

/** Puts an attempt of an iteration into the queue. Throws what its templates or its requirement throw. */
export function queueJob(
  turn: Turn,
  node: StepNode & { step: JobStep },
  key: string,
  attempt: number,
  scope: Scope,
): void {
  const { step } = node;
  const { execution } = turn;
  const workspace = wantedWorkspace(turn, node);
  const work = workOf(turn, step, scope);
  const of = { namespace: execution.namespace, executionId: execution.id, step: step.id, iteration: key, attempt };
  const job: Job = {
    id: jobId(of),
    ...of,
    shard: turn.context.shard,
    executionUid: execution.uid,
    requirement: node.requirement(execution),
    priority: execution.priority,
    work,
    runNumber: execution.runNumber,
    startMs: step.timeout.startMs,
    runMs: step.timeout.runMs,
    graceMs: GRACE_MS,
  };
  if (workspace !== undefined) job.workspace = workspaceKey(execution, workspace.name, workspace.generation);
  const queued = { type: "iterationQueued", step: step.id, iteration: key, attempt } as const;
  turn.emit(workspace === undefined ? queued : { ...queued, workspace });
  turn.enqueue(job);
  turn.setTimer(iterationTimer("queue", step.id, key), turn.nowMs + step.timeout.queueMs);
}

function workOf(turn: Turn, step: JobStep, scope: Scope): Work {
  const env = renderEnv(step.env, scope);
  let bytes = 0;
  for (const value of Object.values(env)) bytes += Buffer.byteLength(value);
  if (bytes > LIMITS.inputBytes) throw tooMuch("environment", bytes);
  switch (step.kind) {
    case "run": {
      turn.weigh(bytes + step.script.length);
      const work: Work = { kind: "run", script: step.script, shell: step.shell, env };
      if (step.container !== undefined) work.container = text(render(step.container, scope));
      return work;
    }
    case "task": {
      const input = render(step.input, scope);
      checkInput(turn, bytes, input);
      return { kind: "task", handler: step.handler, input, env };
    }
  }
}

/** An input put together from large outputs is refused here: at the edge nobody could see it coming. */
export function checkInput(turn: Turn, besides: number, input: Json): void {
  const bytes = Buffer.byteLength(JSON.stringify(input));
  turn.weigh(bytes + besides);
  if (bytes <= LIMITS.inputBytes) return;
  throw tooMuch("input", bytes);
}

function tooMuch(what: string, bytes: number): HodeiError {
  return new HodeiError("TOO_LARGE", `the ${what} is ${bytes} bytes long, at most ${LIMITS.inputBytes} are passed on`);
}

/** Variables are strings: numbers and booleans as written, null as "", lists and objects as JSON. */
function renderEnv(env: Record<string, string>, scope: Scope): Record<string, string> {
  const rendered: Record<string, string> = {};
  for (const [name, template] of Object.entries(env)) rendered[name] = text(render(template, scope));
  return rendered;
}

function text(value: Json): string {
  if (typeof value === "string") return value;
  return value === null ? "" : JSON.stringify(value);
}
