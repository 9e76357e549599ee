import type { Clock } from "../base/clock.ts";
import type { AssignedJob } from "../transport/api/worker.ts";
import { LIMITS } from "../workflow/limits.ts";
import { idempotencyKey } from "../workflow/job.ts";
import type { Outcome, Work } from "../workflow/job.ts";
import type { Json } from "../workflow/json.ts";
import type { JobLog } from "./logs.ts";
import type { TaskContext, TaskFunction } from "./options.ts";

const MESSAGE_LENGTH = 4096;

export type TaskParts = {
  clock: Clock;
  run: TaskFunction;
  log: JobLog;
  signal: AbortSignal;
  onProgress: (message: string) => void;
  /** From the abort of `signal` to giving the handler up. */
  graceMs: () => number;
};

export type TaskWork = Extract<Work, { kind: "task" }>;

/**
 * Runs a handler in this process. After `signal` aborts it has the step's grace period to end; then it is abandoned: its
 * promise is ignored, whatever it still does. (A handler that never yields cannot be stopped by anyone but the platform.)
 */
export async function runTask(job: AssignedJob, work: TaskWork, parts: TaskParts): Promise<Outcome> {
  // Failures come back as values, so that an abandoned handler's late rejection is nobody's unhandled one.
  const running = Promise.resolve(work.input)
    .then((input) => parts.run(input, contextOf(job, work, parts)))
    .then(succeeded, failed);
  const outcome = await Promise.race([running, abandonment(parts, running)]);
  parts.log.close();
  return outcome;
}

function contextOf(job: AssignedJob, work: TaskWork, parts: TaskParts): TaskContext {
  return {
    signal: parts.signal,
    log: (text) => void parts.log.write(Buffer.from(text.endsWith("\n") ? text : `${text}\n`)),
    progress: (message) => parts.onProgress(message.slice(0, MESSAGE_LENGTH)),
    jobId: job.jobId,
    executionId: job.executionId,
    step: job.step,
    iteration: job.iteration,
    attempt: job.attempt,
    idempotencyKey: idempotencyKey(job),
    env: work.env,
  };
}

/** Resolves when the handler was told to end and has not within the grace period. */
function abandonment(parts: TaskParts, running: Promise<unknown>): Promise<Outcome> {
  return new Promise((resolve) => {
    const abandon = (): void => {
      const timer = parts.clock.after(parts.graceMs(), () => resolve({ kind: "cancelled" }));
      void running.then(() => timer.cancel());
    };
    if (parts.signal.aborted) abandon();
    else parts.signal.addEventListener("abort", abandon, { once: true });
  });
}

/** The result travels as JSON: what JSON cannot say is refused here, by name, not lost on the way. */
function succeeded(result: unknown): Outcome {
  let text: string | undefined;
  try {
    text = JSON.stringify(result);
  } catch (error) {
    return invalid(`the handler's result is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text === undefined) {
    return result === undefined ? { kind: "succeeded", outputs: {} } : invalid(`a ${typeof result} is not JSON`);
  }
  if (Buffer.byteLength(text) > LIMITS.outputBytes) {
    return invalid(`the handler's result has more than ${LIMITS.outputBytes} bytes as JSON`);
  }
  const value = JSON.parse(text) as Json;
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return { kind: "succeeded", outputs: isObject ? { ...(value as Record<string, Json>) } : { result: value } };
}

function invalid(message: string): Outcome {
  return { kind: "failed", failure: { class: "user", type: "InvalidOutput", message, permanent: true } };
}

function failed(error: unknown): Outcome {
  const message = error instanceof Error ? error.message : String(error);
  const permanent = typeof error === "object" && error !== null && "permanent" in error && error.permanent === true;
  return {
    kind: "failed",
    failure: {
      class: "user",
      type: error instanceof Error ? error.name : "Error",
      message: (message || "the handler failed without a message").slice(0, MESSAGE_LENGTH),
      ...(permanent ? { permanent } : {}),
    },
  };
}
