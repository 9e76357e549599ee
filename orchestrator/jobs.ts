import type { Clock } from "../base/clock.ts";
import type { ClassDemand, ExecutionHead, JobRecord, Store } from "../store/store.ts";
import type { JobView, SubmitRequest } from "../transport/api/job.ts";
import type { CallContext, ServiceHandlers } from "../transport/transport.ts";
import type { Step } from "../workflow/definition.ts";
import { formatDuration } from "../workflow/duration.ts";
import { HodeiError } from "../workflow/errors.ts";
import { displayState } from "../workflow/execution.ts";
import { jobId } from "../workflow/job.ts";
import type { Executions } from "./executions.ts";
import { hasEnded, routeOf } from "./executions.ts";
import { checkKnownId, pageSize } from "./request.ts";
import type { Router } from "./router.ts";
import { JOB_STEP, singleJob } from "./single-job.ts";
import { readHead, type Starter } from "./start.ts";

type Handlers = ServiceHandlers<"job">;

const PAGE = { usual: 100, most: 1_000 };
/** Jobs of one execution that `why` explains one by one. */
const EXPLAINED = 10;
/** Open jobs looked at to tell a position; beyond it is "more than". */
const QUEUE_LOOKED_AT = 1_000;
const BAND = { high: 0, normal: 1, low: 2 } as const;

/** Single jobs, open jobs, and the honest answer to why one does not run. */
export class Jobs implements Handlers {
  readonly #options: JobsOptions;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  readonly submit: Handlers["submit"] = async (request: SubmitRequest, context: CallContext) => {
    const { namespace } = context.identity;
    const { closure, input } = singleJob(request);
    const { id, labels, priority } = request;
    const { name } = closure.definition;
    const start = { id, workflow: name, range: "", inputJson: JSON.stringify(input), labels };
    const wanted = priority === undefined ? start : { ...start, priority };
    await this.#options.starter.startClosed(namespace, wanted, closure, routeOf(context));
    return {
      executionId: id,
      jobId: jobId({ namespace, executionId: id, step: JOB_STEP, iteration: "0", attempt: 1 }),
    };
  };

  readonly get: Handlers["get"] = async ({ id }, { identity }) => {
    checkKnownId(id);
    const [record] = await this.#open(identity.namespace, { jobId: id }, 1);
    if (!record) throw noOpenJob(id);
    return viewOf(record);
  };

  readonly list: Handlers["list"] = async ({ executionId, limit }, { identity }) => {
    const filter = executionId ? { executionId } : {};
    const records = await this.#open(identity.namespace, filter, pageSize(limit, PAGE.usual, PAGE.most));
    return { jobs: records.map(viewOf) };
  };

  /** Of a job or of an execution; the facts in the order in which they would have to change. */
  readonly why: Handlers["why"] = async ({ id }, { identity }) => {
    checkKnownId(id);
    const { store } = this.#options;
    const { namespace } = identity;
    const head = await readHead(store, namespace, executionOf(namespace, id) ?? id);
    const [named] = await this.#open(namespace, { jobId: id }, 1);
    const of = head ?? (named && (await readHead(store, namespace, named.job.executionId)));
    if (!of) throw noOpenJob(id);
    const lines = await this.#whyExecution(of);
    if (hasEnded(of)) return { lines };
    const jobs = named ? [named] : await this.#open(namespace, { executionId: of.id }, EXPLAINED + 1);
    const demand = jobs.some(({ state }) => state === "queued") ? await store.demand({}) : [];
    const queue = demand.length > 0 ? await this.#open(namespace, {}, QUEUE_LOOKED_AT) : [];
    for (const record of jobs.slice(0, EXPLAINED)) lines.push(...this.#whyJob(record, of, demand, queue));
    if (jobs.length > EXPLAINED) lines.push(`More than ${EXPLAINED} jobs are open; \`hodei get jobs\` lists them.`);
    if (jobs.length === 0) lines.push(...(await this.#whyNoJob(of)));
    return named ? { lines, job: viewOf(named) } : { lines };
  };

  async #open(
    namespace: string,
    filter: { executionId?: string; jobId?: string },
    limit: number,
  ): Promise<JobRecord[]> {
    return await this.#options.store.jobs({ namespace, ...filter, limit });
  }

  async #whyExecution(head: ExecutionHead): Promise<string[]> {
    const { id, workflow, version, shard } = head;
    const state = displayState(head);
    const lines = [`Execution ${id} of ${workflow}@${version} is ${state}.`];
    if (hasEnded(head)) return lines;
    if (state === "paused") lines.push(`It gives out no jobs until \`hodei resume ${id}\`.`);
    if (state === "cancelling") lines.push("It gives out no jobs any more: running ones are being stopped.");
    const owner = await this.#options.router.ownerOf(shard);
    lines.push(
      owner === undefined
        ? `No engine owns its shard ${shard} now, so nothing moves until one takes it; see \`hodei get engines\`.`
        : `Engine ${owner} owns it (shard ${shard}).`,
    );
    return lines;
  }

  #whyJob(
    record: JobRecord,
    head: ExecutionHead,
    demand: readonly ClassDemand[],
    queue: readonly JobRecord[],
  ): string[] {
    const { job, facts, worker } = record;
    const name = `Job ${job.step}/${job.iteration}, attempt ${job.attempt}`;
    const nowMs = this.#options.clock.now();
    if (record.state === "claimed") {
      const since = facts.startedAtMs ?? facts.claimedAtMs;
      const how = facts.startedAtMs === undefined ? "was given to" : "runs on";
      return [`${name}, ${how} worker ${worker ?? "?"}${since === undefined ? "" : ` for ${ago(nowMs, since)}`}.`];
    }
    const lines = [`${name}, has waited for ${ago(nowMs, facts.enqueuedAtMs)} with ${job.priority} priority.`];
    if (head.gate !== "open") return lines;
    if (job.workspace !== undefined) {
      lines.push("It shares a workspace: once a worker holds that, the job waits for this worker alone.");
    }
    lines.push(...whyClass(record, demand, queue));
    return lines;
  }

  /** Nothing for workers to do: what it waits for instead, by step. */
  async #whyNoJob(head: ExecutionHead): Promise<string[]> {
    const { execution, definition } = await this.#options.executions.read(head.namespace, head.id);
    const defined = { ...definition.steps, ...definition.finally };
    const lines: string[] = [];
    for (const [step, { iterations, state }] of Object.entries(execution.steps)) {
      if (state !== "open") continue;
      const open = Object.entries(iterations).filter(([, one]) => one.state === "waiting" || one.state === "backoff");
      for (const [key, one] of open.slice(0, EXPLAINED)) {
        const until = one.untilMs === undefined ? "" : ` for another ${ago(one.untilMs, this.#options.clock.now())}`;
        if (one.state === "backoff") lines.push(`Step ${step}/${key} waits${until} before its next attempt.`);
        else if (one.childId !== undefined)
          lines.push(`Step ${step}/${key} waits for its sub-workflow ${one.childId}.`);
        else lines.push(...whyWaiting(defined[step], `${step}/${key}`, head.id, until));
      }
    }
    return lines.length > 0 ? lines : ["It has no open job; its owner is about to decide what comes next."];
  }
}

