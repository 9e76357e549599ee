import type { Requirement } from "../../workflow/requirement.ts";
import type { Unary } from "../transport.ts";

/** Single jobs: `submit` is the start of a one-step execution. */
export type JobApi = {
  submit: Unary<SubmitRequest, { executionId: string; jobId: string }>;
  get: Unary<{ id: string }, JobView>;
  list: Unary<{ executionId?: string; limit: number }, { jobs: JobView[] }>;
  /** Why a job, or the jobs of an execution, do not run. */
  why: Unary<{ id: string }, { lines: string[]; job?: JobView }>;
};

export type SubmitRequest = {
  id: string;
  /** argv of one command. */
  command: string[];
  label?: string;
  cpu?: string;
  memory?: string;
  priority?: "low" | "normal" | "high";
  env: Record<string, string>;
  labels: Record<string, string>;
};

export type JobView = {
  id: string;
  executionId: string;
  step: string;
  iteration: string;
  attempt: number;
  state: "queued" | "claimed";
  worker?: string;
  enqueuedAtMs: number;
  claimedAtMs?: number;
  priority: "low" | "normal" | "high";
  reason?: string;
  /** What it asks of a worker. */
  requirement?: Requirement;
};
