import { own } from "./execution.ts";
import type { Step } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { fail, succeed } from "./end-iteration.ts";
import { HodeiError } from "./errors.ts";
import { render, type Scope } from "./expression.ts";
import type { StepNode } from "./graph.ts";
import type { Json } from "./json.ts";
import { isJsonObject } from "./schema.ts";
import { iterationTimer } from "./timer-id.ts";
import type { Turn } from "./turn.ts";

export type WaitStep = Extract<Step, { kind: "wait" }>;
export type SleepStep = Extract<Step, { kind: "sleep" }>;

/** Takes the oldest remembered signal of that name, or waits for the next one. */
export function waitForSignal(turn: Turn, node: StepNode & { step: WaitStep }, key: string): void {
  const { id, signal } = node.step;
  turn.emit({ type: "iterationWaiting", step: id, iteration: key, on: { signal } });
  if (own(turn.execution.signals, signal) !== undefined) consume(turn, node, key);
}

/** Ends the iteration by the oldest remembered signal. An approval that says no fails it. */
export function consume(turn: Turn, node: StepNode & { step: WaitStep }, key: string): void {
  const { id, signal, approval } = node.step;
  const payload = own(turn.execution.signals, signal)?.[0] ?? null;
  turn.emit({ type: "signalConsumed", name: signal, step: id, iteration: key });
  if (approval !== undefined && isJsonObject(payload) && payload.approved === false) {
    const by = typeof payload.by === "string" && payload.by !== "" ? ` by ${payload.by}` : "";
    const comment = typeof payload.comment === "string" && payload.comment !== "" ? `: ${payload.comment}` : "";
    return fail(turn, { node, key }, { code: "JOB_FAILED", message: `rejected${by}${comment}`, class: "user" });
  }
  succeed(turn, { node, key }, isJsonObject(payload) ? payload : { payload });
}

export function sleep(turn: Turn, node: StepNode & { step: SleepStep }, key: string, scope: Scope): void {
  const { id, duration } = node.step;
  const untilMs = turn.nowMs + (typeof duration === "number" ? duration : durationMs(render(duration, scope)));
  turn.emit({ type: "iterationWaiting", step: id, iteration: key, on: { untilMs } });
  turn.setTimer(iterationTimer("sleep", id, key), untilMs);
}

/** What an expression gives is read as what people write: a number counts seconds. */
function durationMs(value: Json): number {
  if (typeof value === "string" || typeof value === "number") return parseDuration(value);
  const given = JSON.stringify(value);
  throw new HodeiError("INVALID_EXPRESSION", `a sleep takes seconds or a text such as "90s", not ${given}`);
}
