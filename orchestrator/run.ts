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

type Work = {
  start: (request: StartRequest) => Promise<StartResponse>;
  ended: (id: string) => Promise<ExecutionView>;
};

/**
 * Many starts over one stream. Each is answered by itself, in whatever order they come about; one that fails is
 * answered with its error and disturbs no other. Ends when the peer sends no more and everything is answered.
 */
export async function runStarts(stream: Duplex<RunResponse, RunRequest>, work: Work): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  const broken = new AbortController();
  for await (const request of stream.messages) {
    const one = answer(stream, request, work)
      .catch((error: unknown) => broken.abort(error))
      .finally(() => inFlight.delete(one));
    inFlight.add(one);
    if (inFlight.size >= RUNS_IN_FLIGHT) await Promise.race(inFlight);
    // Nobody takes the answers any more: what was started goes on by itself.
    broken.signal.throwIfAborted();
  }
  await Promise.all(inFlight);
  broken.signal.throwIfAborted();
}

async function answer(stream: Duplex<RunResponse, RunRequest>, request: RunRequest, work: Work): Promise<void> {
  const { requestId, start, wait } = request;
  let response: RunResponse;
  try {
    const started = await work.start(start);
    await stream.send({ requestId, kind: "started", started });
    if (!wait) return;
    response = { requestId, kind: "ended", ended: await work.ended(started.id) };
  } catch (error) {
    const { code, message } = toHodeiError(error);
    response = { requestId, kind: "error", error: { code, message } };
  }
  await stream.send(response);
}
