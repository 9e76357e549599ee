import { LOG_BOUNDS } from "../../store/store.ts";
import type { LogAck, LogUpload } from "../../transport/api/worker.ts";
import type { Duplex } from "../../transport/transport.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { untilAnswered } from "../retry.ts";
import type { WorkersContext } from "./context.ts";

/**
 * The handler of WorkerApi.logs: each chunk is acknowledged with how far the store holds the log of its attempt. One after the
 * other, so that a slow store slows the worker's sending and nothing piles up here.
 */
export async function takeLogs(context: WorkersContext, stream: Duplex<LogAck, LogUpload>): Promise<void> {
  const { store, ownership, clock, random, closing } = context;
  for await (const upload of stream.messages) {
    const { jobId, token } = upload;
    for (const part of parts(upload)) {
      const session = ownership.session;
      if (!session) throw new HodeiError("UNAVAILABLE", "this engine has no session now");
      const scope = { clock, random, goOn: () => ownership.session === session && !closing() };
      const answer = await untilAnswered(scope, () => store.logs.append({ session, jobId, token, ...part }));
      await stream.send({ jobId, token, heldTo: answer.heldTo, stale: answer.status === "STALE" });
      if (answer.status === "STALE") break;
    }
  }
  stream.end();
}

function parts(upload: LogUpload): { offset: number; data: Uint8Array; dropped: number }[] {
  const { offset, data, dropped } = upload;
  if (data.length <= LOG_BOUNDS.chunkBytes) return [{ offset, data, dropped }];
  const starts = Array.from({ length: Math.ceil(data.length / LOG_BOUNDS.chunkBytes) }, (_, index) => index);
  return starts.map((index) => {
    const from = index * LOG_BOUNDS.chunkBytes;
    const part = data.subarray(from, from + LOG_BOUNDS.chunkBytes);
    return { offset: offset + from, data: part, dropped: index === 0 ? dropped : 0 };
  });
}
