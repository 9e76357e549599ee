import type { HodeiError } from "../workflow/errors.ts";
import type { Definition } from "../workflow/definition.ts";
import type { Message } from "../workflow/message.ts";

/** One thing for an execution, with what must leave the store in the commit that folds it. */
export type Envelope = {
  /** Absent: nothing to fold, only something to take off the store's lists. */
  message?: Message;
  /** With a start: everything locked, by digest, and its root. */
  opening?: { definitions: Record<string, string>; definition: Definition };
  /** Of the execution that an outcome was made for; an outcome for an older one of the same id is dropped. */
  uid?: string;
  /** An inbox entry. */
  take?: string;
  /** An outcome that came straight from a worker of this engine. */
  settle?: { jobId: string; token: string };
  /** A timer that fired. */
  fire?: string;
  /** An outbox entry whose delivery was acknowledged. */
  outboxDone?: string;
  /** Called once; a mailbox sees to it that what comes after the first answer is ignored. */
  done: (result: Result) => void;
};

export type Committed = {
  status: "committed";
  revision: number;
  uid: string;
  version: string;
  digest: string;
  created: boolean;
};

export type Result =
  | Committed
  /** This message alone was refused, or the shard is not ours any more (NOT_OWNER). Nothing of it was recorded. */
  | { status: "failed"; error: HodeiError }
  /** Only for `settle`: this turn could not take the outcome; the store must judge it by `reportAndClaim`. */
  | { status: "report" }
  /** A timer that is not due by the store's clock. */
  | { status: "early"; byMs: number };

/** Outcomes and timers are bounded by what is open; what callers may pile up on one execution is bounded here. */
export const MAILBOX_BOUND = 10_000;

/**
 * First in, first out; what a failed turn puts back goes to the front, so that order per sender holds. But outcomes that
 * are durable (inbox entries) come before everything else: a timeout or a cancel that came here earlier must not end an
 * attempt whose end somebody was already told was taken. Among them losses come last, for the same reason: the loss of a
 * workspace ends all attempts in it.
 */
export class Mailbox {
  #results: Envelope[] = [];
  #losses: Envelope[] = [];
  #others: Envelope[] = [];

  get size(): number {
    return this.#results.length + this.#losses.length + this.#others.length;
  }

  push(envelope: Envelope): void {
    answerOnce(envelope);
    const kind = kindOf(envelope);
    (kind === "other" ? this.#others : kind === "loss" ? this.#losses : this.#results).push(envelope);
  }

  take(limit: number): Envelope[] {
    if (this.#results.length + this.#losses.length === 0) return this.#others.splice(0, limit);
    const taken = this.#results.splice(0, limit);
    taken.push(...this.#losses.splice(0, limit - taken.length));
    taken.push(...this.#others.splice(0, limit - taken.length));
    return taken;
  }

  putBack(envelopes: readonly Envelope[]): void {
    if (envelopes.length === 0) return;
    const of = (kind: "result" | "loss" | "other"): Envelope[] => envelopes.filter((each) => kindOf(each) === kind);
    this.#results = [...of("result"), ...this.#results];
    this.#losses = [...of("loss"), ...this.#losses];
    this.#others = [...of("other"), ...this.#others];
  }
}

function kindOf({ take, message }: Envelope): "result" | "loss" | "other" {
  if (take === undefined) return "other";
  return message?.kind === "outcome" && message.outcome.kind === "lost" ? "loss" : "result";
}

/** A turn that breaks half-way answers all that rode in it, and cannot know which of them it had answered before. */
function answerOnce(envelope: Envelope): void {
  let answer: Envelope["done"] | undefined = envelope.done;
  envelope.done = (result) => {
    const first = answer;
    answer = undefined;
    first?.(result);
  };
}
