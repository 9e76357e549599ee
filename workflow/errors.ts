/**
 * Every error that leaves a process, by stable code. The code is the contract (clients, exit codes and tests switch
 * on it), the message is for people. Adding a code is compatible; changing one is a breaking change.
 */
export const ERROR_CODES = {
  INVALID_ARGUMENT: "a field of the request is missing, malformed or out of bounds",
  INVALID_DEFINITION: "the definition does not hold; each violation names file, line and path",
  INVALID_EXPRESSION: "an expression does not parse, does not type-check or failed at run time",
  INVALID_INPUT: "the input does not match the workflow's input schema",
  TOO_LARGE: "something exceeds its published bound",
  UNAUTHENTICATED: "the credential is missing or unknown",
  PERMISSION_DENIED: "the credential does not allow this",
  NOT_FOUND: "no such definition, version, channel, execution, job, worker or engine",
  ALREADY_EXISTS: "the id is taken by another request, or the version by another digest",
  VERSION_NOT_NEWER: "the version is not newer than every published one of its line",
  VERSION_UNDER_BUMPED: "the change needs a larger semver bump than the version makes",
  DEPENDENT_BROKEN: "a dependent accepts this version by its range and would break",
  STILL_NEEDED: "dependents, locks or open executions need this; they are named",
  NO_SUCH_VERSION: "no published version satisfies the range",
  CLOSED: "the execution has ended and does not take this message",
  STILL_RUNNING: "the execution has not ended yet, and this is for ended ones",
  NOT_OWNER: "this engine does not own the execution's shard; the hint names who may",
  FENCED: "the caller's session, epoch or nonce is no longer current",
  CONFLICT: "the record moved on since it was read",
  STALE: "the attempt's token is unknown or revoked; the result was not taken",
  UNAVAILABLE: "a needed part is not reachable now; safe to retry with the same ids",
  DEADLINE_EXCEEDED: "the answer did not come in time; it may still take effect",
  CANCELLED: "the caller gave up",
  RESOURCE_EXHAUSTED: "a bound on work in progress is reached; retry later",
  DATA_IN_USE: "another process holds this data folder",
  DATA_CORRUPT: "the store holds something this version cannot read",
  ADDRESS_IN_USE: "another process listens on this address",
  JOB_FAILED: "a step's command or handler failed",
  JOB_TIMEOUT: "a step ran out of one of its timeouts; the timeout is named",
  JOB_LOST: "the worker that held the step is gone",
  JOB_REJECTED: "workers refused the step",
  NO_MATCHING_WORKER: "no connected worker and no template can serve the requirement; the failing clauses are named",
  WORKSPACE_LOST: "the worker that held the workspace is gone",
  CHILD_FAILED: "a sub-workflow failed, was cancelled or was refused",
  DEPTH_EXCEEDED: "sub-workflows nest deeper than the bound",
  TREE_TOO_LARGE: "an execution tree holds more executions than the bound",
  UNIMPLEMENTED: "this server does not offer that service or method",
  INTERNAL: "a defect of Hodei; the log has the cause",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** One thing that is wrong in what a person wrote: where (file, line, path) and what. Lines and columns count from 1. */
export type Violation = {
  path: string;
  message: string;
  file?: string;
  line?: number;
  column?: number;
};

export type ErrorDetails = {
  /** The field, flag or path at fault. */
  field?: string;
  /** What to do next, one sentence. */
  hint?: string;
  violations?: Violation[];
  /** Machine-readable facts, e.g. {owner: "10.0.0.7:50052"} with NOT_OWNER. */
  facts?: Record<string, string>;
  cause?: unknown;
};

export class HodeiError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly hint: string | undefined;
  readonly violations: readonly Violation[];
  readonly facts: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "HodeiError";
    this.code = code;
    this.field = details.field;
    this.hint = details.hint;
    this.violations = details.violations ?? [];
    this.facts = details.facts ?? {};
  }
}

/** Whether `error` is ours, optionally with one of `codes`. */
export function isHodeiError(error: unknown, ...codes: ErrorCode[]): error is HodeiError {
  return error instanceof HodeiError && (codes.length === 0 || codes.includes(error.code));
}

/** Ours as it is; anything else as INTERNAL with the original as cause. For boundaries, where a code must leave. */
export function toHodeiError(error: unknown): HodeiError {
  if (error instanceof HodeiError) return error;
  return new HodeiError("INTERNAL", error instanceof Error ? error.message : String(error), { cause: error });
}

/** `value satisfies never` at compile time; a clear defect if a foreign value gets here at run time. */
export function unreachable(value: never): never {
  throw new HodeiError("INTERNAL", `unexpected value ${JSON.stringify(value)}`);
}
