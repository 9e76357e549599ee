import { once } from "node:events";
import { readFileSync } from "node:fs";
import { constants, connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { Client, credentials, status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromStatus } from "../../transport/grpc/errors.ts";
import { encode, type Fields, fieldsOf, METHODS } from "../../transport/grpc/message.arbitrary.ts";
import { cleanUp, type Dev, startDev, stopDev } from "./harness.ts";
import { ended, register, step } from "./story.ts";

/**
 * Whoever can reach the ports: messages with any values, bytes that are no messages, and peers that break the rules of
 * HTTP/2 or never speak. Each call is answered or refused with a code, and another client's work goes on meanwhile.
 */
let dev: Dev;
let idleRssMiB: number;

beforeAll(async () => {
  dev = await startDev({ args: ["--port", "0", "--workers", "1"] });
  await register(dev, "steady", { steps: { a: step("true") } });
  await register(dev, "hold", { steps: { w: { wait: { signal: "go" } } } });
  await dev.client.start("hold", {}, { id: "one" });
  await work();
  idleRssMiB = rssMiB();
});

afterAll(cleanUp);

const rssMiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${dev.pid}/status`, "utf8"))?.[1]) / 1024;

/** A workflow of somebody else, on a real worker. */
async function work(): Promise<void> {
  const { id } = await dev.client.start("steady");
  expect(await ended(dev, id)).toMatchObject({ state: "succeeded" });
}

const documents = [
  "a: [1",
  '{"apiVersion":"hodei.dev/v1","kind":"Workflow","metadata":{"name":"x","version":"1.0.0"}}',
];
const odd = fc.oneof(
  fc.constantFrom(
    "",
    "__proto__",
    "constructor",
    "\0",
    "\ud800",
    "a/b",
    "9".repeat(40),
    "x".repeat(9000),
    "[".repeat(3000),
  ),
  fc.string({ unit: "binary" }),
);

/** Mostly what is there, so that calls get behind the first check. */
function words(field: string): fc.Arbitrary<string> {
  const known = ((): string[] => {
    if (/^(worker_)?id$/.test(field)) return ["one", "two", "default/one/w/0#1", "none"];
    if (/workflow|name/.test(field)) return ["hold", "good", "go", "x"];
    if (/version|range|channel/.test(field)) return ["", "1.0.0", "^1", "latest"];
    if (field.endsWith("json")) return ["{}", '{"a":1}', '{"__proto__":{"x":1}}', "null"];
    if (field === "source") return documents;
    if (/cpu|memory/.test(field)) return ["10m", "1Mi"];
    return ["", "default", "true", "w", "linux"];
  })();
  return fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...known) }, odd);
}

type Call = { path: string; kind: string; bodies: Buffer[]; fields: unknown };

// Its own test asks the engine's service; a drain is what it says, and the steady workflow is needed here.
const OFFERED = METHODS.filter(({ path }) => !/EngineService|DrainEngine|DeleteWorkflow|WorkerPool/.test(path));
const calls: fc.Arbitrary<Call> = fc.constantFrom(...OFFERED).chain(({ path, method }) =>
  fc
    .tuple(
      fc.array(fieldsOf(method.input, words), {
        minLength: 1,
        maxLength: method.methodKind === "bidi_streaming" ? 8 : 1,
      }),
      fc.oneof({ weight: 20, arbitrary: fc.constant(undefined) }, fc.uint8Array({ maxLength: 60 })),
    )
    .map(([fields, garbage]) => ({
      path,
      kind: method.methodKind,
      bodies: garbage ? [Buffer.from(garbage)] : fields.map((one: Fields) => encode(method.input, one)),
      fields,
    })),
);

const raw = (bytes: Buffer): Buffer => bytes;

/** The code of the answer; streams and waits that would go on are left after a moment. */
async function codeOf(client: Client, { path, kind, bodies }: Call): Promise<string> {
  const options = { deadline: Date.now() + 300 };
  const [first = Buffer.alloc(0)] = bodies;
  const error = await new Promise<ServiceError | null>((resolve) => {
    if (kind === "unary")
      return void client.makeUnaryRequest(path, raw, raw, first, options, (fault) => resolve(fault));
    const end = { error: resolve, end: () => resolve(null) };
    if (kind === "server_streaming") {
      const stream = client.makeServerStreamRequest(path, raw, raw, first, options).resume();
      return void stream.on("error", end.error).on("end", end.end);
    }
    const stream = client.makeBidiStreamRequest(path, raw, raw, options).resume();
    stream.on("error", end.error).on("end", end.end);
    for (const bytes of bodies) stream.write(bytes);
    stream.end();
  });
  if (error === null) return "OK";
  if (error.code === status.DEADLINE_EXCEEDED) return "DEADLINE_EXCEEDED";
  const typed = String(error.metadata.get("grpc-status-details-bin")[0]).includes("hodei.dev");
  return typed ? fromStatus(error, "x").code : `untyped ${error.code}: ${error.details}`;
}

it("any message to any method is answered or refused with a code, and is no defect", async () => {
  const api = new Client(dev.ready.address, credentials.createInsecure());
  const workers = new Client(dev.ready.engines[0]?.address ?? "", credentials.createInsecure());
  await fc.assert(
    fc.asyncProperty(fc.array(calls, { minLength: 20, maxLength: 20 }), async (batch) => {
      const codes = batch.map((call) => codeOf(call.path.includes("WorkerService") ? workers : api, call));
      for (const code of await Promise.all(codes)) expect(code).not.toMatch(/^(INTERNAL|untyped)/);
    }),
    { numRuns: 15, endOnFailure: true },
  );
  api.close();
  workers.close();
  await work();
});

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const SETTINGS = frame(4, 0, 0);
const OPEN = Buffer.concat([PREFACE, SETTINGS]);
const times = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array<Buffer>(count).fill(bytes));

/** What is written, and how often; connections stay open until all is over. */
const ATTACKS: [name: string, connections: number, bytes: (at: number) => Buffer][] = [
  ["nothing", 200, () => Buffer.alloc(0)],
  ["half of what HTTP/2 begins with", 50, () => PREFACE.subarray(0, 10)],
  ["HTTP/1", 20, () => Buffer.from("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")],
  ["half a request of HTTP/1", 50, () => Buffer.from("GET /metrics HTTP/1.1\r\nX-Y: ")],
  ["requests one behind the other", 3, () => times(5000, Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))],
  [
    "a frame of 16 MiB",
    10,
    () => Buffer.concat([OPEN, Buffer.from([255, 255, 255, 0, 0, 0, 0, 0, 1]), Buffer.alloc(500_000)]),
  ],
  ["headers that do not end", 5, () => Buffer.concat([OPEN, frame(1, 0, 1), times(5000, frame(9, 0, 1))])],
  [
    "headers of a megabyte",
    5,
    () => Buffer.concat([OPEN, frame(1, 0, 1), times(64, frame(9, 0, 1, Buffer.alloc(16_000, 0x40)))]),
  ],
  ["settings", 3, () => Buffer.concat([OPEN, times(50_000, SETTINGS)])],
  ["pings", 3, () => Buffer.concat([OPEN, times(50_000, frame(6, 0, 0, Buffer.alloc(8)))])],
  [
    "window updates past the bound",
    10,
    () => Buffer.concat([OPEN, times(3, frame(8, 0, 0, Buffer.from([0x7f, 255, 255, 255])))]),
  ],
  [
    "frames of any kind",
    50,
    (at) =>
      Buffer.concat([
        OPEN,
        ...noise[at % noise.length]!.map(({ type, flags, stream, payload }) => frame(type, flags, stream, payload)),
      ]),
  ],
  ["any bytes", 50, (at) => Buffer.from(noise[at % noise.length]?.[0]?.payload ?? [])],
];

const noise = fc.sample(
  fc.array(
    fc.record({ type: fc.nat(12), flags: fc.nat(255), stream: fc.nat(6), payload: fc.uint8Array({ maxLength: 100 }) }),
    { minLength: 5, maxLength: 40 },
  ),
  { numRuns: 50, seed: 1 },
);

async function dial(address: string): Promise<Socket> {
  const [host = "", port = ""] = address.split(":");
  const socket = connect(Number(port), host).on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

describe("on every port", () => {
  it.each(ATTACKS)("%s: work goes on, and nobody new is kept out", async (_, connections, bytes) => {
    for (const address of [dev.ready.address, dev.ready.engines[0]?.address ?? "", dev.ready.http]) {
      const sockets = await Promise.all(Array.from({ length: connections }, async () => await dial(address)));
      for (const [at, socket] of sockets.entries()) socket.write(bytes(at));
      await work();
      expect((await fetch(`http://${dev.ready.http}/readyz`)).status).toBe(200);
      for (const socket of sockets) socket.destroy();
    }
  });

  it("calls that are opened and reset at once: work goes on", async () => {
    const session = connectHttp2(`http://${dev.ready.address}`).on("error", () => undefined);
    const headers = { ":method": "POST", ":path": "/hodei.v1.ClusterService/GetClusterInfo", te: "trailers" };
    for (let round = 0; round < 2000 && !session.destroyed; round += 1) {
      const stream = session.request({ ...headers, "content-type": "application/grpc" }).on("error", () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    await work();
    session.destroy();
    expect((await fetch(`http://${dev.ready.http}/readyz`)).status).toBe(200);
  });
});

it("after all of this the process is as large as before within 200 MiB, has told of no defect, and stops when asked", async () => {
  await work();
  expect(rssMiB() - idleRssMiB).toBeLessThan(200);
  const lines = dev.stderr().split("\n").filter(Boolean);
  const levels = lines.map((line) => (JSON.parse(line) as { level: number | string }).level);
  expect(levels.filter((level) => level === "error" || level === "fatal" || Number(level) >= 50)).toEqual([]);
  expect(await stopDev(dev)).toBe(0);
});
