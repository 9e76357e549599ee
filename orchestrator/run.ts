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

export type EndWatch = {
  /** Its view once it has ended. `startedSince`: it was created after the watch began. `brief`: as RunRequest has it. */
  reached: (startedSince: boolean, brief: boolean) => Promise<ExecutionView>;
  unwatch: () => void;
};

type Work = {
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
  for await (const request of stream.messages) {
    inFlight += 1;
    answer(stream, request, work)
      .catch((error: unknown) => (broken ??= { error }))
      .finally(() => {
        inFlight -= 1;
        onDone();
      });
    await until(() => inFlight < RUNS_IN_FLIGHT);
  }
  await until(() => inFlight === 0);
}

async function answer(stream: Duplex<RunResponse, RunRequest>, request: RunRequest, work: Work): Promise<void> {
  const { requestId, start, wait, brief = false } = request;
  const end = wait ? work.watchEnd(start.id) : undefined;
  let response: RunResponse;
  try {
    const started = await work.start(start);
    await stream.send({ requestId, kind: "started", started });
    if (!end) return;
    response = { requestId, kind: "ended", ended: await end.reached(started.created, brief) };
  } catch (error) {
    const { code, message } = toHodeiError(error);
    response = { requestId, kind: "error", error: { code, message } };
  } finally {
    end?.unwatch();
  }
  await stream.send(response);
}
