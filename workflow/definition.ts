import type { Json, JsonObject } from "./json.ts";

/**
 * A definition is data: the plain graph that YAML, JSON and the TypeScript builder all give. This is its normal form,
 * after `load` (definition loading) filled defaults and parsed durations; the digest is taken over it.
 */
export type Definition = {
  name: string;
  /** Exact semver, e.g. "1.4.2". */
  version: string;
  description?: string;
  labels: Record<string, string>;
  /** JSON Schema (the documented subset) of the input; absent means "any object". */
  input?: JsonObject;
  /** Name → template; evaluated when the steps have succeeded. */
  output: Record<string, Template>;
  priority: Priority;
  /** For the whole execution, from its start. */
  timeoutMs?: number;
  steps: Record<string, Step>;
  /** Runs after the steps on success, failure and cancel; may refer to `steps` and `execution.outcome`. */
  finally: Record<string, Step>;
};

export type Priority = "low" | "normal" | "high";

/** JSON in which any string may hold `${{ expression }}`. A string that is one whole expression keeps its type. */
export type Template = Json;

export type Step = StepBase &
  (
    | { kind: "run"; script: string; shell: "sh" | "bash"; container?: string }
    | { kind: "task"; handler: string; input: Template }
    /** `range` as written; the closure lock holds the exact version. */
    | { kind: "workflow"; workflow: string; range: string; input: Template; affinity?: "parent" }
    | { kind: "wait"; signal: string; approval?: Approval; schema?: JsonObject }
    /** In ms, or a template that gives a duration text or a number of seconds. */
    | { kind: "sleep"; duration: number | string }
  );

export type StepKind = Step["kind"];

export type Approval = { message?: string; roles: string[] };

export type StepBase = {
  id: string;
  needs: string[];
  /** CEL, without the `${{ }}`. Absent: runs when all needs succeeded. Present: evaluated once all needs have ended. */
  when?: string;
  /** One iteration per combination (after exclude, plus include), seen as `matrix`. */
  matrix?: Matrix;
  /** One iteration per element, seen as `item` and `index`. A literal list or one whole expression. */
  forEach?: Json[] | string;
  maxParallel?: number;
  /** Whether the first failed iteration cancels the others. Default true. */
  failFast: boolean;
  /** A failed step with this set counts as succeeded for its dependents and the execution. */
  continueOnError: boolean;
  retry: Retry;
  timeout: Timeouts;
  agent: Agent;
  /** Steps of one execution that name the same workspace share one worker and one folder. */
  workspace?: string;
  env: Record<string, string>;
  onLost: "retry" | "fail" | "rerun";
};

export type Matrix = {
  axes: Record<string, Json[] | string>;
  include: Record<string, Json>[];
  exclude: Record<string, Json>[];
};

/** Why an attempt ended badly; what `retry.on` selects by. `user`: the command or handler failed. */
export const FAILURE_CLASSES = ["user", "timeout", "resource", "config", "infrastructure"] as const;
export type FailureClass = (typeof FAILURE_CLASSES)[number];

/**
 * User retries: exponential with full jitter. `on` holds failure classes, or names of error types that handlers throw.
 * Losing a machine is not counted here (it has its own budget, LIMITS.infrastructureAttempts).
 */
export type Retry = {
  maxAttempts: number;
  initialMs: number;
  maxMs: number;
  multiplier: number;
  on: string[];
};

/** In ms; absent = unbounded, but `queueMs` has a default of 5 min. run counts from the job's own start. */
export type Timeouts = {
  /** From enqueued to given to a worker. */
  queueMs: number;
  /** From given to a worker to running. */
  startMs: number;
  /** Of one attempt, from its start. Default 30 min. */
  runMs: number;
  /** Of the step iteration over all its attempts, waits between them included. */
  totalMs?: number;
};

/** What a step asks to run on. */
export type Agent = {
  /** Label expression, e.g. "linux && node@>=20 && !spot". */
  label?: string;
  /** Worker template by id. */
  template?: string;
  docker?: { image: string; args: string[] };
  /** A pod template as YAML text. */
  kubernetes?: string;
  service?: string;
  hardware?: Record<string, number | string>;
  models?: string[] | Record<string, string[]>;
  custom?: Record<string, Json>;
  isolation?: "none" | "loose" | "strict";
  /** Kubernetes quantities, e.g. {cpu: "500m", memory: "1Gi"}. */
  resources?: { cpu?: string; memory?: string; gpu?: string; storage?: string };
  /** A fresh worker for this step (or workspace), gone afterwards; false: any worker that fits. */
  ephemeral?: boolean;
};

/** `name@range` → exact version and digest, for everything that a definition can reach. */
export type Lock = {
  /** Key: "name range" as written in the reaching step. */
  entries: Record<string, { name: string; version: string; digest: string }>;
};
