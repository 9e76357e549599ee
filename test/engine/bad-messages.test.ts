import { Client, credentials } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { type Logger, silentLogger } from "../../base/log.ts";
import { encode, type Fields, fieldsOf, METHODS } from "../../transport/grpc/message.arbitrary.ts";
import { fromStatus } from "../../transport/grpc/errors.ts";
import { createGrpcTransport } from "../../transport/grpc/transport.ts";
import type { Server } from "../../transport/transport.ts";
import { digestOf, normalForm } from "../../workflow/load.ts";
import { Cluster, type Node } from "./harness.ts";

/**
 * What an orchestrator of another version, or one gone wrong, may ask of an engine: each message is answered or refused
 * with a code, none is a defect, and executions go on.
 */

let cluster: Cluster;
let node: Node;
let server: Server;
let client: Client;
const defects: unknown[] = [];
const logger: Logger = { ...silentLogger, error: (fields) => void defects.push(fields), child: () => logger };

beforeAll(async () => {
  cluster = new Cluster();
  node = await cluster.engine("e1", { logger });
  await cluster.assign();
  const definition = cluster.register("one", { steps: { w: { wait: { signal: "go" } } } });
  known.digest = digestOf(definition);
  known.definition = normalForm(definition);
  await cluster.start("x1", "one");
  const transport = createGrpcTransport({ clock: systemClock, logger });
  server = await transport.serve({ address: "127.0.0.1:0", services: node.engine.services });
  client = new Client(server.address, credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await server.stop(0);
  await cluster.stop();
});

const known = { digest: "", definition: "" };
const any = fc.oneof(
  fc.string(),
  fc.constantFrom("", "default", "one", "x1", "__proto__", "constructor", "\0", "\ud800", "é", "x".repeat(9000)),
);
const json = fc.json({ maxDepth: 3 });
const message = fc
  .record(
    {
      kind: fc.constantFrom(
        "signal",
        "cancel",
        "pause",
        "resume",
        "retry",
        "childEnded",
        "childRefused",
        "start",
        "timer",
      ),
      id: fc.oneof({ weight: 4, arbitrary: any }, fc.jsonValue({ maxDepth: 1 })),
      name: fc.constantFrom<unknown>("go", "x", 1, null),
      payload: fc.jsonValue({ maxDepth: 2 }),
      by: fc.constantFrom<unknown>("", "someone", 1, {}),
      reason: fc.constantFrom<unknown>("r", 1, {}),
      steps: fc.constantFrom<unknown>(["w"], ["nope"], "w", [1], {}),
      step: fc.constantFrom<unknown>("w", "nope", 1, "__proto__"),
      iteration: fc.constantFrom<unknown>("0", "1", 0, null),
      childId: fc.constantFrom<unknown>("x1", null),
      state: fc.constantFrom<unknown>("succeeded", "failed", "nope", 1),
      error: fc.jsonValue({ maxDepth: 1 }),
      output: fc.jsonValue({ maxDepth: 2 }),
    },
    { requiredKeys: ["kind"] },
  )
  .map((value) => JSON.stringify(value));

function words(field: string): fc.Arbitrary<string> {
  const usual = (...values: string[]): fc.Arbitrary<string> =>
    fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...values) }, any);
  switch (field) {
    case "message_json":
      return fc.oneof({ weight: 4, arbitrary: message }, json, any);
    case "lock_json":
      return fc.oneof({ weight: 4, arbitrary: fc.constant('{"entries":{}}') }, fc.constant("{}"), json, any);
    case "input_json":
      return fc.oneof(fc.constant("{}"), json, any);
    case "digest":
    case "definitions":
      return fc.oneof(
        { weight: 6, arbitrary: fc.constant("").map(() => known.digest) },
        { weight: 6, arbitrary: fc.constant("").map(() => known.definition) },
        usual("{}", "null", "constructor"),
      );
    case "namespace":
      return usual("default");
    case "id":
      return fc.oneof(usual("x1", "x2", "x3"), fc.nat(500).map(String));
    case "workflow":
      return usual("one");
    case "version":
      return usual("1.0.0");
    default:
      return any;
  }
}

const calls = fc
  .constantFrom(...METHODS.filter(({ path }) => /EngineService\/(?!DrainSelf|AssignShards|Watch)/.test(path)))
  .chain(({ path, method }) => fc.tuple(fc.constant(path), fc.constant(method), fieldsOf(method.input, words)));

const raw = (bytes: Buffer): Buffer => bytes;

async function codeOf(path: string, bytes: Buffer): Promise<string> {
  return await new Promise((resolve) => {
    client.makeUnaryRequest(path, raw, raw, bytes, (error) => {
      const fault = error ? fromStatus(error, "engine") : undefined;
      resolve(fault === undefined ? "OK" : `${fault.code}: ${fault.message}`);
    });
  });
}

it("answers or refuses any message, and goes on", async () => {
  await fc.assert(
    fc.asyncProperty(calls, async ([path, method, fields]: [string, (typeof METHODS)[number]["method"], Fields]) => {
      expect(await codeOf(path, encode(method.input, fields))).not.toMatch(/^(INTERNAL|UNAVAILABLE|DEADLINE_EXCEEDED)/);
      expect(defects).toEqual([]);
    }),
    { numRuns: Number(process.env["HODEI_TEST_RUNS"] ?? 300) },
  );
  expect(defects).toEqual([]);
  await cluster.start("last", "one");
  await cluster.deliver("last", { kind: "signal", id: "s1", name: "go", payload: {}, by: "" });
  expect((await cluster.ended("last")).at(-1)).toMatchObject({ state: "succeeded" });
});
