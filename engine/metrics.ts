/**
 * What the engine counts, behind the least interface that a registry can offer; `cmd` tells them to Prometheus. Names are
 * full metric names (`hodei_…` with unit), labels never hold ids.
 */
export type Metrics = {
  count(name: string, labels?: Record<string, string>, by?: number): void;
  observe(name: string, value: number, labels?: Record<string, string>): void;
  gauge(name: string, value: number, labels?: Record<string, string>): void;
};

export const noMetrics: Metrics = { count() {}, observe() {}, gauge() {} };

/** Every metric of the engine, so that a registry can declare them with help texts before the first value. */
export const ENGINE_METRICS = {
  hodei_engine_turns_total: "commits of executions, by status",
  hodei_engine_turn_duration_seconds: "one commit, from the call to the answer",
  hodei_engine_messages_total: "messages folded into executions, by kind",
  hodei_engine_shards: "shards that this engine owns",
  hodei_engine_executions: "open executions in the shards of this engine",
  hodei_engine_executions_quarantined: "executions set aside because they threw",
  hodei_engine_renewals_total: "session renewals, by status",
  hodei_worker_heartbeats_total: "heartbeats taken from workers",
  hodei_worker_cpu_usage_percent: "mean cpu of the connected workers, by pool",
  hodei_workers: "workers that this engine knows, by state",
  hodei_job_execution_duration_seconds: "from start to end of one attempt, by outcome",
  hodei_job_queue_duration_seconds: "from enqueued to given to a worker",
  hodei_job_outcomes_total: "outcomes that workers of this engine brought, by kind",
  hodei_jobs_lost_total: "attempts reported lost, by reason",
  hodei_scheduler_queue_size: "jobs of this engine's shards that wait for a worker",
  hodei_scheduler_claims_total: "claim calls to the store, by whether they gave work",
  hodei_outbox_deliveries_total: "messages to other executions, by result",
  hodei_fleet_worker_requests_total: "worker requests, by result",
} as const;
