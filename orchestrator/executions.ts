import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { ExecutionHead, JobRecord, Store } from "../store/store.ts";
import type { ExecutionSummary, ExecutionView, HistoryEntry, LogsResponse } from "../transport/api/execution.ts";
import type { CallContext, ServiceHandlers } from "../transport/transport.ts";
import type { Definition } from "../workflow/definition.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import type { HistoryEvent } from "../workflow/event.ts";
import type { JsonObject } from "../workflow/json.ts";
import { DISPLAY_STATES, displayState, type Execution } from "../workflow/execution.ts";
import { fold } from "../workflow/fold.ts";
import { LIMITS } from "../workflow/limits.ts";
import { parseNormalForm } from "../workflow/load.ts";
import type { Message } from "../workflow/message.ts";
import { type OpenJob, stepViews } from "../workflow/view.ts";
import { Pulse } from "./pulse.ts";
import { Recent } from "./recent.ts";
import { checkCount, checkKnownId, checkLabels, checkLength, messageId, pageSize, parseJson } from "./request.ts";
import type { RouteOptions, Router } from "./router.ts";
import { type EndWatch, runStarts } from "./run.ts";
import { readHead, type Starter } from "./start.ts";

/** Hints may be lost: whoever waits looks again after this anyway. */
const LOOK_AGAIN_MS = 10_000;
/** A step's last log lines travel beside its result and may be stored just after it. */
const LAST_LINES_MS = 250;
const PAGE = { usual: 50, most: 500 };
/** Commits of one page of history. */
const COMMITS = { usual: 500, most: 5_000 };
const LOG_BYTES = 256 * 1024;
/** Open jobs that one view shows the worker or the waiting of. */
const JOBS_SHOWN = 1_000;
const DEFINITIONS = 256;
/** Of a cancel, in characters: it is kept in the history for ever. */
const REASON_LENGTH = 1024;

type Handlers = ServiceHandlers<"execution">;

/** Start and steer executions, read what they did. Reads come from the store; what changes one goes to its owner. */
export class Executions implements Handlers {
  readonly #options: ExecutionsOptions;
  readonly #definitions = new Recent<Definition>(DEFINITIONS);

  constructor(options: ExecutionsOptions) {
    this.#options = options;
  }

  readonly start: Handlers["start"] = (request, context) =>
    this.#options.starter.start(context.identity.namespace, request, routeOf(context));

  readonly get: Handlers["get"] = async ({ id }, { identity }) => {
    checkKnownId(id);
    return await this.#viewOf(identity.namespace, await this.read(identity.namespace, id));
  };

