import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { OutboxEntry } from "../store/store.ts";
import type { ChildGateway } from "../transport/api/engine.ts";
import type { ErrorCode, HodeiError } from "../workflow/errors.ts";
import { toHodeiError } from "../workflow/errors.ts";
import type { Message, OutboxMessage } from "../workflow/message.ts";
import type { Emit } from "./events.ts";
import type { Envelope } from "./mailbox.ts";
import type { Metrics } from "./metrics.ts";
import { executionKey } from "./keys.ts";

export type OutboxOptions = {
  gateway: ChildGateway;
  clock: Clock;
  random: Random;
  logger: Logger;
  emit: Emit;
  metrics: Metrics;
  post: (of: Source, envelope: Envelope) => void;
};

type Source = { namespace: string; id: string; shard: number };
/** What one execution has for another, in order; the first is in flight. */
type Line = { source: Source; target: string; entries: OutboxEntry[]; attempts: number };

/** Says nothing about the message itself: the same one may be taken later. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "NOT_OWNER",
  "RESOURCE_EXHAUSTED",
  "FENCED",
  "CONFLICT",
  "CANCELLED",
  "UNAUTHENTICATED",
]);
const BACKOFF = { initialMs: 50, maxMs: 10_000 };
/** Deliveries of one engine at once. */
const AT_ONCE = 128;

/**
 * Carries messages between executions through the orchestrator: at least once, in order per source and target, with one
 * in flight. The order is also what makes a cancel safe: it is sent only after the start of the same child was taken, so
 * it can never overtake it and no tombstone is needed. An entry leaves the store's outbox with the source's next turn.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #lines = new Map<string, Line>();
  readonly #waiting: Line[] = [];
  /** Deliveries that are not answered yet. One that is put off is not among them: it must not keep a place. */
  #inFlight = 0;
  readonly #stopping = new AbortController();

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get size(): number {
    return [...this.#lines.values()].reduce((sum, line) => sum + line.entries.length, 0);
  }

  push(source: Source, entries: readonly OutboxEntry[]): void {
    for (const entry of entries) {
      const key = `${executionKey(source.namespace, source.id)}\n${entry.target}`;
      const line = this.#lines.get(key);
      if (line) {
        line.entries.push(entry);
        continue;
      }
      const made = { source, target: entry.target, entries: [entry], attempts: 0 };
      this.#lines.set(key, made);
      this.#waiting.push(made);
    }
    this.#go();
  }

  /** Its new owner sends again what was not acknowledged; receivers know a message they have seen. */
  dropShard(shard: number): void {
    for (const [key, line] of this.#lines) {
      if (line.source.shard !== shard) continue;
      line.entries.length = 0;
      this.#lines.delete(key);
    }
  }

  stop(): void {
    this.#stopping.abort(new Error("the engine stops"));
    this.#lines.clear();
    this.#waiting.length = 0;
  }

  #go(): void {
    while (this.#inFlight < AT_ONCE && !this.#stopping.signal.aborted) {
      const line = this.#waiting.shift();
      if (!line) return;
      this.#inFlight += 1;
      void this.#send(line).finally(() => {
        this.#inFlight -= 1;
        this.#go();
      });
    }
  }

  async #send(line: Line): Promise<void> {
    const [entry] = line.entries;
    if (!entry) return this.#forget(line);
    let refused: HodeiError | undefined;
    const message = JSON.parse(entry.text) as OutboxMessage;
    try {
      await this.#deliver(line.source, message);
    } catch (error) {
      refused = toHodeiError(error);
      if (TRANSIENT.has(refused.code) || (refused.code === "INTERNAL" && message.kind !== "startChild")) {
        return this.#later(line, refused);
      }
    }
    // The shard may have gone while we waited: then it is the next owner's to say.
    if (line.entries[0] !== entry) return;
    line.entries.shift();
    line.attempts = 0;
    this.#acknowledge(line, entry, message, refused);
    if (line.entries.length === 0) this.#forget(line);
    else this.#waiting.push(line);
  }

  async #deliver(source: Source, message: OutboxMessage): Promise<void> {
    const { gateway } = this.#options;
    const to = { namespace: source.namespace, id: message.target };
    switch (message.kind) {
      case "startChild": {
        const { workflow, version, digest, parent } = message;
        return await gateway.startChild({
          ...to,
          workflow,
          version,
          digest,
          inputJson: JSON.stringify(message.input),
          parent,
        });
      }
      case "cancelChild": {
        const { step, iteration, reason } = message;
        // Stable, so that a repeat is the same cancel: a parent cancels a child once per iteration.
        const id = `cancel/${source.id}/${step}/${iteration}`;
        const cancel: Message = { kind: "cancel", id, reason, by: `execution ${source.id}` };
        return await gateway.deliver({ ...to, messageJson: JSON.stringify(cancel) });
      }
      case "childEnded": {
        const { target: _target, parentUid: _parentUid, ...ended } = message;
        return await gateway.deliver({ ...to, messageJson: JSON.stringify(ended satisfies Message) });
      }
      default:
        return message satisfies never;
    }
  }

  #acknowledge(line: Line, entry: OutboxEntry, message: OutboxMessage, refused: HodeiError | undefined): void {
    const { metrics, logger, emit, post } = this.#options;
    metrics.count("hodei_outbox_deliveries_total", { kind: message.kind, result: refused?.code ?? "taken" });
    const envelope: Envelope = {
      outboxDone: entry.id,
      done: (result) => this.#acknowledged(line, entry, result.status),
    };
    if (refused && message.kind === "startChild") {
      const { step, iteration, target: childId } = message;
      const error = { code: refused.code, message: refused.message };
      envelope.message = { kind: "childRefused", step, iteration, childId, error };
    } else if (refused && refused.code !== "NOT_FOUND" && refused.code !== "CLOSED") {
      // NOT_FOUND and CLOSED are as good as delivered: nobody is left to be told.
      logger.error(
        { error: refused, execution: line.source.id, target: line.target },
        "message to an execution refused",
      );
      emit("OutboxRefused", `${message.kind} to ${line.target} was refused: ${refused.message}`, {
        executionId: line.source.id,
      });
    }
    post(line.source, envelope);
  }

  #acknowledged(line: Line, entry: OutboxEntry, status: string): void {
    if (status !== "failed") return;
    // Not taken off the store's list (the shard has gone, or the execution is set aside): it will be sent again.
    this.#options.logger.debug({ execution: line.source.id, entry: entry.id }, "acknowledgement was not recorded");
  }

  #later(line: Line, error: HodeiError): void {
    const { clock, random, logger } = this.#options;
    line.attempts += 1;
    logger.debug(
      { error, execution: line.source.id, target: line.target, attempts: line.attempts },
      "delivery put off",
    );
    clock
      .sleep(fullJitterMs(line.attempts, random.float(), BACKOFF), this.#stopping.signal)
      .then(() => {
        this.#waiting.push(line);
        this.#go();
      })
      .catch((reason: unknown) => logger.debug({ error: reason }, "delivery given up: the engine stops"));
  }

  #forget(line: Line): void {
    const key = `${executionKey(line.source.namespace, line.source.id)}\n${line.target}`;
    if (this.#lines.get(key) === line) this.#lines.delete(key);
  }
}
