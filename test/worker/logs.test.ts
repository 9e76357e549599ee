import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { createLocalTransport } from "../../transport/local.ts";
import type { Worker } from "../../worker/options.ts";
import { freshDirectory, shellJob, TestEngine, workerFor } from "./test-engine.ts";

let engine: TestEngine;
let worker: Worker;
let directory: ReturnType<typeof freshDirectory>;

beforeEach(async () => {
  const transport = createLocalTransport({ clock: systemClock });
  directory = freshDirectory();
  engine = await new TestEngine(transport).start();
  engine.heartbeatMs = 20;
  worker = workerFor([engine], transport, directory.path);
  await worker.start();
  await worker.ready;
});

afterEach(async () => {
  await worker.stop();
  await engine.stop();
  directory.remove();
});

/** Every byte is either there or counted as dropped, and no byte is there twice. */
function accounted(uploads: TestEngine["uploads"]): { held: number; dropped: number } {
  let end = 0;
  let held = 0;
  let dropped = 0;
  for (const upload of uploads) {
    expect(upload.offset).toBe(end + upload.dropped);
    expect(upload.data.length).toBeLessThanOrEqual(64 * 1024);
    end = upload.offset + upload.data.length;
    held += upload.data.length;
    dropped += upload.dropped;
  }
  return { held, dropped };
}

describe("logs", () => {
  it("a burst of 3 MiB arrives whole when the engine takes it", async () => {
    const job = shellJob("head -c 3145728 /dev/zero");
    expect((await engine.run(job)).outcome.kind).toBe("succeeded");
    expect(accounted(engine.uploads)).toEqual({ held: 3_145_728, dropped: 0 });
  });

  it("a flood of 300 MB ends at the bound, counted, beside heartbeats and in bounded memory", async () => {
    const before = process.memoryUsage().rss;
    const job = shellJob("head -c 300000000 /dev/zero");
    await engine.send({ kind: "assign", job });
    await engine.message("heartbeat", (beat) => beat.jobs.includes(job.jobId), 3);
    await engine.result(job);
    const { held, dropped } = accounted(engine.uploads);
    expect(held).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(held + dropped).toBe(300_000_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
  });

  it("an engine that takes nothing costs marks, not the step", async () => {
    const open = Promise.withResolvers<void>();
    engine.logGate = open.promise;
    const job = shellJob('head -c 3000000 /dev/zero; echo end >> "$HODEI_OUTPUT.done"; echo "a=1" >> "$HODEI_OUTPUT"');
    await engine.send({ kind: "assign", job });
    const result = await engine.result(job);
    expect(result.outcome).toEqual({ kind: "succeeded", outputs: { a: "1" } });
    expect(engine.uploads).toEqual([]);
    open.resolve();
  });

  it("a stale log is sent no further and holds up no result", async () => {
    engine.answerLog = ({ jobId, token }) => ({ jobId, token, heldTo: 0, stale: true });
    const job = shellJob("echo one; sleep 0.2; echo two");
    expect((await engine.run(job)).outcome.kind).toBe("succeeded");
    expect(engine.logText(job.jobId)).toBe("one\n");
  });

  it("follow their result when their stream broke before it: nobody would know what is missing", async () => {
    const open = Promise.withResolvers<void>();
    engine.logGate = open.promise;
    const held = engine.answerLog;
    engine.answerLog = () => {
      engine.answerLog = held;
      throw new Error("the stream breaks");
    };
    const job = shellJob("echo end");
    await engine.run(job);
    const beats = engine.heard.filter(({ kind }) => kind === "heartbeat").length;
    // Said after it has heard the acknowledgement.
    await engine.message("heartbeat", undefined, beats + 3);
    open.resolve();
    await engine.until(() => engine.uploads.filter(({ jobId }) => jobId === job.jobId).length === 2, "the log again");
    expect(engine.uploads.map(({ offset, data }) => [offset, data.length])).toEqual([
      [0, 4],
      [0, 4],
    ]);
  });

  it("follow a result that was taken while its acknowledgement was lost", async () => {
    engine.autoAck = false;
    engine.answerLog = () => undefined;
    const job = shellJob("echo end");
    await engine.run(job);
    engine.stale = [job.token];
    const seen = engine.uploads.length;
    engine.breakStream();
    await engine.until(() => engine.uploads.length > seen, "the log again");
    expect(engine.uploads.at(-1)).toMatchObject({ jobId: job.jobId, offset: 0 });
    expect(engine.hellos.at(-1)?.spooled).toEqual([{ jobId: job.jobId, token: job.token }]);
  });

  it("are all handed in before the result", async () => {
    const job = shellJob("seq 1 20000");
    await engine.run(job);
    expect(engine.logText(job.jobId).endsWith("\n20000\n")).toBe(true);
  });
});
