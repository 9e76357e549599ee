import type { Resources } from "../workflow/requirement.ts";

/**
 * The port to what worker pods run on. Adapters: process (here), Docker and Kubernetes (later), all held to
 * `conformance.ts`. A platform only carries out: who is wanted, and why, is recorded by the fleet before it calls.
 */
export type Platform = {
  readonly name: "process" | "docker" | "kubernetes";
  /**
   * Creates the pod for a worker request. The name is deterministic, so that a repeat after a crash finds the first one:
   * an existing pod of the same name and request is answered as it is (adopted).
   * Throws RESOURCE_EXHAUSTED (quota: wait), INVALID_ARGUMENT (never possible as asked), UNAVAILABLE (try again).
   */
  create(spec: PodSpec): Promise<Pod>;
  /** Every pod that carries the label `managed-by`=`owner`. */
  list(): Promise<Pod[]>;
  /** SIGTERM, then after `graceMs` SIGKILL of everything in it. Only the pod with this uid; absent is fine. */
  delete(request: { name: string; uid: string; graceMs: number }): Promise<void>;
  /**
   * Tells of changes until the returned stop is called; a first `list` is the caller's. Ends of pods are never missed by
   * a platform that runs in this process.
   */
  watch(onChange: (pod: Pod) => void): () => void;
  /** What the pod itself wrote (not the steps' logs): the last `tailBytes`. For pods that never registered. */
  logs(request: { name: string; uid: string; tailBytes: number }): Promise<string>;
};

export type PodSpec = {
  /** Deterministic, from the worker request. */
  name: string;
  request: string;
  labels: Record<string, string>;
  image?: string;
  /** What the worker needs to connect: SERVER_HOST, SERVER_PORT, WORKER_ID, WORKER_NAME, WORKER_CAPABILITIES, EPHEMERAL_MODE, HODEI_TOKEN… */
  env: Record<string, string>;
  resources?: Partial<Resources>;
};

export type Pod = {
  name: string;
  /** Unique for ever: a second pod of the same name has another. */
  uid: string;
  request: string;
  labels: Record<string, string>;
  pid?: number;
  createdAtMs: number;
  phase: "pending" | "running" | "succeeded" | "failed" | "gone";
  /** Why it ended or does not start, classified. */
  reason?: {
    class: "user" | "infrastructure" | "config" | "resource" | "waiting" | "transient";
    code: string;
    message: string;
  };
  exitCode?: number;
};