  readonly list: Handlers["list"] = async (request, { identity }) => {
    const unknown = request.states.find((state) => !DISPLAY_STATES.includes(state));
    if (unknown !== undefined) {
      throw new HodeiError("INVALID_ARGUMENT", `there is no execution state "${String(unknown)}"`, {
        field: "states",
        hint: `States are ${DISPLAY_STATES.join(", ")}.`,
      });
    }
    const { states, labels, limit, workflow, parent, page, startedAfterMs, startedBeforeMs } = request;
    checkCount(states, DISPLAY_STATES.length, "states");
    checkLabels(labels);
    const { executions, nextPage } = await this.#options.store.listExecutions({
      namespace: identity.namespace,
      ...(workflow ? { workflow } : {}),
      ...(parent ? { parent } : {}),
      ...(page ? { page } : {}),
      ...(startedAfterMs === undefined ? {} : { startedAfterMs }),
      ...(startedBeforeMs === undefined ? {} : { startedBeforeMs }),
      ...(states.length > 0 ? { states } : {}),
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
      limit: pageSize(limit, PAGE.usual, PAGE.most),
    });
    const rows = executions.map(summaryOf);
    return nextPage === undefined ? { executions: rows } : { executions: rows, nextPage };
  };

  readonly wait: Handlers["wait"] = async ({ id }, { identity, signal }) => {
    checkKnownId(id);
    return await this.waitFor(identity.namespace, id, signal);
  };

  /** Resolves with the view of the ended execution; rejects with the signal's reason. Holds nothing between two hints. */
  async waitFor(namespace: string, id: string, signal: AbortSignal): Promise<ExecutionView> {
    const end = this.#watchEnd(namespace, id, signal);
    try {
      return await end.reached(false, false);
    } finally {
      end.unwatch();
    }
  }

  /** Watches from this call on: for one that is started after it there is nothing to read before it has ended. */
  #watchEnd(namespace: string, id: string, signal: AbortSignal): EndWatch {
    const { store, clock } = this.#options;
    const pulse = new Pulse(clock);
    const unwatch = store.watch({ kind: "end", namespace, id }, () => pulse.wake());
    const reached = async (startedSince: boolean, brief: boolean): Promise<ExecutionView> => {
      let woken = false;
      for (let look = !startedSince; ; look = true) {
        const view = look ? await (brief ? this.#briefEnd(namespace, id) : this.#end(namespace, id, woken)) : undefined;
        if (view) return view;
        woken = await pulse.wait(LOOK_AGAIN_MS, signal);
        throwIfGivenUp(signal);
      }
    };
    return { reached, unwatch };
  }

  /** Undefined while it runs. `likely`: somebody says that it has ended, so that a look at its head first would be one more. */
  async #end(namespace: string, id: string, likely: boolean): Promise<ExecutionView | undefined> {
    if (!likely && !hasEnded(await this.#head(namespace, id))) return undefined;
    const found = await this.read(namespace, id);
    return hasEnded(found.head) ? await this.#viewOf(namespace, found) : undefined;
  }

  async #briefEnd(namespace: string, id: string): Promise<ExecutionView | undefined> {
    const head = await this.#head(namespace, id);
    if (!hasEnded(head)) return undefined;
    const end = head.state === "succeeded" ? await this.#endOf(head) : undefined;
    if (!end) return await this.#end(namespace, id, true);
    const output = end.output === undefined ? {} : { outputJson: JSON.stringify(end.output) };
    return { ...summaryOf(head), digest: head.digest, inputJson: "", ...output, steps: [] };
  }

  /** From its last commit alone: to read and fold all the events of a wide execution takes longer than most of its steps. */
  async #endOf({ namespace, id, revision }: ExecutionHead): Promise<{ output?: JsonObject } | undefined> {
    const last = { namespace, id, afterRevision: revision - 1, limit: 1 };
    const page = await this.#options.store.readHistory(last);
    const events = page?.commits.at(-1)?.events.map((event) => JSON.parse(event) as HistoryEvent) ?? [];
    const end = events.findLast((event) => event.type === "executionEnded");
    return end?.state === "succeeded" ? end : undefined;
  }

  readonly cancel: Handlers["cancel"] = async ({ id, reason, messageId: given }, context) => {
    checkLength(reason, REASON_LENGTH, "reason");
    const by = context.identity.subject;
    return await this.#deliver(id, context, { kind: "cancel", id: this.#messageId(given), reason, by });
  };

  readonly signal: Handlers["signal"] = async ({ id, name, payloadJson, messageId: given }, context) => {
    if (name === "" || name.length > LIMITS.idLength) {
      throw new HodeiError("INVALID_ARGUMENT", `a signal's name has 1 to ${LIMITS.idLength} characters`, {
        field: "name",
      });
    }
    const payload = parseJson(payloadJson, "payloadJson", LIMITS.signalBytes, null);
    const by = context.identity.subject;
    return await this.#deliver(id, context, { kind: "signal", id: this.#messageId(given), name, payload, by });
  };

  readonly pause: Handlers["pause"] = async ({ id, messageId: given }, context) =>
    await this.#deliver(id, context, { kind: "pause", id: this.#messageId(given), by: context.identity.subject });

  readonly resume: Handlers["resume"] = async ({ id, messageId: given }, context) =>
    await this.#deliver(id, context, { kind: "resume", id: this.#messageId(given), by: context.identity.subject });

  readonly retry: Handlers["retry"] = async ({ id, steps, messageId: given }, context) => {
    checkCount(steps, LIMITS.steps, "steps");
    const by = context.identity.subject;
    return await this.#deliver(id, context, { kind: "retry", id: this.#messageId(given), by, steps });
  };

  readonly history: Handlers["history"] = async ({ id, afterRevision, limit }, { identity }) => {
    checkKnownId(id);
    const { namespace } = identity;
    const page = await this.#options.store.readHistory({
      namespace,
      id,
      afterRevision,
      limit: pageSize(limit, COMMITS.usual, COMMITS.most),
    });
    if (!page) throw unknownExecution(namespace, id);
    return { entries: entriesOf(page.commits), more: page.more };
  };

  readonly watch: Handlers["watch"] = ({ id, afterRevision }, { identity, signal }) =>
    this.#follow(identity.namespace, id, afterRevision, signal);

  readonly logs: Handlers["logs"] = (request, { identity, signal }) => this.#logs(identity.namespace, request, signal);

  readonly run: Handlers["run"] = async (stream, context) =>
    await runStarts(stream, {
      clock: this.#options.clock,
      start: (request) => this.#options.starter.start(context.identity.namespace, request, { signal: context.signal }),
      watchEnd: (id) => this.#watchEnd(context.identity.namespace, id, context.signal),
    });

  async *#follow(namespace: string, id: string, after: number, signal: AbortSignal): AsyncGenerator<HistoryEntry> {
    checkKnownId(id);
    const { store, clock } = this.#options;
    const pulse = new Pulse(clock);
    const unwatch = store.watch({ kind: "execution", namespace, id }, () => pulse.wake());
    try {
      for (let afterRevision = after; ;) {
        const page = await store.readHistory({ namespace, id, afterRevision, limit: COMMITS.usual });
        if (!page) throw unknownExecution(namespace, id);
        for (const commit of page.commits) {
          yield* entriesOf([commit]);
          afterRevision = commit.revision;
        }
        if (page.more) continue;
        if (hasEnded(page.head)) return;
        await pulse.wait(LOOK_AGAIN_MS, signal);
        throwIfGivenUp(signal);
      }
    } finally {
      unwatch();
    }
  }

  async *#logs(
    namespace: string,
    request: { id: string; step?: string; follow: boolean; after?: string },
    signal: AbortSignal,
  ): AsyncGenerator<LogsResponse> {
    checkKnownId(request.id);
    const { store, clock } = this.#options;
    const of = { namespace, executionId: request.id, ...(request.step ? { step: request.step } : {}) };
    const pulse = new Pulse(clock);
    const unwatch = [
      store.watch({ kind: "logs", namespace, executionId: request.id }, () => pulse.wake()),
      store.watch({ kind: "execution", namespace, id: request.id }, () => pulse.wake()),
    ];
    let after = request.after === "" ? undefined : request.after;
    let lastLook = false;
    try {
      for (;;) {
        // Asked before the read: what the log holds after the end was seen is all there is.
        const head = await this.#head(namespace, request.id);
        const page = await store.logs.read({ ...of, ...(after === undefined ? {} : { after }), limitBytes: LOG_BYTES });
        for (const [index, chunk] of page.chunks.entries()) {
          // The store's cursor is good for a whole page; within one, resuming repeats it (offsets tell what is known).
          yield { ...chunk, cursor: index === page.chunks.length - 1 ? page.next : (after ?? "") };
        }
        after = page.next;
        if (page.more) continue;
        if (!request.follow || lastLook) return;
        if (hasEnded(head)) {
          lastLook = true;
          await clock.sleep(LAST_LINES_MS, signal);
        } else {
          await pulse.wait(LOOK_AGAIN_MS, signal);
          throwIfGivenUp(signal);
        }
      }
    } finally {
      for (const stop of unwatch) stop();
    }
  }

  async #head(namespace: string, id: string): Promise<ExecutionHead> {
    const head = await readHead(this.#options.store, namespace, id);
    if (!head) throw unknownExecution(namespace, id);
    return head;
  }

  #messageId(given: string): string {
    return messageId(given, () => this.#options.random.id());
  }

  async #deliver(id: string, context: CallContext, message: Message): Promise<{ revision: number }> {
    checkKnownId(id);
    const { namespace } = context.identity;
    const request = { namespace, id, messageJson: JSON.stringify(message) };
    try {
      return await this.#options.router.call("deliver", request, routeOf(context));
    } catch (error) {
      // The engine's words are for orchestrators; a reader of the same id gets these.
      throw isHodeiError(error, "NOT_FOUND") ? unknownExecution(namespace, id, error) : error;
    }
  }

  async #viewOf(namespace: string, { head, execution, definition }: Found): Promise<ExecutionView> {
    const { store, router } = this.#options;
    const open = hasEnded(head) ? [] : await store.jobs({ namespace, executionId: head.id, limit: JOBS_SHOWN });
    const engine = hasEnded(head) ? undefined : await router.ownerOf(head.shard);
    return {
      ...summaryOf(head),
      digest: head.digest,
      inputJson: JSON.stringify(execution.input),
      ...(execution.output === undefined ? {} : { outputJson: JSON.stringify(execution.output) }),
      ...(execution.error === undefined ? {} : { error: execution.error }),
      ...(engine === undefined ? {} : { engine }),
      steps: stepViews(definition, execution, open.map(openJob)),
    };
  }

  /** The folded state with its definition. Throws NOT_FOUND. */
  async read(namespace: string, id: string): Promise<Found> {
    const record = await this.#options.store.readExecution({ namespace, id });
    if (!record || record.status !== "OK") throw unknownExecution(namespace, id);
    const { head, snapshot, events, definitions } = record;
    const from = snapshot ? (JSON.parse(snapshot.text) as Execution) : undefined;
    const execution = fold(
      events.map((event) => JSON.parse(event) as HistoryEvent),
      from,
    );
    const body = definitions[head.digest];
    const definition = this.#definitions.get(head.digest) ?? (body === undefined ? undefined : parseNormalForm(body));
    if (!definition) {
      throw new HodeiError("DATA_CORRUPT", `execution ${id} is stored without its definition ${head.digest}`);
    }
    this.#definitions.set(head.digest, definition);
    return { head, execution, definition };
  }
}

