import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Service } from "../base/service.ts";
import type { WorkerState } from "../transport/api/cluster.ts";
import type { Transport } from "../transport/transport.ts";
import type { Json } from "../workflow/json.ts";
import type { Offer, Resources } from "../workflow/requirement.ts";
import type { WorkerHost } from "./host.ts";

export type WorkerOptions = {
  /** `host:port` of engines; any of them serves. */
  addresses: string[];
  name: string;
  /** Unique among the workers that live at the same time; kept over reconnects. */
  id: string;
  transport: Transport;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Its own folder: workspaces, job folders, results not yet acknowledged. Made when missing. */
  directory: string;
  /** Default: the machine that this process runs on, with `directory` on its disk. */
  host?: WorkerHost;
  /** Added to what the worker finds by itself; fields given here win, lists are joined. */
  offer?: Partial<Omit<Offer, "total" | "handlers" | "ephemeral">> & { total?: Partial<Resources> };
  /** By the name that `task` steps use. */
  handlers?: ReadonlyMap<string, TaskFunction>;
  /** Jobs at once; of an ephemeral worker: those of its workspace. Default 5. */
  slots?: number;
  /** One job (or the jobs of one workspace, until it is released), then gone. */
  ephemeral?: boolean;
  /** The worker request this one was made for. */
  requestId?: string;
  token?: string;
  version?: string;
  /** What children may inherit from; filtered by an allow-list (environment.ts). */
  baseEnv: Record<string, string>;
  /** More names of `baseEnv` that steps may see. */
  passEnv?: string[];
  /** Ends itself after so long without any engine, running jobs or not. Default 60 s; 0: never. */
  loneMs?: number;
  /** Values never to be shown in logs, beside those of secret-looking names in a step's env. */
  masks?: string[];
  /**
   * Where versions of found tools are remembered; shared by the workers of a host. Default: `hodei/tools.json` in the user's
   * cache folder (XDG_CACHE_HOME, HOME/.cache).
   */
  toolsFile?: string;
  /** Whether to look for tools on PATH. Default true. */
  detectTools?: boolean;
};

/**
 * `start` resolves when the folder is ready and the worker dials; `ready` at the first Welcome. `stop` ends at once: running
 * jobs are killed and not reported (their engine counts them lost).
 */
export type Worker = Service & {
  readonly id: string;
  /** Resolves at the first Welcome; never rejects (it may stay open: wait for `done` too). */
  readonly ready: Promise<void>;
  /** Resolves when nothing is left of it, whoever ended it. */
  readonly done: Promise<WorkerEnd>;
  state(): WorkerState;
  /** Takes no new job, finishes the running ones, hands in their results, says goodbye. One-way; resolves with `done`. */
  drain(reason?: string): Promise<void>;
};

export type WorkerEnd = {
  /** `alone`: no engine for loneMs. `refused`: every engine refused the credential. */
  reason: "stopped" | "drained" | "ephemeral" | "alone" | "refused";
  /** For the process that runs the worker: 0 when it ended as wished, 5 alone, 1 refused. */
  exitCode: number;
};

/**
 * A handler. What it returns must be JSON (undefined = {}); at most LIMITS.outputBytes. What it throws becomes the failure:
 * its `name` is the type that `retry.on` may list, a true `permanent` property stops retries.
 */
export type TaskFunction = (input: Json, context: TaskContext) => unknown;

export type TaskContext = {
  /** Aborted on cancel and timeout; a handler that goes on after the step's grace period is abandoned. */
  signal: AbortSignal;
  log(text: string): void;
  /** Shown as the step's latest progress; not kept. */
  progress(message: string): void;
  jobId: string;
  executionId: string;
  step: string;
  iteration: string;
  attempt: number;
  /** Stable across attempts, unique for ever. */
  idempotencyKey: string;
  /** The step's own env. */
  env: Readonly<Record<string, string>>;
};
