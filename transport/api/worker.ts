import type { Offer, Resources } from "../../workflow/requirement.ts";
import type { Outcome, Work } from "../../workflow/job.ts";
import type { TwoWay } from "../transport.ts";

/** Worker → engine: one stream for control, one for logs, so that a flood of logs never delays a heartbeat. */
export type WorkerApi = {
  connect: TwoWay<FromWorker, ToWorker>;
  logs: TwoWay<LogUpload, LogAck>;
};

export type FromWorker =
  | ({ kind: "hello" } & Hello)
  | { kind: "accepted"; jobId: string; token: string; startedAtMs: number }
  | { kind: "rejected"; jobId: string; token: string; reason: string }
  | { kind: "progress"; jobId: string; token: string; message: string }
  | { kind: "result"; jobId: string; token: string; outcome: Outcome; startedAtMs: number; endedAtMs: number }
  | { kind: "heartbeat"; cpuPercent: number; memoryBytes: number; jobs: string[] }
  /** The worker has drained and goes; no reply. */
  | { kind: "goodbye"; reason: string };

/**
 * The first message of a stream. Said again on the same stream it changes what the worker offers (tool versions became
 * known) and nothing else: what it runs was told in order by the messages between. No welcome answers it.
 */
export type Hello = {
  workerId: string;
  name: string;
  /** Bound to a worker request, when a fleet made this worker. */
  requestId?: string;
  version: string;
  offer: Offer;
  /** Jobs at once. 0: it takes no more, and goes when those that it has are done. */
  slots: number;
  /** Where it runs, so that an engine on the same host can tell that it is gone. */
  host: { bootId: string; pidNamespace: string; pid: number; startTime: string; hostname: string };
  /** What it runs now, and results not acknowledged yet (they follow as `result`). */
  running: { jobId: string; token: string }[];
  spooled: { jobId: string; token: string }[];
  workspaces: string[];
  /** It knows `heard`: one of an older version would end the stream at it. */
  knowsHeard?: boolean;
};

export type ToWorker =
  | { kind: "welcome"; engine: string; heartbeatMs: number; stale: string[] }
  | { kind: "assign"; job: AssignedJob }
  | { kind: "cancel"; jobId: string; token: string; reason: string }
  /** Take no new job; go when the running ones have ended. `redirect`: reconnect to one of these addresses instead, jobs and all. */
  | { kind: "drain"; redirect: string[] }
  /** The result is durable: forget it. */
  | { kind: "ack"; jobId: string; token: string }
  | { kind: "releaseWorkspace"; workspace: string }
  /** After the welcome, and for each heartbeat: the engine is there. A worker that misses three goes to another one. */
  | { kind: "heard" };

export type AssignedJob = {
  jobId: string;
  token: string;
  work: Work;
  namespace: string;
  executionId: string;
  executionUid: string;
  step: string;
  iteration: string;
  attempt: number;
  runNumber: number;
  workspace?: string;
  runMs: number;
  graceMs: number;
  resources: Resources;
};

export type LogUpload = { jobId: string; token: string; offset: number; data: Uint8Array; dropped: number };
/** `heldTo`: bytes of this attempt that are held for good. `stale`: send no more for it. */
export type LogAck = { jobId: string; token: string; heldTo: number; stale: boolean };
