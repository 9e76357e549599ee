import type { Clock, Timer } from "../base/clock.ts";
import type {
  ExecutionView,
  RunRequest,
  RunResponse,
  StartRequest,
  StartResponse,
} from "../transport/api/execution.ts";
import type { Duplex } from "../transport/transport.ts";
import { toHodeiError } from "../workflow/errors.ts";

/** Starts of one stream that are not answered to the end; beyond, the stream is not read, and so the writer waits. */
export const RUNS_IN_FLIGHT = 256;

/** One who asks for the output hears of the start only when the end keeps it waiting so long, or up to twice that. */
const STARTED_AFTER_MS = 100;

export type EndWatch = {
  /** Its view once it has ended. `startedSince`: it was created after the watch began. `brief`: as RunRequest has it. */
  reached: (startedSince: boolean, brief: boolean) => Promise<ExecutionView>;
  unwatch: () => void;
};

type Work = {
  clock: Clock;
  start: (request: StartRequest) => Promise<StartResponse>;
  watchEnd: (id: string) => EndWatch;
};

/**
 * Many starts over one stream. Each is answered by itself, in whatever order they come about; one that fails is
 * answered with its error and disturbs no other. Ends when the peer sends no more and everything is answered.
 */
export async function runStarts(stream: Duplex<RunResponse, RunRequest>, work: Work): Promise<void> {
  let inFlight = 0;
  let broken: { error: unknown } | undefined;
  // Called whenever one is done: a race over all of them would cost as much as there are, at every start.
  let onDone = (): void => undefined;
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds() && !broken) await new Promise<void>((resolve) => (onDone = resolve));
    // Nobody takes the answers any more: what was started goes on by itself.
    if (broken) throw broken.error;
  };
  const slow = new SlowRuns(work.clock, (response) => {
    stream.send(response).catch((error: unknown) => (broken ??= { error }));
  });
  try {
    for await (const request of stream.messages) {
      inFlight += 1;
      answer(stream, request, work, slow)
        .catch((error: unknown) => (broken ??= { error }))
        .finally(() => {
          inFlight -= 1;
          onDone();
        });
      await until(() => inFlight < RUNS_IN_FLIGHT);
    }
    await until(() => inFlight === 0);
  } finally {
    slow.stop();
  }
}

async function answer(
  stream: Duplex<RunResponse, RunRequest>,
  request: RunRequest,
  work: Work,
  slow: SlowRuns,
): Promise<void> {
  const { requestId, start, wait, brief = false } = request;
  const end = wait ? work.watchEnd(start.id) : undefined;
  let response: RunResponse;
  try {
    const started = await work.start(start);
    const word: RunResponse = { requestId, kind: "started", started };
    if (end && brief) slow.add(word);
    else await stream.send(word);
    if (!end) return;
    response = { requestId, kind: "ended", ended: await end.reached(started.created, brief) };
  } catch (error) {
    const { code, message } = toHodeiError(error);
    response = { requestId, kind: "error", error: { code, message } };
  } finally {
    end?.unwatch();
    slow.delete(requestId);
  }
  await stream.send(response);
}

/** Words of a start that are held back for the end may make them needless. One timer for all of a stream. */
class SlowRuns {
  readonly #clock: Clock;
  readonly #say: (word: RunResponse) => void;
  /** Since the last look, and those that were there then. */
  #young = new Map<number, RunResponse>();
  #old = new Map<number, RunResponse>();
  #timer: Timer | undefined;

  constructor(clock: Clock, say: (word: RunResponse) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  add(word: RunResponse): void {
    this.#young.set(word.requestId, word);
    this.#timer ??= this.#clock.after(STARTED_AFTER_MS, () => this.#look());
  }

  delete(requestId: number): void {
    if (!this.#young.delete(requestId)) this.#old.delete(requestId);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    for (const word of this.#old.values()) this.#say(word);
    this.#old = this.#young;
    this.#young = new Map();
    this.#timer = this.#old.size > 0 ? this.#clock.after(STARTED_AFTER_MS, () => this.#look()) : undefined;
  }
}
