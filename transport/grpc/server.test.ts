import { once } from "node:events";
import { connect as connectTo, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import { Client, credentials, Metadata, status as Status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import { silentLogger } from "../../base/log.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import { engine, failure, upload, worker } from "../conformance.ts";
import type { Services } from "../transport.ts";
import { createServer as createGrpcServer, MAX_MESSAGE_BYTES, serverCredentials } from "./credentials.ts";
import { fromStatus } from "./errors.ts";
import { STRANGER_TLS, TEST_TLS } from "./tls.fixture.ts";
import { createGrpcTransport } from "./transport.ts";

/** What the port cannot say: foreign clients, limits, sockets, certificates. */

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const transport = createGrpcTransport({ clock: systemClock, logger: silentLogger });

async function serve(services: Services, on = transport) {
  const server = await on.serve({ address: "127.0.0.1:0", services });
  cleanups.push(() => server.stop(0));
  return server;
}

function connect(address: string, on = transport) {
  const channel = on.connect({ address });
  cleanups.push(() => channel.close());
  return channel;
}

/** A client that no code of ours has made. */
function handMade(address: string) {
  const client = new Client(address, credentials.createInsecure());
  cleanups.push(() => client.close());
  const raw = (bytes: Buffer): Buffer => bytes;
  return {
    unary: (path: string, bytes: Buffer, metadata = new Metadata()) =>
      new Promise<{ error: ServiceError | null; answer: Buffer | undefined }>((resolve) => {
        client.makeUnaryRequest(path, raw, raw, bytes, metadata, (error, answer) => resolve({ error, answer }));
      }),
    duplex: (path: string) => client.makeBidiStreamRequest(path, raw, raw),
  };
}

async function errorOf(call: ClientDuplexStream<Buffer, Buffer>) {
  call.resume();
  const [error] = (await once(call, "error")) as [ServiceError];
  return fromStatus(error, "x");
}

const GARBAGE = Buffer.from([0xff, 0xff, 0xff, 0xff]);

describe("hand-made clients of the gRPC server", () => {
  it("get INVALID_ARGUMENT for bytes that are no message, and the server goes on", async () => {
    const server = await serve({ engine: engine({ drain: async () => ({}) }), worker: worker({}) });
    const client = handMade(server.address);
    const { error } = await client.unary("/hodei.v1.EngineService/StartOwned", GARBAGE);
    expect(error?.code).toBe(Status.INVALID_ARGUMENT);
    expect((await client.unary("/hodei.v1.EngineService/DrainSelf", Buffer.alloc(0))).error).toBeNull();
  });

  it("get the name of the field that is missing or unknown", async () => {
    const read = async (stream: { messages: AsyncIterable<unknown> }): Promise<void> => {
      for await (const message of stream.messages) expect(message).toBeUndefined();
    };
    const server = await serve({ worker: worker({ connect: read }) });
    const client = handMade(server.address);
    for (const [bytes, field] of [
      [Buffer.alloc(0), "message"],
      [Buffer.from([0x0a, 0x00]), "hello.offer"],
      // ConnectRequest { result: JobResult { outcome: Outcome { failed: Failure { class: 77 } } } }
      [Buffer.from([0x2a, 0x06, 0x1a, 0x04, 0x12, 0x02, 0x08, 0x4d]), "failure.class"],
    ] as const) {
      const call = client.duplex("/hodei.v1.WorkerService/Connect");
      call.write(bytes);
      expect(await errorOf(call)).toMatchObject({ code: "INVALID_ARGUMENT", field });
    }
  });

  it("end a stream with garbage even when its handler has stopped reading errors", async () => {
    const broken = Promise.withResolvers<unknown>();
    const server = await serve({
      worker: worker({
        logs: async (stream) => {
          try {
            await stream.messages[Symbol.asyncIterator]().next();
          } catch (error) {
            broken.resolve(error);
          }
          await new Promise(() => undefined);
        },
      }),
    });
    const call = handMade(server.address).duplex("/hodei.v1.WorkerService/Logs");
    call.write(GARBAGE);
    expect(await errorOf(call)).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await broken.promise).toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("get UNIMPLEMENTED for a method that does not exist", async () => {
    const server = await serve({ engine: engine({}) });
    const { error } = await handMade(server.address).unary("/hodei.v1.EngineService/Nope", Buffer.alloc(0));
    expect(error?.code).toBe(Status.UNIMPLEMENTED);
  });

  it("get google.rpc details, and the message but not the stack of a defect, which is logged", async () => {
    const logged: object[] = [];
    const logger: Logger = { ...silentLogger, error: (fields) => void logged.push(fields) };
    const server = await serve(
      { engine: engine({ drain: () => Promise.reject(new TypeError("x is not a function")) }) },
      createGrpcTransport({ clock: systemClock, logger }),
    );
    const { error } = await handMade(server.address).unary("/hodei.v1.EngineService/DrainSelf", Buffer.alloc(0));
    expect(error).toMatchObject({ code: Status.INTERNAL, details: "x is not a function" });
    const [details] = error?.metadata.get("grpc-status-details-bin") ?? [];
    expect(String(details)).toContain("hodei.dev");
    expect(String(details)).not.toContain("server.test.ts");
    expect(logged).toMatchObject([{ service: "engine", method: "drain", error: expect.any(TypeError) }]);
  });

  it("are known by `authorization: Bearer` in any case, and by nothing else", async () => {
    const tokens: (string | undefined)[] = [];
    const server = await transport.serve({
      address: "127.0.0.1:0",
      services: { engine: engine({ drain: async () => ({}) }) },
      authenticate: ({ token }) => {
        tokens.push(token);
        return { namespace: "n", subject: "s", role: "client" };
      },
    });
    cleanups.push(() => server.stop(0));
    const client = handMade(server.address);
    for (const value of ["Bearer abc", "bearer abc", "Basic abc", "abc"]) {
      const metadata = new Metadata();
      metadata.set("authorization", value);
      await client.unary("/hodei.v1.EngineService/DrainSelf", Buffer.alloc(0), metadata);
    }
    expect(tokens).toEqual(["abc", "abc", undefined, undefined]);
  });
});

it.each([
  ["never speaks", ""],
  ["says half of what HTTP/2 begins with", "PRI * HT"],
  ["opens HTTP/2 and asks nothing", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"],
])("a connection that %s is closed when it has been idle for long", async (_, words) => {
  const server = createGrpcServer({ "grpc.max_connection_idle_ms": 10 });
  cleanups.push(() => server.forceShutdown());
  const port = await new Promise<number>((resolve) =>
    server.bindAsync("127.0.0.1:0", serverCredentials(undefined), (_error, bound) => resolve(bound)),
  );
  const socket = connectTo(port, "127.0.0.1");
  socket.resume().write(words, "latin1");
  await once(socket, "close");
  expect(socket.destroyed).toBe(true);
});

describe("size limits of gRPC messages", () => {
  const tooLarge = { namespace: "n", id: "i", messageJson: "x".repeat(MAX_MESSAGE_BYTES) };
  const nearlyTooLarge = { namespace: "n", id: "i", messageJson: "x".repeat(MAX_MESSAGE_BYTES - 100) };

  it("are kept by the sender, with the bound named, and the channel goes on", async () => {
    const server = await serve({ engine: engine({ deliver: async () => ({ revision: 7 }) }) });
    const channel = connect(server.address);
    expect(await failure(channel.call("engine", "deliver", tooLarge))).toMatchObject({
      code: "TOO_LARGE",
      facts: { maximum: String(MAX_MESSAGE_BYTES) },
    });
    expect(await channel.call("engine", "deliver", nearlyTooLarge)).toEqual({ revision: 7 });
  });

  it("are kept by the server for its answers", async () => {
    const data = new Uint8Array(MAX_MESSAGE_BYTES);
    const server = await serve({
      worker: worker({
        connect: async (stream) => await stream.send({ kind: "drain", redirect: ["x".repeat(MAX_MESSAGE_BYTES)] }),
      }),
    });
    const channel = connect(server.address);
    const stream = channel.duplex("worker", "connect");
    expect(await failure(stream.messages[Symbol.asyncIterator]().next())).toMatchObject({ code: "TOO_LARGE" });
    const logs = channel.duplex("worker", "logs");
    expect(await failure(logs.send({ ...upload(0), data }))).toMatchObject({ code: "TOO_LARGE" });
  });

  it("are kept by the server against a client that ignores them", async () => {
    const server = await serve({ engine: engine({ drain: async () => ({}) }) });
    const client = handMade(server.address);
    const { error } = await client.unary("/hodei.v1.EngineService/DeliverMessage", Buffer.alloc(MAX_MESSAGE_BYTES + 1));
    expect(error?.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(fromStatus(error ?? {}, "x").code).toBe("TOO_LARGE");
    expect((await client.unary("/hodei.v1.EngineService/DrainSelf", Buffer.alloc(0))).error).toBeNull();
  });
});

describe("peers that are there but do not answer", () => {
  async function silentPeer(): Promise<string> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => void sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it("do not hang a call: its deadline covers the connecting", async () => {
    const channel = connect(await silentPeer());
    const got = await failure(channel.call("engine", "drain", {}, { deadlineMs: 50 }));
    expect(got).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("do not hang a stream: it must be taken within the default deadline", async () => {
    const timers: { delayMs: number; fire: () => void }[] = [];
    const clock = {
      ...systemClock,
      after: (delayMs: number, fire: () => void) => {
        timers.push({ delayMs, fire });
        return { cancel: () => undefined };
      },
    };
    const impatient = createGrpcTransport({ clock, logger: silentLogger });
    const logs = connect(await silentPeer(), impatient).duplex("worker", "logs");
    const reading = failure(logs.messages[Symbol.asyncIterator]().next());
    for (const timer of timers) timer.fire();
    const got = await reading;
    expect(got).toMatchObject({ code: "UNAVAILABLE" });
    expect(got.facts["evidence"]).toBeUndefined();
  });
});

describe("mutual TLS", () => {
  const secure = createGrpcTransport({ clock: systemClock, logger: silentLogger, tls: TEST_TLS });
  const stranger = createGrpcTransport({ clock: systemClock, logger: silentLogger, tls: STRANGER_TLS });

  it("lets in who has a certificate of the CA, and no one else", async () => {
    const server = await serve({ engine: engine({ drain: async () => ({}) }) }, secure);
    expect(await connect(server.address, secure).call("engine", "drain", {})).toEqual({});
    for (const other of [stranger, transport]) {
      const got = await failure(connect(server.address, other).call("engine", "drain", {}, { deadlineMs: 5000 }));
      expect(isHodeiError(got, "UNAVAILABLE", "DEADLINE_EXCEEDED")).toBe(true);
      expect(got.facts["evidence"]).toBeUndefined();
    }
  });
});

describe("tokens", () => {
  it("that a header cannot carry are refused without being repeated", () => {
    const token = "secret\nvalue";
    expect(() => transport.connect({ address: "127.0.0.1:1", token })).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        field: "token",
        message: expect.not.stringContaining("secret"),
      }),
    );
  });
});