type Found = { head: ExecutionHead; execution: Execution; definition: Definition };

function openJob({ job, state, worker, facts, mismatches = [] }: JobRecord): OpenJob {
  const reason = mismatches.map((mismatch) => `${mismatch.clause}: ${mismatch.reason}`).join("; ");
  // The store hears of a start with the end only; until then a job runs from when it was given to its worker.
  const startedAtMs = facts.startedAtMs ?? (state === "claimed" ? facts.claimedAtMs : undefined);
  return {
    jobId: job.id,
    state,
    ...(worker === undefined ? {} : { worker }),
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(reason === "" ? {} : { reason }),
  };
}

export function unknownExecution(namespace: string, id: string, cause?: unknown): HodeiError {
  return new HodeiError("NOT_FOUND", `there is no execution "${id}" in namespace ${namespace}`, {
    field: "id",
    hint: "`hodei get executions` lists them; finished ones are deleted after their retention.",
    cause,
  });
}

export function hasEnded(head: Pick<ExecutionHead, "state">): boolean {
  return head.state !== "running";
}

/** The caller's deadline and patience, for what is routed on its behalf. */
export function routeOf({ signal, deadlineMs }: CallContext): RouteOptions {
  return deadlineMs === undefined ? { signal } : { signal, deadlineMs };
}

function throwIfGivenUp(signal: AbortSignal): void {
  if (!signal.aborted) return;
  if (signal.reason instanceof HodeiError) throw signal.reason;
  throw new HodeiError("CANCELLED", "the caller gave up", { cause: signal.reason });
}

function summaryOf(head: ExecutionHead): ExecutionSummary {
  const { id, uid, workflow, version, labels, parent, shard, revision, startedAtMs, endedAtMs } = head;
  return {
    id,
    uid,
    workflow,
    version,
    state: displayState(head),
    labels,
    ...(parent === undefined ? {} : { parent }),
    shard,
    revision,
    startedAtMs,
    ...(endedAtMs === undefined ? {} : { endedAtMs }),
  };
}

function entriesOf(commits: readonly { revision: number; events: string[] }[]): HistoryEntry[] {
  return commits.flatMap(({ revision, events }) => events.map((eventJson) => ({ revision, eventJson })));
}

export type ExecutionsOptions = {
  store: Store;
  starter: Pick<Starter, "start">;
  router: Pick<Router, "call" | "ownerOf">;
  clock: Clock;
  random: Random;
};
