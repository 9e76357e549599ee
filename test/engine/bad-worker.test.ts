import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Logger, silentLogger } from "../../base/log.ts";
import type { FromWorker, LogUpload, ToWorker } from "../../transport/api/worker.ts";
import type { Outcome } from "../../workflow/job.ts";
import { Cluster, FakeWorker, type Node } from "./harness.ts";

/**
 * A worker that may say anything, in any order, about jobs of its own, of others and of nobody: the engine stays sound,
 * and what another worker does comes to its right end.
 */

let cluster: Cluster;
let node: Node;
const defects: unknown[] = [];
const logger: Logger = { ...silentLogger, error: (fields) => void defects.push(fields), child: () => logger };

beforeEach(async () => {
  cluster = new Cluster();
  node = await cluster.engine("e1", { logger });
  await cluster.assign();
  const agent = { label: "!hostile" };
  cluster.register("steady", {
    steps: { a: { run: "x", agent }, b: { run: "x", needs: ["a"], agent } },
    output: { v: "${{ steps.b.outputs.of }}" },
  });
  cluster.register("bait", { steps: { a: { run: "x", agent: { label: "hostile" } } } });
  await cluster.worker(node, {
    run: async (job) => {
      genuine.push({ jobId: job.jobId, token: "guessed" });
      return { kind: "succeeded", outputs: { of: job.executionId } };
    },
  });
});
afterEach(() => cluster.stop());

type Ref = { jobId: string; token: string };
/** Jobs of the sound worker: their ids are no secret, their tokens are. */
const genuine: Ref[] = [];
/** What the hostile ones were given. */
const given: Ref[] = [];

const strange: Ref[] = [
  { jobId: "", token: "" },
  { jobId: "default/none/a/0#1", token: "t" },
  { jobId: "default/__proto__/constructor/0#1", token: "__proto__" },
  { jobId: "default//a/0#99999999999999999999", token: "x".repeat(1000) },
  { jobId: `default/${"x".repeat(5000)}/a/0#1`, token: "t" },
];
const refs = fc.tuple(fc.constantFrom("genuine", "given", "strange"), fc.nat()).map(([whose, at]): (() => Ref) => {
  const of = { genuine, given, strange }[whose] ?? strange;
  return () => of[at % Math.max(1, of.length)] ?? { jobId: "x", token: "t" };
});

const JSON_PROTO = JSON.parse('{"__proto__":{"a":1},"constructor":2}') as Record<string, never>;
const outcomes = fc.constantFrom<Outcome>(
  { kind: "succeeded", outputs: {} },
  { kind: "succeeded", outputs: JSON_PROTO },
  { kind: "succeeded", outputs: { a: "x".repeat(70_000) } },
  { kind: "failed", failure: { class: "user", message: "x".repeat(100_000) } },
  { kind: "failed", failure: { class: "infrastructure", message: "\0\ud800" } },
  { kind: "lost", reason: "no" },
  { kind: "rejected", reason: "no" },
  { kind: "timeout", timeout: "run" },
  { kind: "cancelled" },
);
const times = fc.constantFrom(0, -1, 1e15, Number.MAX_SAFE_INTEGER);
const lists = fc.oneof(
  fc.array(refs, { maxLength: 3 }),
  fc
    .nat(500)
    .map((count) => Array.from({ length: count }, (_, at) => () => ({ jobId: `default/e${at}/a/0#1`, token: "t" }))),
);

const hellos = fc
  .record({
    id: fc.constantFrom("h1", "h2", "__proto__"),
    slots: fc.constantFrom(0, 1, 100),
    running: lists,
    spooled: lists,
  })
  .map(({ id, slots, running, spooled }) => (): FromWorker => {
    const sound = new FakeWorker({ id }).hello();
    const offer = { ...sound.offer, labels: ["hostile"] };
    return {
      kind: "hello",
      ...sound,
      offer,
      slots,
      running: running.map((of) => of()),
      spooled: spooled.map((of) => of()),
    };
  });
const messages: fc.Arbitrary<() => FromWorker> = fc.oneof(
  hellos,
  fc.tuple(refs, times).map(([of, startedAtMs]) => (): FromWorker => ({ kind: "accepted", ...of(), startedAtMs })),
  refs.map((of) => (): FromWorker => ({ kind: "rejected", ...of(), reason: "no" })),
  refs.map((of) => (): FromWorker => ({ kind: "progress", ...of(), message: "\0" })),
  {
    weight: 4,
    arbitrary: fc.tuple(refs, outcomes, times).map(([of, outcome, at]) => (): FromWorker => ({
      kind: "result",
      ...of(),
      outcome,
      startedAtMs: at,
      endedAtMs: -at,
    })),
  },
  fc.constant((): FromWorker => ({ kind: "heartbeat", cpuPercent: Number.NaN, memoryBytes: -1, jobs: ["x"] })),
  fc.constant((): FromWorker => ({ kind: "goodbye", reason: "" })),
);
const logs = fc.record({
  of: refs,
  offset: fc.constantFrom(0, 5, -1, 1e12),
  size: fc.constantFrom(0, 10, 300_000),
  dropped: fc.constantFrom(0, -5, 1e12),
});

const streams = fc.record({
  first: fc.oneof({ weight: 8, arbitrary: hellos }, messages),
  rest: fc.array(messages, { maxLength: 20 }),
  logs: fc.array(logs, { maxLength: 4 }),
});

type Stream = typeof streams extends fc.Arbitrary<infer One> ? One : never;

async function play({ first, rest, logs: uploads }: Stream): Promise<void> {
  const stream = node.channel.duplex("worker", "connect");
  const reading = drain(stream.messages, (message) => {
    if (message.kind === "assign") given.push({ jobId: message.job.jobId, token: message.job.token });
  });
  for (const make of [first, ...rest]) await stream.send(make()).catch(() => undefined);
  const upload = node.channel.duplex("worker", "logs");
  const acks = drain(upload.messages, () => undefined);
  for (const { of, offset, size, dropped } of uploads) {
    const message: LogUpload = { ...of(), offset, data: new Uint8Array(size), dropped };
    await upload.send(message).catch(() => undefined);
  }
  upload.end();
  stream.end();
  await Promise.all([reading, acks]);
}

/** Reads to the end, however the stream ends: that is for the engine's log to tell. */
async function drain<T extends ToWorker | object>(of: AsyncIterable<T>, take: (message: T) => void): Promise<void> {
  try {
    for await (const message of of) take(message);
  } catch (error) {
    expect((error as { code?: string }).code).not.toBe("INTERNAL");
  }
}

it("breaks neither the engine nor what another worker does", async () => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(streams, { minLength: 1, maxLength: 3 }), async (together) => {
      const id = `s${(round += 1)}`;
      await cluster.start(`b${round}`, "bait");
      await cluster.start(id, "steady");
      await Promise.all(together.map(play));
      expect((await cluster.ended(id)).at(-1)).toMatchObject({ state: "succeeded", output: { v: id } });
      expect(defects).toEqual([]);
    }),
    { numRuns: Number(process.env["HODEI_TEST_RUNS"] ?? 60) },
  );
  // Else nothing but refusals was tried.
  expect(given.length).toBeGreaterThan(0);
});
