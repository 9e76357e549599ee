import { once } from "node:events";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { ServerDuplexStream, ServiceError } from "@grpc/grpc-js";
import { Client, credentials, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { nextTurn } from "../../base/turn.ts";
import { descriptorSet } from "../../proto/gen/descriptor.ts";
import { Batch } from "../../proto/gen/hodei/v1/batch.ts";
import { LogsRequest, LogsResponse } from "../../proto/gen/hodei/v1/worker_service.ts";
import { upload, worker } from "../conformance.ts";
import { STREAM_BUFFER } from "../transport.ts";
import { BATCHED_BYTES, framesOf, messagesOf } from "./batch.ts";
import { MAX_MESSAGE_BYTES } from "./credentials.ts";
import { fromStatus } from "./errors.ts";
import { createGrpcTransport } from "./transport.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const LOGS = "/hodei.v1.WorkerService/Logs";
const transport = createGrpcTransport({ clock: systemClock, logger: silentLogger });

/** Answers each upload with its offset. */
async function echoServer() {
  const server = await transport.serve({
    address: "127.0.0.1:0",
    services: {
      worker: worker({
        logs: async (stream) => {
          for await (const { jobId, token, offset } of stream.messages)
            void stream.send({ jobId, token, heldTo: offset, stale: false });
        },
      }),
    },
  });
  cleanups.push(() => server.stop(0));
  return server.address;
}

/** A client that no code of ours has made: it sees frames as they are. */
function foreign(address: string, metadata = new Metadata()) {
  const client = new Client(address, credentials.createInsecure());
  cleanups.push(() => client.close());
  const raw = (bytes: Buffer): Buffer => bytes;
  return client.makeBidiStreamRequest(LOGS, raw, raw, metadata);
}

const request = (offset: number): Buffer =>
  Buffer.from(LogsRequest.encode({ ...upload(offset), data: BYTES }).finish());
const BYTES = Buffer.alloc(0);
const offsets = (count: number): number[] => Array.from({ length: count }, (_, offset) => offset);

describe("a batch", () => {
  it("holds what was put in, as generated code reads it too", () => {
    // No message of a stream begins with field 15.
    const message = fc.uint8Array({ maxLength: 300 }).filter((bytes) => bytes[0] !== 0x7a);
    fc.assert(
      fc.property(fc.array(message, { minLength: 2, maxLength: STREAM_BUFFER }), (messages) => {
        const given = messages.map((bytes) => Buffer.from(bytes));
        const [frame, ...more] = framesOf(given);
        expect(more).toEqual([]);
        expect(messagesOf(frame?.bytes ?? BYTES)).toEqual(given);
        expect(Batch.decode(frame?.bytes ?? BYTES).messages).toEqual(given);
      }),
    );
  });

  it("stays in its bounds: 64 messages, far below the bound of a frame; the large ones and the lone ones go as they are", () => {
    const small = Array.from({ length: STREAM_BUFFER + 1 }, () => Buffer.from([1, 2]));
    expect(framesOf(small).map(({ count }) => count)).toEqual([STREAM_BUFFER, 1]);
    const large = Buffer.alloc(BATCHED_BYTES + 1);
    const mixed = [Buffer.from([1]), Buffer.from([2]), large, Buffer.from([3])];
    expect(framesOf(mixed).map(({ count, messageBytes }) => [count, messageBytes])).toEqual([
      [2, 2],
      [1, BATCHED_BYTES + 1],
      [1, 1],
    ]);
    expect(framesOf([large])[0]?.bytes).toBe(large);
    const medium = Array.from({ length: STREAM_BUFFER }, () => Buffer.alloc(BATCHED_BYTES));
    for (const { bytes } of framesOf(medium)) expect(bytes.length).toBeLessThan(MAX_MESSAGE_BYTES / 16);
    expect(framesOf(medium).flatMap(({ bytes }) => messagesOf(bytes))).toEqual(medium);
  });

  it.each([
    ["cut off", [0x7a, 0x05, 1, 2]],
    ["without a length", [0x7a]],
    ["with a length of five bytes", [0x7a, 0xff, 0xff, 0xff, 0xff, 0x01, 0]],
    ["with something between", [0x7a, 0x01, 1, 0x08, 0x01]],
    ["in a batch", [0x7a, 0x03, 0x7a, 0x01, 1]],
    ["of too many", Array.from({ length: STREAM_BUFFER + 1 }, () => [0x7a, 0x00]).flat()],
  ])("%s is refused, and ends the stream it came on", async (_, bytes) => {
    expect(() => messagesOf(Buffer.from(bytes))).toThrow("no batch");
    const call = foreign(await echoServer());
    call.write(Buffer.from(bytes));
    call.resume();
    const [error] = (await once(call, "error")) as [ServiceError];
    expect(fromStatus(error, "x")).toMatchObject({ code: "INVALID_ARGUMENT", field: "messages" });
  });

  it("can be told from every message that a stream carries: none has a field 15", () => {
    const { file } = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSet, "base64"));
    const types = new Map(file.flatMap((of) => of.messageType.map((type) => [`.${of.package}.${type.name}`, type])));
    const streamed = file
      .flatMap(({ service }) => service.flatMap(({ method }) => method))
      .flatMap((method) => [
        ...(method.clientStreaming ? [method.inputType] : []),
        ...(method.serverStreaming ? [method.outputType] : []),
      ]);
    expect(streamed).toContain(".hodei.v1.ConnectResponse");
    for (const name of streamed) {
      expect(types.has(name)).toBe(true);
      expect([name, types.get(name)?.field.map((field) => field.number)]).not.toEqual([
        name,
        expect.arrayContaining([15]),
      ]);
    }
  });
});

