import { afterEach, expect, it } from "vitest";
import { checkHello } from "../../engine/workers/hello.ts";
import type { FromWorker, Hello } from "../../transport/api/worker.ts";
import { Cluster, FakeWorker, type Node } from "./harness.ts";

/** The first words of a worker, when they are not what they should be. */

let cluster: Cluster;
afterEach(() => cluster.stop());

const many = (count: number): string[] => Array.from({ length: count }, (_, at) => `l${at}`);
const hello = (over: Partial<Hello> = {}): FromWorker => ({
  kind: "hello",
  ...new FakeWorker({ id: "w1" }).hello(),
  ...over,
});

async function answerTo(node: Node, message: FromWorker): Promise<unknown> {
  const stream = node.channel.duplex("worker", "connect");
  await stream.send(message);
  try {
    for await (const answer of stream.messages) return answer;
    return "ended without a word";
  } catch (error) {
    return error;
  } finally {
    stream.cancel();
  }
}

it("a stream that is refused ends with the reason, and not as if all were well", async () => {
  cluster = new Cluster();
  const node = await cluster.engine("e1");
  const offer = new FakeWorker({ id: "w1" }).offer();
  const cases: [FromWorker, object][] = [
    [{ kind: "heartbeat", cpuPercent: 0, memoryBytes: 0, jobs: [] }, { code: "INVALID_ARGUMENT" }],
    [hello({ workerId: "" }), { code: "INVALID_ARGUMENT", field: "hello.workerId" }],
    [hello({ slots: -1 }), { code: "INVALID_ARGUMENT", field: "hello.slots" }],
    [hello({ slots: 2 ** 31 - 1 }), { code: "TOO_LARGE", field: "hello.slots" }],
    [hello({ workerId: "x".repeat(1000) }), { code: "TOO_LARGE", field: "hello.workerId" }],
    [hello({ workspaces: many(10_000) }), { code: "TOO_LARGE", field: "hello.workspaces" }],
    [hello({ offer: { ...offer, labels: many(10_000) } }), { code: "TOO_LARGE", field: "hello.offer.labels" }],
    [hello({ offer: { ...offer, labels: ["x".repeat(1_000_000)] } }), { code: "TOO_LARGE", field: "hello.offer" }],
    [hello({ offer: { ...offer, custom: { a: many(100_000) } } }), { code: "TOO_LARGE", field: "hello.offer" }],
    [hello({ requestId: "x".repeat(1000) }), { code: "TOO_LARGE", field: "hello.requestId" }],
    [
      hello({ offer: { ...offer, total: { ...offer.total, cpuMillis: -1 } } }),
      { code: "INVALID_ARGUMENT", field: "hello.offer.total.cpuMillis" },
    ],
    [
      hello({ running: many(100_000).map((jobId) => ({ jobId, token: "t" })) }),
      { code: "TOO_LARGE", field: "hello.running" },
    ],
  ];
  for (const [message, expected] of cases) expect(await answerTo(node, message)).toMatchObject(expected);
  expect(await answerTo(node, hello())).toMatchObject({ kind: "welcome" });
});

it("of ten thousand results that nobody waits for any more, all are told to be stale", async () => {
  cluster = new Cluster();
  const node = await cluster.engine("e1");
  const spooled = many(10_000).map((jobId) => ({ jobId, token: `token ${jobId}` }));
  const answer = await answerTo(node, hello({ spooled }));
  expect(answer).toMatchObject({ kind: "welcome", stale: expect.arrayContaining(["token l0", "token l9999"]) });
});

it("a worker hears that its engine is there only when it knows the word: one of an older version would end the stream", async () => {
  cluster = new Cluster();
  const node = await cluster.engine("e1");
  const answers = async (knowsHeard: boolean): Promise<string[]> => {
    const stream = node.channel.duplex("worker", "connect");
    await stream.send(hello(knowsHeard ? { knowsHeard } : {}));
    await stream.send({ kind: "heartbeat", cpuPercent: 0, memoryBytes: 0, jobs: [] });
    // Its acknowledgement is the last word: what the heartbeat before it led to has been said by then.
    const outcome = { kind: "succeeded", outputs: {} } as const;
    await stream.send({ kind: "result", jobId: "unknown", token: "t", outcome, startedAtMs: 0, endedAtMs: 0 });
    const kinds: string[] = [];
    for await (const { kind } of stream.messages) {
      kinds.push(kind);
      if (kind === "ack") break;
    }
    stream.cancel();
    return kinds;
  };
  expect(await answers(true)).toEqual(["welcome", "heard", "heard", "ack"]);
  expect(await answers(false)).toEqual(["welcome", "ack"]);
});

it("a worker's credential speaks for its namespace and for no other", () => {
  const worker = new FakeWorker({ id: "w1" }).hello();
  const of = (namespace: string): Hello => ({ ...worker, offer: { ...worker.offer, namespace } });
  const as = (namespace: string) => ({ namespace, subject: "w1", role: "worker" as const });
  expect(() => checkHello(of("red"), as("red"))).not.toThrow();
  expect(() => checkHello(of("*"), as("*"))).not.toThrow();
  for (const namespace of ["blue", "*"])
    expect(() => checkHello(of(namespace), as("red"))).toThrow(expect.objectContaining({ code: "PERMISSION_DENIED" }));
});
