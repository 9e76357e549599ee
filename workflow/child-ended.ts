import { retryOrFail } from "./again.ts";
import { cancel, fail, recordAttempt, succeed, tooLarge } from "./end-iteration.ts";
import type { Failure } from "./job.ts";
import type { Message } from "./message.ts";
import { findOpen, isStopping, type Turn } from "./turn.ts";

/** A child that is not the current one of an open iteration changes nothing: the step went on without it. */
function findWaiting(turn: Turn, message: { step: string; iteration: string; childId: string }) {
  const of = findOpen(turn, message.step, message.iteration);
  return of?.iteration.state === "waiting" && of.iteration.childId === message.childId ? of : undefined;
}

export function takeChildEnded(turn: Turn, message: Extract<Message, { kind: "childEnded" }>): void {
  const of = findWaiting(turn, message);
  if (of === undefined) return;
  if (message.state === "succeeded") {
    const outputs = message.output ?? {};
    const refused = tooLarge(outputs);
    return refused === undefined ? succeed(turn, of, outputs) : fail(turn, of, refused);
  }
  if (isStopping(turn, of.record)) return cancel(turn, of);
  const what = message.state === "failed" ? "failed" : "was cancelled";
  const why = message.error === undefined ? "" : `: ${message.error.message}`;
  const text = `sub-workflow ${message.childId} ${what}${why}`;
  // An attempt like any other, counted against the user's budget; `retry.on` may name the error code of the child, as it
  // may the error type of a handler.
  const type = message.error === undefined ? {} : { type: message.error.code };
  const failure: Failure = { class: "user", message: text, ...type };
  recordAttempt(turn, of, { kind: "failed", failure });
  retryOrFail(turn, of, failure, { code: "CHILD_FAILED", message: text, class: "user" });
}

/** Refused for good: trying again would be refused again. */
export function takeChildRefused(turn: Turn, message: Extract<Message, { kind: "childRefused" }>): void {
  const of = findWaiting(turn, message);
  if (of === undefined) return;
  if (isStopping(turn, of.record)) return cancel(turn, of);
  const { code } = message.error;
  // The two bounds of an execution tree keep their own code; the rest is one thing to a dependent.
  const typed = code === "DEPTH_EXCEEDED" || code === "TREE_TOO_LARGE";
  const text = `sub-workflow ${message.childId} was refused: ${message.error.message}`;
  fail(turn, of, { code: typed ? code : "CHILD_FAILED", message: text, class: "config" });
}
