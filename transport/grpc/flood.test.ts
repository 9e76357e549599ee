import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { engine, upload, worker } from "../conformance.ts";
import type { Channel } from "../transport.ts";
import { createGrpcTransport } from "./transport.ts";

/**
 * Both ends run in this process, so its memory holds what either side buffers. Messages of 64 KiB are what logs come in;
 * those of 1 MiB show that the bound is on bytes and not on the count alone.
 */
const transport = createGrpcTransport({ clock: systemClock, logger: silentLogger });
const FLOOD_BYTES = 100 * 1024 * 1024;
const BOUND_BYTES = 64 * 1024 * 1024;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/**
 * What JavaScript holds, on its heap and in buffers outside. Not RSS: that also keeps what was let go long ago. Buffers are
 * freed some turns after they were collected, so the collection is repeated with turns between.
 */
async function heldBytes(channel: Channel): Promise<number> {
  for (let round = 0; round < 5; round++) {
    collectGarbage();
    await channel.call("engine", "drain", {});
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Until `progress` stands still over a hundred calls there and back on the same connection. */
async function settle(channel: Channel, progress: () => number): Promise<void> {
  for (let seen = -1; seen !== progress();) {
    seen = progress();
    for (let ping = 0; ping < 100; ping++) await channel.call("engine", "drain", {});
  }
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

describe.each([64 * 1024, 1024 * 1024])("a flood of 100 MB in messages of %i bytes to a reader that stalls", (size) => {
  const total = FLOOD_BYTES / size;

  async function open(release: Promise<void>, count: { received: number; produced: number }) {
    const server = await transport.serve({
      address: "127.0.0.1:0",
      services: {
        engine: engine({
          drain: async () => ({}),
          events: async function* () {
            const message = "x".repeat(size);
            const event = { atMs: 0, kind: "Test", severity: "info" as const, message, facts: {}, missed: 0 };
            for (; count.produced < total; count.produced++) yield event;
          },
        }),
        worker: worker({
          logs: async (stream) => {
            await release;
            for await (const message of stream.messages) count.received += message.data.length / size;
          },
        }),
      },
    });
    cleanups.push(() => server.stop(0));
    const channel = transport.connect({ address: server.address });
    cleanups.push(() => channel.close());
    await channel.call("engine", "drain", {});
    return channel;
  }

  it("of a client does not grow memory by 64 MiB, and arrives when the server reads on", async () => {
    const release = Promise.withResolvers<void>();
    const count = { received: 0, produced: 0 };
    const channel = await open(release.promise, count);
    const data = new Uint8Array(size);
    const beforeBytes = await heldBytes(channel);
    const logs = channel.duplex("worker", "logs");
    const sends = Array.from({ length: total }, async () => {
      await logs.send({ ...upload(0), data });
      count.produced += 1;
    });
    logs.end();
    await settle(channel, () => count.produced);
    expect((await heldBytes(channel)) - beforeBytes).toBeLessThan(BOUND_BYTES);
    release.resolve();
    await Promise.all(sends);
    for await (const message of logs.messages) expect(message).toBeUndefined();
    expect(count.received).toBe(total);
  });

  it("of a server does not grow memory by 64 MiB, and arrives when the client reads on", async () => {
    const count = { received: 0, produced: 0 };
    const channel = await open(Promise.resolve(), count);
    const beforeBytes = await heldBytes(channel);
    const reader = channel.stream("engine", "events", {})[Symbol.asyncIterator]();
    await reader.next();
    await settle(channel, () => count.produced);
    expect((await heldBytes(channel)) - beforeBytes).toBeLessThan(BOUND_BYTES);
    let read = 1;
    while (!(await reader.next()).done) read += 1;
    expect(read).toBe(total);
  });
});
