import type { ServerStream, Unary } from "../transport.ts";

/** What the cluster is and does now; its workers are in fleet.ts. */
export type ClusterApi = {
  engines: Unary<Record<string, never>, { engines: EngineView[] }>;
  shards: Unary<Record<string, never>, { shards: ShardView[] }>;
  /** Stops new claims there, moves its shards and workers to others. */
  drainEngine: Unary<{ name: string }, Record<string, never>>;
  /** Live from now on; a slow reader is told how many it missed. */
  watchEvents: ServerStream<{ minSeverity: Severity; kinds: string[] }, ClusterEvent>;
  info: Unary<Record<string, never>, { version: string; shards: number; store: string; startedAtMs: number }>;
};

export type EngineView = {
  name: string;
  address: string;
  pid: number;
  version: string;
  state: "ready" | "draining" | "unreachable";
  shards: number;
  /** Jobs its workers could run at once. */
  capacity: number;
  activeExecutions: number;
  activeJobs: number;
  workers: number;
  startedAtMs: number;
};

export type ShardView = { shard: number; owner: string; epoch: number };

export const WORKER_STATES = [
  "creating",
  "registering",
  "available",
  "running",
  "unhealthy",
  "draining",
  "terminated",
  "failed",
] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

export type WorkerView = {
  id: string;
  name: string;
  engine: string;
  pid: number;
  host: string;
  state: WorkerState;
  labels: string[];
  handlers: string[];
  ephemeral: boolean;
  slots: number;
  /** Whose jobs it takes; "*": of every namespace. */
  namespace: string;
  /** Job ids; by the fleet service those of the caller's namespace alone. */
  jobs: string[];
  cpuPercent: number;
  memoryBytes: number;
  connectedAtMs: number;
  lastHeartbeatAtMs: number;
};

export const SEVERITIES = ["debug", "info", "warning", "error", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** `kind` is one of a closed, documented list (docs/events.md). */
export type ClusterEvent = {
  atMs: number;
  kind: string;
  severity: Severity;
  message: string;
  engine?: string;
  executionId?: string;
  worker?: string;
  facts: Record<string, string>;
  /** Events this subscriber missed just before this one. */
  missed: number;
};
