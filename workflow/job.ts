import type { FailureClass, Priority } from "./definition.ts";
import type { Json } from "./json.ts";
import type { Requirement } from "./requirement.ts";

/** A step attempt to be run by a worker. Made by `transition`, queued by the store, run by a worker. */
export type Job = {
  /** `jobId(...)`: unique among open jobs of the whole store. */
  id: string;
  namespace: string;
  shard: number;
  executionId: string;
  executionUid: string;
  step: string;
  iteration: string;
  /** From 1, over user retries and infrastructure losses alike. */
  attempt: number;
  requirement: Requirement;
  priority: Priority;
  work: Work;
  /** Of the execution's workflow (BUILD_NUMBER): the engine that gives the job out may not have the execution. */
  runNumber?: number;
  /** Key of the workspace (`executionUid/name`): its jobs run on the one worker that holds it. */
  workspace?: string;
  /** From given to a worker to running; kept by the worker's engine. */
  startMs: number;
  /** Of this attempt; kept by the worker. */
  runMs: number;
  /** Between SIGTERM and SIGKILL. */
  graceMs: number;
};

export type Work =
  | { kind: "run"; script: string; shell: "sh" | "bash"; env: Record<string, string>; container?: string }
  | { kind: "task"; handler: string; input: Json; env: Record<string, string> };

/** `namespace/executionId/step/iteration#attempt`; ids cannot hold `/`, so it reads back without ambiguity from the right. */
export function jobId(of: Pick<Job, "namespace" | "executionId" | "step" | "iteration" | "attempt">): string {
  return `${of.namespace}/${of.executionId}/${of.step}/${of.iteration}#${of.attempt}`;
}

/** Stable across attempts, unique for ever: what HODEI_IDEMPOTENCY_KEY holds. */
export function idempotencyKey(of: Pick<Job, "executionUid" | "step" | "iteration">): string {
  return `${of.executionUid}/${of.step}/${of.iteration}`;
}

/** How an attempt ended. The first one that the store accepts wins. */
export type Outcome =
  | { kind: "succeeded"; outputs: Record<string, Json> }
  | { kind: "failed"; failure: Failure }
  /**
   * It surely never started: a worker refused it. Costs no attempt of the user's budget, but one of the infrastructure's,
   * unless (`spends: false`) it never even reached a worker.
   */
  | { kind: "rejected"; reason: string; spends?: false }
  | { kind: "timeout"; timeout: "queue" | "start" | "run" | "total" }
  /**
   * The machine is gone: spends the infrastructure budget, unless (`spends: false`) we took it away ourselves, because the
   * engine that had made it was stopped. `workspace`: the key of the workspace that went with it.
   */
  | { kind: "lost"; reason: string; workspace?: string; spends?: false }
  | { kind: "cancelled" };

export type Failure = {
  class: FailureClass;
  /** The handler's error type, e.g. "RateLimited"; `retry.on` may name it. */
  type?: string;
  message: string;
  exitCode?: number;
  signal?: string;
  /** A handler may say that trying again is useless. */
  permanent?: boolean;
};

/** What is known of an attempt apart from its outcome; kept beside the job, folded into history with the outcome. Wall ms. */
export type JobFacts = {
  worker?: string;
  engine?: string;
  enqueuedAtMs: number;
  claimedAtMs?: number;
  startedAtMs?: number;
  endedAtMs?: number;
};
