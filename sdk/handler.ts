import type { FromSchema, Schema } from "./schema.ts";

/** What a handler is given beside its input. */
export type HandlerContext = {
  /** Aborted when the step is cancelled, times out or the worker must go. */
  readonly signal: AbortSignal;
  readonly executionId: string;
  readonly step: string;
  readonly iteration: string;
  readonly attempt: number;
  /** Stable across attempts, unique for ever: hand it to the outside service. */
  readonly idempotencyKey: string;
  readonly env: Readonly<Record<string, string>>;
  /** One line into the step's log. */
  log(line: string): void;
  /** Shown as the step's progress while it runs. */
  progress(message: string): void;
};

/** A handler by name, for use in a workflow; a worker need not be near. */
export type HandlerRef<Input, Output> = { readonly name: string; readonly types?: { input: Input; output: Output } };

/** A handler with its code, for a worker to register. */
export type TypedHandler<Input, Output> = HandlerRef<Input, Output> & {
  readonly input: Schema;
  readonly run: (input: Input, context: HandlerContext) => Promise<Output> | Output;
};

/**
 * A typed step in code. Throw to fail: the error's `name` is what `retry.on` may list; an error with
 * `permanent: true` is never retried.
 */
export function defineHandler<const S extends Schema, Output>(
  name: string,
  input: S,
  run: (input: FromSchema<S>, context: HandlerContext) => Promise<Output> | Output,
): TypedHandler<FromSchema<S>, Output> {
  return { name, input, run };
}
