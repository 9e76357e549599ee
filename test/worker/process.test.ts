import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { startTimeOf } from "../../base/process.ts";
import { systemRandom } from "../../base/random.ts";
import type { Platform, Pod } from "../../platform/platform.ts";
import { createProcessPlatform } from "../../platform/process.ts";
import { createGrpcTransport } from "../../transport/grpc/transport.ts";
import { freshDirectory, shellJob, TestEngine } from "./test-engine.ts";

/** A worker as its own process, made by the process platform, over gRPC: the parts of a real fleet, but for the engine. */
const ENTRY = join(import.meta.dirname, "../../cmd/worker.ts");
const transport = createGrpcTransport({ clock: systemClock, logger: silentLogger });

let directory: ReturnType<typeof freshDirectory>;
let platform: Platform;
let engine: TestEngine;
let changes: Pod[];
let stopWatch: () => void;

beforeEach(async () => {
  directory = freshDirectory();
  engine = await new TestEngine(transport).start();
  changes = [];
  platform = createProcessPlatform({
    command: [process.execPath, ENTRY],
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: directory.path },
    owner: "test",
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory: directory.path,
  });
  stopWatch = platform.watch((pod) => changes.push(pod));
});

afterEach(async () => {
  stopWatch();
  for (const pod of await platform.list()) await platform.delete({ ...pod, graceMs: 0 });
  await engine.stop();
  directory.remove();
});

async function aPod(env: Record<string, string> = {}): Promise<Pod> {
  const [host = "", port = ""] = engine.address.split(":");
  const pod = await platform.create({
    name: "w1",
    request: "r1",
    labels: {},
    env: { SERVER_HOST: host, SERVER_PORT: port, WORKER_ID: "w1", WORKER_NAME: "w1", ...env },
  });
  await engine.until(() => engine.hellos.length === 1, "hello");
  return pod;
}

async function ended(): Promise<Pod> {
  const found = (): Pod | undefined => changes.find((pod) => pod.phase === "succeeded" || pod.phase === "failed");
  const until = systemClock.monotonic() + 15_000;
  for (let pod = found(); ; pod = found()) {
    if (pod) return pod;
    if (systemClock.monotonic() > until) {
      throw new Error(`the pod never ended: ${JSON.stringify(await platform.list())}`);
    }
    await systemClock.sleep(20);
  }
}

async function stepId(job: { jobId: string }): Promise<number> {
  await engine.until(() => /^id=\d+$/m.test(engine.logText(job.jobId)), "the step's id");
  return Number(/^id=(\d+)$/m.exec(engine.logText(job.jobId))?.[1]);
}

describe("a worker process over gRPC", () => {
  it("registers as the process that it is, runs a step with logs and outputs, drains on SIGTERM and exits 0", async () => {
    const pod = await aPod();
    expect(engine.hellos[0]?.host.pid).toBe(pod.pid);
    expect(engine.hellos[0]?.host.startTime).toBe(startTimeOf(pod.pid ?? 0));
    const job = shellJob('echo hello; echo "n=1" >> "$HODEI_OUTPUT"');
    expect((await engine.run(job)).outcome).toEqual({ kind: "succeeded", outputs: { n: "1" } });
    expect(engine.logText(job.jobId)).toBe("hello\n");
    process.kill(pod.pid ?? 0, "SIGTERM");
    await engine.message("goodbye");
    expect(await ended()).toMatchObject({ uid: pod.uid, phase: "succeeded", exitCode: 0 });
  });

  it("an ephemeral one exits by itself after its job", async () => {
    await aPod({ EPHEMERAL_MODE: "true" });
    await engine.run(shellJob("true"));
    expect(await ended()).toMatchObject({ phase: "succeeded", exitCode: 0 });
  });

  it("keeps its step running while its engine is killed and comes back", async () => {
    await aPod();
    const job = shellJob('echo "id=$$"; sleep 1; echo late; echo "n=1" >> "$HODEI_OUTPUT"');
    await engine.send({ kind: "assign", job });
    const id = await stepId(job);
    const { address } = engine;
    await engine.stop();
    engine = await new TestEngine(transport).start(address);
    expect((await engine.result(job)).outcome).toEqual({ kind: "succeeded", outputs: { n: "1" } });
    expect(engine.logText(job.jobId)).toContain("late");
    expect(startTimeOf(id)).toBeUndefined();
    expect(engine.heard.filter((message) => message.kind === "accepted")).toEqual([]);
  });

  it("killed with -9, takes its steps with it", async () => {
    const pod = await aPod();
    const job = shellJob('echo "id=$$"; exec sleep 1000');
    await engine.send({ kind: "assign", job });
    const id = await stepId(job);
    process.kill(pod.pid ?? 0, "SIGKILL");
    expect(await ended()).toMatchObject({ phase: "failed", exitCode: 137, reason: { code: "Killed" } });
    const until = systemClock.monotonic() + 10_000;
    while (startTimeOf(id) !== undefined && systemClock.monotonic() < until) await systemClock.sleep(20);
    expect(startTimeOf(id)).toBeUndefined();
  });

  it("deleted with its platform's patience at an end, leaves no step behind", async () => {
    const pod = await aPod();
    const job = shellJob("trap '' TERM; echo \"id=$$\"; while :; do sleep 1; done");
    await engine.send({ kind: "assign", job });
    const id = await stepId(job);
    await platform.delete({ ...pod, graceMs: 100 });
    expect(startTimeOf(id)).toBeUndefined();
    expect(startTimeOf(pod.pid ?? 0)).toBeUndefined();
  });

  it("says on stderr why it cannot start, and the platform keeps that", async () => {
    const pod = await platform.create({ name: "bad", request: "bad", labels: {}, env: { SERVER_PORT: "nonsense" } });
    expect(await ended()).toMatchObject({ phase: "failed", exitCode: 1 });
    expect(await platform.logs({ ...pod, tailBytes: 4096 })).toContain("SERVER_PORT");
  });
});
