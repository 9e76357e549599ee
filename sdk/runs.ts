import type { Clock, Timer } from "../base/clock.ts";
import type { ExecutionView, RunRequest, RunResponse, StartRequest } from "../transport/api/execution.ts";
import type { Duplex } from "../transport/transport.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";

/** Beyond so many the server reads a stream no further (RUNS_IN_FLIGHT there): the next ones get another stream. */
const RUNS_PER_STREAM = 256;
/**
 * A stream that nobody uses ends after 1 to 2 times this. Not kept: an open stream keeps a program alive that forgets to
 * close its client. Not ended at once: a program that runs one execution after the other would pay for a stream each time.
 */
const IDLE_MS = 250;
/**
 * A stream with runs on which nothing came for 1 to 2 times this is asked whether there still is somebody: a server that is
 * gone with its host says nothing, and a stream without traffic never notices.
 */
const QUIET_MS = 30_000;

export type RunOptions = {
  /** From now to the answer of the start. */
  startMs: number;
  /** From now to the end. */
  endMs?: number;
  signal?: AbortSignal;
};

export type Opened = {
  stream: Duplex<RunRequest, RunResponse>;
  /** Whether anything is answered about this execution on the connection of the stream. Never rejects. */
  answers: (id: string) => Promise<boolean>;
};

/** `view` of a success is brief: no steps, no input. `unknown`: nothing can be told by this way; the start may or may not have come to pass. */
export type Ran = { kind: "ended"; view: ExecutionView } | { kind: "unknown"; started: boolean };

type Run = {
  readonly id: string;
  readonly endsAtMs: number;
  readonly ran: PromiseWithResolvers<Ran>;
  started: boolean;
  deadline?: Timer;
  stopListening?: () => void;
};

/**
 * Starts that are waited for, many over one two-way stream: two calls cost about sixteen times a message. This is the fast
 * way and knows no patience: whatever goes wrong is `unknown`, and the caller goes the way of calls with the same id, where
 * retries, other addresses and errors with all their details are.
 */
export class Runs {
  readonly #clock: Clock;
  readonly #open: () => Opened;
  readonly #streams = new Set<RunStream>();
  #unsupported = false;
  #closed = false;

  constructor(clock: Clock, open: () => Opened) {
    this.#clock = clock;
    this.#open = open;
  }

