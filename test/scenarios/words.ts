import type { HistoryEvent } from "../../workflow/event.ts";
import { unreachable } from "../../workflow/errors.ts";

/** One event of a history as a scenario writes it. */
export function wordsOf(event: HistoryEvent): string {
  switch (event.type) {
    case "executionStarted":
      return "started";
    case "stepOpened":
      return `${event.step} opened`;
    case "iterationQueued":
      return `${placeOf(event)} queued, attempt ${event.attempt}`;
    case "attemptEnded":
      return `${placeOf(event)} attempt ${event.attempt} ${outcomeOf(event.outcome.kind)}`;
    case "iterationBackoff":
      return `${placeOf(event)} waits to try again`;
    case "iterationWaiting":
      return `${placeOf(event)} waits for ${waitsFor(event.on)}`;
    case "iterationEnded":
      return `${placeOf(event)} done: ${event.state}`;
    case "stepStopping":
      return `${event.step} stops`;
    case "stepEnded":
      return `${event.step} ${event.state}`;
    case "workspaceLost":
      return `workspace ${event.workspace} lost: ${event.remedy}`;
    case "signalReceived":
      return `signal ${event.name} came`;
    case "signalConsumed":
      return `${event.step} took signal ${event.name}`;
    case "paused":
    case "resumed":
      return event.type;
    case "cancelRequested":
      return "cancel asked for";
    case "executionTimedOut":
      return "timed out";
    case "retried":
      return "retried";
    case "finallyStarted":
      return `finally begins: ${event.outcome}`;
    case "executionEnded":
      return event.state;
    default:
      return unreachable(event);
  }
}

/** A step with one iteration is named by itself. */
function placeOf({ step, iteration }: { step: string; iteration: string }): string {
  return iteration === "0" ? step : `${step}[${iteration}]`;
}

function outcomeOf(kind: string): string {
  return kind === "timeout" ? "timed out" : kind;
}

function waitsFor(on: { signal: string } | { untilMs: number } | { childId: string }): string {
  if ("signal" in on) return `signal ${on.signal}`;
  return "childId" in on ? on.childId : "its time";
}