describe("messages sent in one turn", () => {
  it("go to a peer that reads batches in one frame, and to others in one each", async () => {
    const address = await echoServer();
    const frames = async (metadata: Metadata): Promise<number[][]> => {
      const call = foreign(address, metadata);
      const got: number[][] = [];
      call.on("data", (frame: Buffer) => got.push(messagesOf(frame).map((bytes) => LogsResponse.decode(bytes).heldTo)));
      // Read in one turn, so answered in one.
      call.write(Buffer.from(Batch.encode({ messages: offsets(10).map(request) }).finish()));
      call.end();
      await once(call, "end");
      return got;
    };
    const reads = new Metadata();
    reads.set("hodei-batches", "1");
    expect(await frames(reads)).toEqual([offsets(10)]);
    expect(await frames(new Metadata())).toEqual(offsets(10).map((offset) => [offset]));
  });

  it("go from our client in one frame once the server has said that it reads them", async () => {
    const frames: number[] = [];
    for (const reads of [true, false]) {
      const server = new Server();
      const raw = (bytes: Buffer): Buffer => bytes;
      const through = {
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      };
      frames.length = 0;
      server.addService(
        { logs: { path: LOGS, requestStream: true, responseStream: true, ...through } },
        {
          logs: (call: ServerDuplexStream<Buffer, Buffer>) => {
            const headers = new Metadata();
            if (reads) headers.set("hodei-batches", "1");
            call.sendMetadata(headers);
            call.write(Buffer.from(LogsResponse.encode({ jobId: "", token: "", heldTo: 0, stale: false }).finish()));
            call.on("data", (frame: Buffer) => void frames.push(messagesOf(frame).length));
            call.on("end", () => call.end());
          },
        },
      );
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
          error ? reject(error) : resolve(bound),
        );
      });
      cleanups.push(() => server.forceShutdown());
      const channel = transport.connect({ address: `127.0.0.1:${port}` });
      cleanups.push(() => channel.close());
      const stream = channel.duplex("worker", "logs");
      const reader = stream.messages[Symbol.asyncIterator]();
      // After the first answer the headers are known.
      await reader.next();
      for (const offset of offsets(3)) await stream.send(upload(offset));
      await new Promise<void>((resolve) => nextTurn(resolve));
      await stream.send(upload(3));
      stream.end();
      expect((await reader.next()).done).toBe(true);
      expect(frames).toEqual(reads ? [3, 1] : [1, 1, 1, 1]);
    }
  });
});