/** A step that only time or a person can move. */
function whyWaiting(step: Step | undefined, name: string, id: string, until: string): string[] {
  if (step?.kind !== "wait") return [`Step ${name} sleeps${until}.`];
  const what = step.approval === undefined ? `signal "${step.signal}"` : "approval";
  const payload = step.approval === undefined ? "[JSON]" : `'{"approved": true}'`;
  return [`Step ${name} waits for ${what}${until}; send it with: hodei signal ${id} ${step.signal} ${payload}`];
}

/** Where a queued job stands among those that ask for the same, and whether anything connected could serve them. */
function whyClass(
  { job, classKey, mismatches }: JobRecord,
  demand: readonly ClassDemand[],
  queue: readonly JobRecord[],
) {
  const same = queue.filter((other) => other.state === "queued" && other.classKey === classKey);
  const position = same.findIndex((other) => other.job.id === job.id);
  const before = (position < 0 ? same : same.slice(0, position)).filter(
    (other) => BAND[other.job.priority] <= BAND[job.priority],
  ).length;
  const label = job.requirement.label === undefined ? "" : ` with label "${job.requirement.label}"`;
  const handler = job.requirement.handler === undefined ? "" : ` with handler "${job.requirement.handler}"`;
  const lines = [
    `It asks for a worker${label}${handler}; ${position < 0 ? "at least " : ""}${before} ${before === 1 ? "job goes" : "jobs go"} before it.`,
  ];
  const found = demand.find((one) => one.classKey === classKey);
  if (!found) return [...lines, "It is held back for now, or about to be given out."];
  if (found.servable)
    return [...lines, "A connected worker could run it, but all of those are busy: it waits for one to be free."];
  lines.push("No connected worker can run it:");
  const reasons = found.mismatches.length > 0 ? found.mismatches : (mismatches ?? []);
  for (const { clause, reason } of reasons) lines.push(`  ${clause}: ${reason}`);
  if (reasons.length === 0) lines.push("  no worker is connected at all; `hodei get workers` shows who is.");
  return lines;
}

/** What stands before the step in a job's id; undefined when the text is no job id of this namespace. */
function executionOf(namespace: string, id: string): string | undefined {
  const match = /^([^/]+)\/(.+)\/[^/]+\/[^/#]+#\d+$/.exec(id);
  return match?.[1] === namespace ? match[2] : undefined;
}

function noOpenJob(id: string): HodeiError {
  return new HodeiError("NOT_FOUND", `there is no open job and no execution "${id}"`, {
    field: "id",
    hint: "A job is listed until it has ended; what became of it is in `hodei history EXECUTION`.",
  });
}

const ago = (nowMs: number, sinceMs: number): string =>
  formatDuration(Math.max(0, Math.round((nowMs - sinceMs) / 1000) * 1000));

function viewOf({ job, state, worker, facts, mismatches }: JobRecord): JobView {
  const { id, executionId, step, iteration, attempt, priority, requirement } = job;
  const reason = mismatches?.map((mismatch) => `${mismatch.clause}: ${mismatch.reason}`).join("; ");
  return {
    id,
    executionId,
    step,
    iteration,
    attempt,
    state,
    priority,
    requirement,
    enqueuedAtMs: facts.enqueuedAtMs,
    ...(worker === undefined ? {} : { worker }),
    ...(facts.claimedAtMs === undefined ? {} : { claimedAtMs: facts.claimedAtMs }),
    ...(reason ? { reason } : {}),
  };
}

export type JobsOptions = {
  store: Store;
  starter: Starter;
  executions: Executions;
  router: Router;
  clock: Clock;
};
