import type { Logger } from "../../base/log.ts";
import type { ToWorker } from "../../transport/api/worker.ts";
import type { Duplex } from "../../transport/transport.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { WorkerRecord } from "./record.ts";

/** Messages to one worker that its stream has not taken yet; a worker that takes nothing for so many is cut off. */
const QUEUE_BOUND = 4_096;

/** Sends in order without making anyone wait; what a breaking stream swallows is made good by the next hello. */
export function outgoing(
  stream: Duplex<ToWorker, unknown>,
  logger: Logger,
): NonNullable<WorkerRecord["stream"]> & { close(): void; stop(): void } {
  let queued = 0;
  let closed = false;
  const taken = (): void => void (queued -= 1);
  const refused = (error: unknown): void => {
    queued -= 1;
    logger.debug({ error }, "message to a worker was not taken");
  };
  const cancel = (): void => {
    closed = true;
    stream.cancel();
  };
  return {
    cancel,
    /** Sends no more, and leaves the end to whoever has a reason to give. */
    stop: () => {
      closed = true;
    },
    close: () => {
      closed = true;
      stream.end();
    },
    send(message) {
      if (closed) return;
      if (queued >= QUEUE_BOUND) {
        logger.warn({ error: new HodeiError("RESOURCE_EXHAUSTED", "the worker takes nothing") }, "stream cut");
        return cancel();
      }
      queued += 1;
      // Not one after the other: the stream keeps the order of sends that nobody waits for.
      stream.send(message).then(taken, refused);
    },
  };
}
