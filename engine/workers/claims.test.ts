import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { jobOf, offerOf } from "../../store/fixtures.ts";
import type { Assignment, ClaimRequest, WorkerSlot } from "../../store/store.ts";
import { noMetrics } from "../metrics.ts";
import { Claims } from "./claims.ts";
import type { Held, WorkerRecord } from "./record.ts";

const CPU = 4000;

/** One worker of four slots and four cpus. `run` lets it hold a job, `end` brings that to its report. */
function rig() {
  const clock = new ManualClock();
  const random = seededRandom(1);
  const asked: ClaimRequest[] = [];
  const claim = async (request: ClaimRequest) => {
    asked.push(request);
    return { assignments: [], nowMs: 0 };
  };
  const host = { bootId: "", pidNamespace: "", pid: 1, startTime: "", hostname: "" };
  const offer = offerOf({ total: { cpuMillis: CPU, memoryBytes: 2 ** 40, gpu: 0, storageBytes: 0 } });
  const hello = { workerId: "w", name: "w", version: "", offer, slots: 4, host, running: [], spooled: [] };
  const record: WorkerRecord = {
    id: "w",
    hello: { ...hello, workspaces: [] },
    signature: "s",
    stream: { send: () => {}, cancel: () => {} },
    welcomed: true,
    state: "available",
    held: new Map(),
    workspaces: new Set(),
    asking: new Set(),
    questions: 0,
    spent: false,
    restUntilMs: 0,
    lastWordMs: 0,
    idleSinceMs: 0,
    connectedAtMs: 0,
    lastHeartbeatAtMs: 0,
    cpuPercent: 0,
    memoryBytes: 0,
  };
  const holders = new Map<string, string>();
  const given = (step: string, cpuMillis = 1000): Assignment => {
    const requirement = { resources: { cpuMillis, memoryBytes: 0, gpu: 0, storageBytes: 0 } };
    return { job: jobOf("x", step, { requirement }), token: step, worker: "w", facts: { enqueuedAtMs: 0 } };
  };
  const hold = ({ job, token, facts }: Assignment): Held => {
    const held: Held = { jobId: job.id, token, job, facts, state: "running" };
    record.held.set(job.id, held);
    holders.set(job.id, "w");
    return held;
  };
  const parts = { store: { claim }, clock, random, logger: silentLogger, metrics: noMetrics };
  const ownership = { session: "session", suspect: () => {} };
  const claims = new Claims(
    { ...parts, ownership, workers: new Map([["w", record]]), holders, strategy: "bin-pack", closing: () => false },
    (assignment) => void hold(assignment),
  );
  return { claims, given, hold, asked };
}

const settled = () => new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
const room = (slots: readonly WorkerSlot[]): [number, number][] =>
  slots.map(({ free }) => [free.slots, free.cpuMillis]);

test("what one open question offers, no other offers: a job that ends asks for its own place alone", async () => {
  const { claims, given, hold, asked } = rig();
  const [one, two] = [hold(given("one")), hold(given("two"))];
  const all = claims.offer([]);
  expect(room(all)).toEqual([[2, 2000]]);
  one.state = "reporting";
  const first = claims.offer([one]);
  expect(room(first)).toEqual([[1, 1000]]);
  two.state = "reporting";
  const second = claims.offer([two]);
  expect(room(second)).toEqual([[1, 1000]]);
  expect(claims.offer([])).toEqual([]);
  claims.answered(first, [given("three")]);
  claims.answered(second, [given("four")]);
  claims.answered(all, [given("five"), given("six")]);
  await settled();
  expect(asked).toEqual([]);
});

test("after several questions at once that left room, it asks with the whole of it: a job may need as much", async () => {
  const { claims, given, hold, asked } = rig();
  const one = hold(given("one"));
  const all = claims.offer([]);
  one.state = "reporting";
  const part = claims.offer([one]);
  expect(room([...all, ...part])).toEqual([
    [3, 3000],
    [1, 1000],
  ]);
  claims.answered(all, []);
  expect(asked).toEqual([]);
  claims.answered(part, []);
  await settled();
  expect(asked.map(({ workers }) => room(workers))).toEqual([[[4, 4000]]]);
});

test("it does not ask again when the last part was offered all that is left", async () => {
  const { claims, given, hold, asked } = rig();
  const one = hold(given("one"));
  const all = claims.offer([]);
  one.state = "reporting";
  const part = claims.offer([one]);
  claims.answered(all, [given("two", 1500), given("three", 1500)]);
  claims.answered(part, [given("four", 1000)]);
  await settled();
  expect(asked).toEqual([]);
});

test("who is to ask while all it has is offered asks when that is answered", async () => {
  const { claims, asked } = rig();
  const all = claims.offer([]);
  claims.ask(["w"]);
  await settled();
  expect(asked).toEqual([]);
  claims.answered(all, []);
  await settled();
  expect(asked.map(({ workers }) => room(workers))).toEqual([[[4, 4000]]]);
});