  /** Rejects with CANCELLED (the signal, or the client was closed) and DEADLINE_EXCEEDED alone. */
  run(start: StartRequest, options: RunOptions): Promise<Ran> {
    if (this.#closed || options.signal?.aborted)
      return Promise.reject(cancelled(this.#closed ? CLOSED : options.signal?.reason));
    if (this.#unsupported) return Promise.resolve({ kind: "unknown", started: false });
    return this.#streamWithRoom().run(start, options);
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.close(cancelled(CLOSED));
  }

  #streamWithRoom(): RunStream {
    for (const stream of this.#streams) if (stream.hasRoom) return stream;
    const stream = new RunStream(this.#clock, this.#open(), (error) => {
      this.#streams.delete(stream);
      if (isHodeiError(error, "UNIMPLEMENTED")) this.#unsupported = true;
    });
    this.#streams.add(stream);
    return stream;
  }
}

class RunStream {
  readonly #clock: Clock;
  readonly #stream: Opened["stream"];
  readonly #answers: Opened["answers"];
  readonly #onOver: (error: unknown) => void;
  readonly #runs = new Map<number, Run>();
  /** Given up by their callers; they take room at the server until they end there. */
  readonly #abandoned = new Set<number>();
  #next = 1;
  #idle: Timer | undefined;
  #usedSinceLook = true;
  #quiet: Timer | undefined;
  #heardSinceLook = false;
  #over = false;

  constructor(clock: Clock, { stream, answers }: Opened, onOver: (error: unknown) => void) {
    this.#clock = clock;
    this.#stream = stream;
    this.#answers = answers;
    this.#onOver = onOver;
    void this.#read();
  }

  get hasRoom(): boolean {
    return !this.#over && this.#runs.size + this.#abandoned.size < RUNS_PER_STREAM;
  }

  run(start: StartRequest, options: RunOptions): Promise<Ran> {
    const requestId = this.#next++;
    const { startMs, endMs = Infinity, signal } = options;
    const endsAtMs = this.#clock.monotonic() + endMs;
    const run: Run = { id: start.id, endsAtMs, ran: Promise.withResolvers(), started: false };
    this.#runs.set(requestId, run);
    this.#usedSinceLook = true;
    this.#quiet ??= this.#clock.after(QUIET_MS, () => void this.#lookForLife());
    this.#limit(requestId, run, startMs, () => run.ran.reject(notStarted(run.id, startMs)));
    if (signal) {
      const abort = (): void => this.#abandon(requestId, () => run.ran.reject(cancelled(signal.reason)));
      signal.addEventListener("abort", abort, { once: true });
      run.stopListening = () => signal.removeEventListener("abort", abort);
    }
    this.#stream.send({ requestId, start, wait: true, brief: true }).catch(() => {
      // Not sent, for example too large: the way of calls says why.
      this.#settle(requestId)?.ran.resolve({ kind: "unknown", started: false });
    });
    return run.ran.promise;
  }

  /** Every run in flight ends with this. */
  close(error: HodeiError): void {
    for (const requestId of this.#runs.keys()) this.#settle(requestId)?.ran.reject(error);
    this.#end();
    this.#stream.cancel();
  }

  async #read(): Promise<void> {
    let reason: unknown;
    try {
      for await (const answer of this.#stream.messages) this.#take(answer);
    } catch (error) {
      reason = error;
    }
    this.#end(reason);
    for (const requestId of this.#runs.keys()) {
      const run = this.#settle(requestId);
      run?.ran.resolve({ kind: "unknown", started: run.started });
    }
  }

  #take(answer: RunResponse): void {
    const { requestId } = answer;
    this.#heardSinceLook = true;
    if (answer.kind === "started") {
      const run = this.#runs.get(requestId);
      if (!run) return;
      run.started = true;
      this.#limit(requestId, run, run.endsAtMs - this.#clock.monotonic(), () => run.ran.reject(notEnded(run.id)));
      return;
    }
    if (this.#abandoned.delete(requestId)) return;
    const run = this.#settle(requestId);
    if (answer.kind === "ended") run?.ran.resolve({ kind: "ended", view: answer.ended });
    else run?.ran.resolve({ kind: "unknown", started: run.started });
  }

  #limit(requestId: number, run: Run, withinMs: number, end: () => void): void {
    run.deadline?.cancel();
    delete run.deadline;
    if (withinMs < Infinity) run.deadline = this.#clock.after(withinMs, () => this.#abandon(requestId, end));
  }

  #abandon(requestId: number, end: () => void): void {
    if (!this.#settle(requestId)) return;
    this.#abandoned.add(requestId);
    end();
  }

  #settle(requestId: number): Run | undefined {
    const run = this.#runs.get(requestId);
    if (!run) return undefined;
    this.#runs.delete(requestId);
    run.deadline?.cancel();
    run.stopListening?.();
    if (this.#runs.size === 0 && !this.#over) this.#idle ??= this.#clock.after(IDLE_MS, () => this.#look());
    return run;
  }

  /** One timer, looked at when it fires: one execution after the other must not set one each. */
  #look(): void {
    this.#idle = undefined;
    if (this.#runs.size > 0 || this.#over) return;
    if (this.#usedSinceLook) {
      this.#usedSinceLook = false;
      this.#idle = this.#clock.after(IDLE_MS, () => this.#look());
      return;
    }
    this.#end();
    // With an end the server would go on waiting for what was abandoned.
    if (this.#abandoned.size > 0) this.#stream.cancel();
    else this.#stream.end();
  }

  async #lookForLife(): Promise<void> {
    const [run] = this.#runs.values();
    const heard = this.#heardSinceLook;
    this.#heardSinceLook = false;
    if (run && !heard && !(await this.#answers(run.id))) this.#stream.cancel();
    if (!this.#over) this.#quiet = this.#clock.after(QUIET_MS, () => void this.#lookForLife());
  }

  #end(reason?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#quiet?.cancel();
    this.#idle?.cancel();
    this.#onOver(reason);
  }
}

const CLOSED = "the client was closed";

function cancelled(reason: unknown): HodeiError {
  const words = reason instanceof Error ? reason.message : String(reason);
  return new HodeiError("CANCELLED", `the call was cancelled: ${words}`, { cause: reason });
}

export function notStarted(id: string, withinMs: number): HodeiError {
  return new HodeiError("DEADLINE_EXCEEDED", `the start of ${id} was not answered within ${withinMs} ms`, {
    hint: "It may have come to pass: repeat it with the same id.",
  });
}

/** Of a wait. */
export function notEnded(id: string): HodeiError {
  return new HodeiError("DEADLINE_EXCEEDED", `${id} has not ended yet`, { hint: "It goes on; wait again." });
}
