import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { ServiceError } from "@grpc/grpc-js";
import { Client, credentials } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { descriptorSet } from "../../proto/gen/descriptor.ts";
import { loadCodec, SERVICES } from "./codec/table.ts";
import { fromStatus } from "./errors.ts";
import { createGrpcTransport } from "./transport.ts";
import { UNIMPLEMENTED } from "./unimplemented.ts";

it("every method of proto/ is either carried by a codec or named as not implemented", async () => {
  const carried = await Promise.all(
    SERVICES.map(async (service) => Object.values((await loadCodec(service)).methods).map(({ path }) => path)),
  );
  const unimplemented = Object.entries(UNIMPLEMENTED).flatMap(([service, methods]) =>
    methods.map((method) => `/${service}/${method}`),
  );
  expect([...carried.flat(), ...unimplemented].toSorted()).toEqual(described().toSorted());
});

it("a call of what is not implemented is told so in words", async () => {
  const transport = createGrpcTransport({ clock: systemClock, logger: silentLogger });
  const server = await transport.serve({ address: "127.0.0.1:0", services: {} });
  const client = new Client(server.address, credentials.createInsecure());
  const raw = (bytes: Buffer): Buffer => bytes;
  try {
    const path = "/hodei.v1.WorkerPoolService/ListWorkerPools";
    const error = await new Promise<ServiceError | null>((resolve) =>
      client.makeUnaryRequest(path, raw, raw, Buffer.alloc(0), (failed) => resolve(failed)),
    );
    expect(fromStatus(error ?? {}, "x")).toMatchObject({
      code: "UNIMPLEMENTED",
      message: "hodei.v1.WorkerPoolService.ListWorkerPools is described but not implemented yet",
      hint: expect.stringContaining("hodei dev"),
    });
  } finally {
    client.close();
    await server.stop(0);
  }
});

/** Paths of all methods of hodei.v1, read from the descriptors that reflection answers from. */
function described(): string[] {
  const paths: string[] = [];
  // FileDescriptorSet { file = 1 }, FileDescriptorProto { service = 6 }, ServiceDescriptorProto { name = 1, method = 2 }.
  for (const file of fields(Buffer.from(descriptorSet, "base64"), 1)) {
    for (const service of fields(file, 6)) {
      const name = `hodei.v1.${String(fields(service, 1)[0])}`;
      for (const method of fields(service, 2)) paths.push(`/${name}/${String(fields(method, 1)[0])}`);
    }
  }
  return paths;
}

function fields(bytes: Buffer, wanted: number): Buffer[] {
  const reader = new BinaryReader(bytes);
  const found: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    // Descriptors hold numbers and what has a length, nothing else.
    if (type === WireType.Varint) reader.uint64();
    else if (field === wanted) found.push(Buffer.from(reader.bytes()));
    else reader.bytes();
  }
  return found;
}
