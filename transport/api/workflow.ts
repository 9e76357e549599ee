import type { Violation } from "../../workflow/errors.ts";
import type { Unary } from "../transport.ts";

/** The registry: publish, read, plan, promote and delete definitions. */
export type WorkflowApi = {
  /** Publishes one immutable version. Same version and digest again: answered as the first time, created = false. */
  register: Unary<RegisterRequest, RegisterResponse>;
  /** By version, range or channel (default: the highest stable version). */
  get: Unary<{ name: string; version?: string }, WorkflowVersion>;
  list: Unary<{ name?: string }, { workflows: WorkflowSummary[] }>;
  /** What `register` would do, without doing it. */
  plan: Unary<RegisterRequest, PlanResponse>;
  /** Points a channel at a published version. */
  promote: Unary<{ name: string; version: string; channel: string }, { previousVersion?: string }>;
  /** STILL_NEEDED names dependents, channels and open executions that hold it. */
  delete: Unary<{ name: string; version: string }, Record<string, never>>;
};

export type RegisterRequest = {
  /** YAML or JSON text of one Workflow document; `file` names it in errors. */
  source: string;
  file?: string;
};

export type RegisterResponse = {
  name: string;
  version: string;
  digest: string;
  created: boolean;
  warnings: Violation[];
};

export type PlanResponse = {
  name: string;
  version: string;
  digest: string;
  action: "create" | "unchanged" | "refused";
  /** The version that the change is measured against (the newest older one). */
  previousVersion?: string;
  /** The least semver bump that the change needs. */
  requiredBump: "none" | "patch" | "minor" | "major";
  actualBump: "none" | "patch" | "minor" | "major";
  /** Why that bump: one line per change found. */
  changes: { bump: "patch" | "minor" | "major"; path: string; message: string }[];
  /** Workflows that reach this one, and whether their range accepts the new version. */
  dependents: { name: string; version: string; range: string; accepts: boolean; breaks: boolean }[];
  /** When refused. */
  refusals: Violation[];
};

export type WorkflowVersion = {
  name: string;
  version: string;
  digest: string;
  publishedAtMs: number;
  channels: string[];
  /** Normal form as JSON text. */
  definitionJson: string;
  dependencies: { name: string; range: string }[];
  dependents: { name: string; version: string; range: string }[];
};

export type WorkflowSummary = {
  name: string;
  versions: { version: string; digest: string; publishedAtMs: number }[];
  /** channel → version. */
  channels: Record<string, string>;
};
