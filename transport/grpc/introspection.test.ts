import { once } from "node:events";
import type { ClientReadableStream, ServiceDefinition } from "@grpc/grpc-js";
import { credentials, makeGenericClientConstructor, status } from "@grpc/grpc-js";
import { service as healthService } from "grpc-health-check";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { engine, worker } from "../conformance.ts";
import { createGrpcTransport } from "./transport.ts";

const transport = createGrpcTransport({ clock: systemClock, logger: silentLogger });
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve() {
  const services = { engine: engine({ drain: async () => ({}) }), worker: worker({}) };
  const server = await transport.serve({ address: "127.0.0.1:0", services });
  cleanups.push(() => server.stop(0));
  return server;
}

function client(definition: ServiceDefinition, address: string) {
  const Constructor = makeGenericClientConstructor(definition, "any");
  const made = new Constructor(address, credentials.createInsecure());
  cleanups.push(() => made.close());
  return made;
}

describe("health", () => {
  const check = async (address: string, service: string): Promise<unknown> =>
    await new Promise((resolve) => {
      const respond = (error: { code: number } | null, answer: { status: string } | undefined): void =>
        resolve(error ? error.code : answer?.status);
      client(healthService, address)["Check"]?.({ service }, respond);
    });

  it("is SERVING for the server and each service it offers, unknown for others", async () => {
    const { address } = await serve();
    const NOT_FOUND = 5;
    expect(await check(address, "")).toBe("SERVING");
    expect(await check(address, "hodei.v1.EngineService")).toBe("SERVING");
    expect(await check(address, "hodei.v1.WorkerService")).toBe("SERVING");
    expect(await check(address, "hodei.v1.WorkflowService")).toBe(NOT_FOUND);
  });

  it("turns to NOT_SERVING when the server begins to stop, for those who watch", async () => {
    const server = await serve();
    const call = client(healthService, server.address)["Watch"]?.({ service: "" }) as ClientReadableStream<unknown>;
    expect(await once(call, "data")).toEqual([{ status: "SERVING" }]);
    const next = once(call, "data");
    const stopping = server.stop(60_000);
    expect(await next).toEqual([{ status: "NOT_SERVING" }]);
    call.on("error", () => undefined);
    call.cancel();
    await stopping;
  });
});

it("bytes that are no message are the caller's fault, to health and to reflection", async () => {
  const { address } = await serve();
  const raw = (bytes: Buffer): Buffer => bytes;
  const garbage = Buffer.from([0xff, 0xff, 0xff]);
  const { INVALID_ARGUMENT } = status;
  const plain = client({}, address);
  for (const method of ["Check", "List"]) {
    const error = await new Promise((resolve) =>
      plain.makeUnaryRequest(`/grpc.health.v1.Health/${method}`, raw, raw, garbage, resolve),
    );
    expect(error).toMatchObject({
      code: INVALID_ARGUMENT,
      details: expect.stringContaining("cannot be read") as string,
    });
  }
  const watch = plain.makeServerStreamRequest("/grpc.health.v1.Health/Watch", raw, raw, garbage).resume();
  expect(await once(watch, "error")).toMatchObject([{ code: INVALID_ARGUMENT }]);
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const reflection = plain.makeBidiStreamRequest(path, raw, raw).resume();
  // The client's close at the end of the test may come before its proper end.
  const over = new Promise((resolve) => reflection.on("error", resolve).on("end", resolve));
  reflection.write(garbage);
  const [answer] = (await once(reflection, "data")) as [Buffer];
  expect(String(answer)).toContain("Unimplemented method for request");
  reflection.end();
  await over;
});

describe("reflection", () => {
  // ServerReflectionRequest { file_by_filename = 3, file_containing_symbol = 4, list_services = 7 }.
  const request = (field: number, value: string): Buffer =>
    Buffer.from(
      new BinaryWriter()
        .uint32(field * 8 + 2)
        .string(value)
        .finish(),
    );

  async function reflect(address: string, version: string, message: Buffer): Promise<Map<number, Buffer>> {
    const raw = (bytes: Buffer): Buffer => bytes;
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const call = client({}, address).makeBidiStreamRequest(path, raw, raw);
    call.write(message);
    const [answer] = (await once(call, "data")) as [Buffer];
    call.end();
    call.resume();
    await once(call, "end");
    return fields(answer);
  }

  /** The last value of each field; all of ServerReflectionResponse are length-delimited. */
  function fields(bytes: Buffer): Map<number, Buffer> {
    const found = new Map<number, Buffer>();
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field] = reader.tag();
      found.set(field, Buffer.from(reader.bytes()));
    }
    return found;
  }

  const FILES = 4;
  const SERVICES = 6;

  it.each(["v1", "v1alpha"])("%s lists the services that the server offers, and no others", async (version) => {
    const { address } = await serve();
    const listed = String((await reflect(address, version, request(7, ""))).get(SERVICES));
    expect(listed).toContain("hodei.v1.EngineService");
    expect(listed).toContain("hodei.v1.WorkerService");
    expect(listed).not.toContain("hodei.v1.WorkflowService");
  });

  it("describes a message by its name", async () => {
    const { address } = await serve();
    const file = String((await reflect(address, "v1", request(4, "hodei.v1.Outcome"))).get(FILES));
    expect(file).toContain("hodei/v1/job.proto");
    expect(file).toContain("outputs_json");
  });
});
