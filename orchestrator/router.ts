import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { Store } from "../store/store.ts";
import { CALL_DEADLINE_MS, type RequestOf, type ResponseOf } from "../transport/transport.ts";
import { HodeiError, isHodeiError, toHodeiError } from "../workflow/errors.ts";
import { shardOf } from "../workflow/shard.ts";
import type { EngineLink, EngineLinks } from "./links.ts";

/** Engine calls that are about one execution and safe to repeat: a start by its id, a message by its own. */
type Routed = "start" | "deliver";

export type RouteOptions = { deadlineMs?: number; signal?: AbortSignal };

/** One try at one engine; shorter than most deadlines, so that a hung engine leaves time for its successor. */
const TRY_DEADLINE_MS = 5_000;
const RETRY = { initialMs: 20, maxMs: 500 };
/** Hints followed at once, before backing off: two engines with an old view must not play ping-pong. */
const HINTS_FOLLOWED = 3;
/** Kept back from the caller's deadline, so that it gets our reason instead of a bare DEADLINE_EXCEEDED. */
const ANSWER_MARGIN_MS = 100;

const REPEAT = "Repeat the request with the same id, it is safe";

/**
 * Execution → shard → the engine that owns it now, with patience: while a shard moves, the request waits and is tried
 * again with full-jitter backoff until its own deadline. What is cached is only a guess; the engine knows.
 */
export class Router {
  readonly #options: RouterOptions;
  #owners = new Map<number, string>();
  #refreshing: Promise<void> | undefined;
  #stopped = false;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Calls that are waiting for an owner give up within one backoff; those to come are refused. */
  stop(): void {
    this.#stopped = true;
  }

  shardOf(namespace: string, id: string): number {
    return shardOf(namespace, id, this.#options.shards);
  }

  /** The engine that owns the shard, as far as known now. */
  async ownerOf(shard: number): Promise<string | undefined> {
    if (!this.#owners.has(shard)) await this.refresh();
    return this.#owners.get(shard);
  }

  /** Reads the owners again; calls that come together share one read. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#read().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  /**
   * Calls the owner of the execution's shard. Throws what the engine refused for good; UNAVAILABLE when no owner could
   * be reached in time (safe to repeat); CANCELLED or DEADLINE_EXCEEDED as the signal says.
   */
  async call<M extends Routed>(
    method: M,
    request: RequestOf<"engine", M> & { namespace: string; id: string },
    options: RouteOptions = {},
  ): Promise<ResponseOf<"engine", M>> {
    const { clock, random, links } = this.#options;
    const shard = this.shardOf(request.namespace, request.id);
    const budgetMs = options.deadlineMs ?? CALL_DEADLINE_MS;
    const untilMs = clock.monotonic() + Math.max(budgetMs - ANSWER_MARGIN_MS, budgetMs / 2);
    let hint: EngineLink | undefined;
    let failure: HodeiError | undefined;
    for (let attempt = 0, hops = 0; ; attempt++) {
      options.signal?.throwIfAborted();
      if (this.#stopped) throw new HodeiError("UNAVAILABLE", "this orchestrator has stopped", { hint: REPEAT });
      const link: EngineLink | undefined = hint ?? (await this.#linkOf(shard));
      const leftMs = untilMs - clock.monotonic();
      if (link && leftMs > 0) {
        try {
          return await this.#try(link, method, request, Math.min(leftMs, TRY_DEADLINE_MS), options.signal);
        } catch (error) {
          failure = this.#judge(link, error, options.signal);
          this.#owners.delete(shard);
          hint = links.byHint(failure.facts.owner);
          if (hint === link) hint = undefined;
          if (hint && hops++ < HINTS_FOLLOWED) continue;
        }
      }
      hint = undefined;
      const pauseMs = fullJitterMs(attempt, random.float(), RETRY);
      if (clock.monotonic() + pauseMs >= untilMs) throw this.#gaveUp(shard, link, failure);
      await clock.sleep(pauseMs, options.signal);
      await this.refresh();
    }
  }

  async #try<M extends Routed>(
    link: EngineLink,
    method: M,
    request: RequestOf<"engine", M> & { namespace: string; id: string },
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<ResponseOf<"engine", M>> {
    return await link.channel.call("engine", method, request, signal ? { deadlineMs, signal } : { deadlineMs });
  }

  /** Answers the failure when trying again may help, throws it otherwise. */
  #judge(link: EngineLink, error: unknown, signal: AbortSignal | undefined): HodeiError {
    const failure = toHodeiError(error);
    signal?.throwIfAborted();
    switch (failure.code) {
      case "UNAVAILABLE":
        // Whether it is dead is for the link to find out; a call that was refused is a good reason to look now.
        if (failure.facts.evidence === "refused" && link.state !== "refused") void this.#options.links.probe(link);
        return failure;
      case "NOT_OWNER":
      case "FENCED":
      case "CONFLICT":
      case "DEADLINE_EXCEEDED":
      // Our own channel was closed because the engine has left or moved.
      case "CANCELLED":
        return failure;
      default:
        throw failure;
    }
  }

  #gaveUp(shard: number, link: EngineLink | undefined, failure: HodeiError | undefined): HodeiError {
    const owner = link ? `engine ${link.name} (${link.address}) did not take it` : "no engine owns it now";
    const why = failure ? `: ${failure.message}` : "";
    return new HodeiError("UNAVAILABLE", `shard ${shard} could not be reached: ${owner}${why}`, {
      hint: `${REPEAT}; \`hodei get engines\` and \`hodei get shards\` show who is there.`,
      facts: { shard: String(shard), ...(link ? { engine: link.name } : {}) },
      ...(failure ? { cause: failure } : {}),
    });
  }

  async #linkOf(shard: number): Promise<EngineLink | undefined> {
    const owner = await this.ownerOf(shard);
    return owner === undefined ? undefined : this.#options.links.byName(owner);
  }

  async #read(): Promise<void> {
    const records = await this.#options.store.shards();
    this.#owners = new Map(
      records.flatMap(({ shard, owner }) => (owner === undefined ? [] : [[shard, owner] as const])),
    );
  }
}

/** Whether a routed call that failed so may succeed when it is repeated later, with the same ids. */
export function isTransient(error: unknown): boolean {
  return isHodeiError(
    error,
    "UNAVAILABLE",
    "NOT_OWNER",
    "FENCED",
    "CONFLICT",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "RESOURCE_EXHAUSTED",
    "INTERNAL",
  );
}

export type RouterOptions = {
  store: Store;
  links: EngineLinks;
  clock: Clock;
  random: Random;
  shards: number;
};
