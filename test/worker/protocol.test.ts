import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { createLocalTransport } from "../../transport/local.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { TaskContext, TaskFunction, Worker, WorkerOptions } from "../../worker/options.ts";
import { freshDirectory, shellJob, taskJob, TestEngine, workerFor } from "./test-engine.ts";

const transport = createLocalTransport({ clock: systemClock });
let engine: TestEngine;
let directory: ReturnType<typeof freshDirectory>;
const workers: Worker[] = [];
const engines: TestEngine[] = [];

beforeEach(async () => {
  directory = freshDirectory();
  engine = await anEngine();
});

afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.stop();
  for (const one of engines.splice(0)) await one.stop();
  directory.remove();
});

async function anEngine(address?: string): Promise<TestEngine> {
  const made = await new TestEngine(transport).start(address);
  engines.push(made);
  return made;
}

async function aWorker(
  more: Partial<WorkerOptions> = {},
  handlers: Record<string, TaskFunction> = {},
): Promise<Worker> {
  const worker = workerFor([engine], transport, directory.path, {
    handlers: new Map(Object.entries(handlers)),
    ...more,
  });
  workers.push(worker);
  await worker.start();
  await worker.ready;
  return worker;
}

/** A handler that ends when the test says so. */
function gate(): {
  handler: TaskFunction;
  entered: Promise<TaskContext>;
  open: (value?: unknown) => void;
  calls: () => number;
} {
  const entered = Promise.withResolvers<TaskContext>();
  const opened = Promise.withResolvers<unknown>();
  let calls = 0;
  return {
    handler: (_input, context) => {
      calls++;
      entered.resolve(context);
      return opened.promise;
    },
    entered: entered.promise,
    open: opened.resolve,
    calls: () => calls,
  };
}

describe("handlers", () => {
  it("take input and context, give output and log", async () => {
    await aWorker(
      {},
      {
        greet: (input, context) => {
          context.log("working");
          context.progress("half");
          return { text: `hello ${input as string}`, key: context.idempotencyKey, attempt: context.attempt };
        },
      },
    );
    const job = taskJob("greet", "sea", { step: "g" });
    expect((await engine.run(job)).outcome).toEqual({
      kind: "succeeded",
      outputs: { text: "hello sea", key: "uid-1/g/0", attempt: 1 },
    });
    expect(engine.logText(job.jobId)).toBe("working\n");
    expect(await engine.message("progress")).toMatchObject({ jobId: job.jobId, message: "half" });
  });

  it("are said to have begun only when they have not ended in the same turn", async () => {
    const { handler, entered, open } = gate();
    await aWorker({}, { quick: () => ({}), slow: handler });
    await engine.run(taskJob("quick", 0));
    const slow = taskJob("slow", 0);
    await engine.send({ kind: "assign", job: slow });
    await entered;
    const accepted = await engine.message("accepted");
    expect(accepted).toMatchObject({ jobId: slow.jobId, token: slow.token });
    open({});
    const { startedAtMs } = await engine.result(slow);
    expect(startedAtMs).toBe(accepted.startedAtMs);
    expect(engine.heard.filter(({ kind }) => kind === "accepted")).toHaveLength(1);
  });

  it("wrap what is no object, and nothing is {}", async () => {
    await aWorker({}, { list: () => [1, 2], nothing: () => undefined });
    expect((await engine.run(taskJob("list", 0))).outcome).toEqual({ kind: "succeeded", outputs: { result: [1, 2] } });
    expect((await engine.run(taskJob("nothing", 0))).outcome).toEqual({ kind: "succeeded", outputs: {} });
  });

  it("fail with the error's name and its word on retries", async () => {
    class RateLimited extends Error {
      override name = "RateLimited";
      permanent = true;
    }
    await aWorker(
      {},
      {
        limited: () => {
          throw new RateLimited("slow down");
        },
        strange: async () => {
          throw new HodeiError("INVALID_ARGUMENT", "bad");
        },
      },
    );
    expect((await engine.run(taskJob("limited", 0))).outcome).toEqual({
      kind: "failed",
      failure: { class: "user", type: "RateLimited", message: "slow down", permanent: true },
    });
    expect((await engine.run(taskJob("strange", 0))).outcome).toEqual({
      kind: "failed",
      failure: { class: "user", type: "HodeiError", message: "bad" },
    });
  });

  it("may not return what JSON cannot say, nor too much of it", async () => {
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    await aWorker({}, { circle: () => circle, big: () => "x".repeat(70_000), code: () => () => 1 });
    for (const handler of ["circle", "big", "code"]) {
      expect((await engine.run(taskJob(handler, 0))).outcome).toMatchObject({ failure: { type: "InvalidOutput" } });
    }
  });

  it("see a cancel as an abort", async () => {
    const { handler, entered, open } = gate();
    await aWorker({}, { slow: handler });
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    const { signal } = await entered;
    signal.addEventListener("abort", () => open());
    await engine.send({ kind: "cancel", jobId: job.jobId, token: job.token, reason: "test" });
    expect((await engine.result(job)).outcome).toEqual({ kind: "cancelled" });
  });

  it("that ignore their signal are abandoned after the grace period, and their slot is free", async () => {
    const { handler, entered } = gate();
    await aWorker({ slots: 1 }, { deaf: handler, fine: () => ({}) });
    const job = taskJob("deaf", 0, { graceMs: 50, runMs: 50 });
    await engine.send({ kind: "assign", job });
    await entered;
    expect((await engine.result(job)).outcome).toEqual({ kind: "timeout", timeout: "run" });
    expect((await engine.run(taskJob("fine", 0))).outcome.kind).toBe("succeeded");
  });
});

describe("assignments", () => {
  it("beyond the slots, without a handler or with a container are rejected with the reason", async () => {
    const { handler, entered, open } = gate();
    await aWorker({ slots: 1 }, { slow: handler });
    const first = taskJob("slow", 0);
    await engine.send({ kind: "assign", job: first });
    await entered;
    await engine.send({ kind: "assign", job: taskJob("slow", 1, { step: "second" }) });
    expect((await engine.message("rejected")).reason).toBe("all 1 slots of this worker are taken");
    open();
    await engine.result(first);
    await engine.send({ kind: "assign", job: taskJob("none", 1) });
    expect((await engine.message("rejected", () => true, 2)).reason).toBe('no handler "none" here');
    const work = { kind: "run", script: "", shell: "sh", env: {}, container: "alpine" } as const;
    await engine.send({ kind: "assign", job: shellJob("", { work }) });
    expect((await engine.message("rejected", () => true, 3)).reason).toBe("this worker runs no containers");
  });

  it("said twice run once: while running, while unacknowledged, and after", async () => {
    engine.autoAck = false;
    const { handler, entered, open, calls } = gate();
    await aWorker({}, { once: handler });
    const job = taskJob("once", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    await engine.send({ kind: "assign", job });
    await engine.message("accepted", () => true, 2);
    open({ n: 1 });
    await engine.result(job);
    await engine.send({ kind: "assign", job });
    await engine.result(job, 2);
    await engine.send({ kind: "ack", jobId: job.jobId, token: job.token });
    await engine.send({ kind: "assign", job });
    // Behind it in the same stream: once this one is answered, the repeat was taken.
    await engine.send({ kind: "assign", job: taskJob("none", 0) });
    await engine.message("rejected");
    expect(calls()).toBe(1);
    expect(engine.heard.filter((message) => message.kind === "result")).toHaveLength(2);
  });

  it("a cancel for an unknown job or another token does nothing", async () => {
    const { handler, entered, open } = gate();
    await aWorker({}, { slow: handler });
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    await engine.send({ kind: "cancel", jobId: job.jobId, token: "other", reason: "" });
    await engine.send({ kind: "cancel", jobId: "nobody", token: job.token, reason: "" });
    open({ fine: true });
    expect((await engine.result(job)).outcome).toEqual({ kind: "succeeded", outputs: { fine: true } });
  });

  it("beat while they run, with their ids", async () => {
    engine.heartbeatMs = 10;
    const { handler, entered, open } = gate();
    await aWorker({}, { slow: handler });
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    const beat = await engine.message("heartbeat", (message) => message.jobs.length > 0);
    expect(beat.jobs).toEqual([job.jobId]);
    expect(beat.memoryBytes).toBeGreaterThan(1_000_000);
    expect(beat.cpuPercent).toBeGreaterThanOrEqual(0);
    open();
  });
});

describe("losing the engine", () => {
  it("keeps a job running and presents it to another engine, which gets its result and the rest of its log", async () => {
    const other = await anEngine();
    const { handler, entered, open } = gate();
    const worker = workerFor([engine, other], transport, directory.path, { handlers: new Map([["slow", handler]]) });
    workers.push(worker);
    await worker.start();
    await worker.ready;
    const [first, second] = engine.hellos.length > 0 ? [engine, other] : [other, engine];
    first.answerLog = () => undefined;
    const job = taskJob("slow", 0);
    await first.send({ kind: "assign", job });
    (await entered).log("before");
    await first.until(() => first.uploads.length > 0, "first log");
    await first.stop();
    await second.until(() => second.hellos.length > 0, "second hello");
    expect(second.hellos[0]?.running).toEqual([{ jobId: job.jobId, token: job.token }]);
    (await entered).log("after");
    open({ done: true });
    expect((await second.result(job)).outcome).toEqual({ kind: "succeeded", outputs: { done: true } });
    expect(second.logText(job.jobId)).toBe("before\nafter\n");
    expect(second.uploads[0]?.offset).toBe(0);
  });

  it("delivers a result that came in between once, and forgets it when acknowledged", async () => {
    const { handler, entered, open } = gate();
    await aWorker({}, { slow: handler });
    const { address } = engine;
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    await engine.stop();
    open({ n: 1 });
    const spool = join(directory.path, "spool");
    await untilFiles(spool, 1);
    const again = await anEngine(address);
    expect((await again.result(job)).outcome).toEqual({ kind: "succeeded", outputs: { n: 1 } });
    expect(again.hellos[0]?.spooled).toEqual([{ jobId: job.jobId, token: job.token }]);
    await untilFiles(spool, 0);
    again.breakStream();
    await again.until(() => again.hellos.length === 2, "a second hello");
    expect(again.hellos[1]?.spooled).toEqual([]);
    expect(again.heard.filter((message) => message.kind === "result")).toHaveLength(1);
  });

  it("a result that nobody acknowledged survives the worker's own end", async () => {
    engine.autoAck = false;
    const first = await aWorker({}, { quick: () => ({ n: 1 }) });
    const job = taskJob("quick", 0);
    await engine.run(job);
    await first.stop();
    await aWorker({}, { quick: () => ({ n: 2 }) });
    expect(engine.hellos[1]?.spooled).toEqual([{ jobId: job.jobId, token: job.token }]);
    expect((await engine.result(job, 2)).outcome).toEqual({ kind: "succeeded", outputs: { n: 1 } });
  });

  it("ends what Welcome calls stale and says nothing more of it", async () => {
    const { handler, entered } = gate();
    await aWorker({}, { slow: handler });
    const job = taskJob("slow", 0, { graceMs: 10 });
    await engine.send({ kind: "assign", job });
    const { signal } = await entered;
    engine.stale = [job.token];
    const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
    engine.breakStream();
    await aborted;
    engine.stale = [];
    await engine.until(() => engine.hellos.length === 2, "a second hello");
    // The slot is free again once it was given up, and nothing was said of it.
    engine.breakStream();
    await engine.until(() => engine.hellos.length === 3, "a third hello");
    expect(engine.heard.some((message) => message.kind === "result")).toBe(false);
  });

  it("obeys a redirect, jobs and all, and listens to the old engine no more", async () => {
    const other = await anEngine();
    const { handler, entered, open } = gate();
    await aWorker({}, { slow: handler });
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    await engine.send({ kind: "drain", redirect: [other.address] });
    await other.until(() => other.hellos.length === 1, "hello elsewhere");
    await engine.until(() => engine.streamsClosed === 1, "old stream closed");
    expect(other.hellos[0]?.running).toEqual([{ jobId: job.jobId, token: job.token }]);
    open();
    await other.result(job);
    expect((await other.run(taskJob("slow", 1))).outcome.kind).toBe("succeeded");
  });

  it("ends itself when it is alone for too long", async () => {
    const worker = await aWorker({ loneMs: 100 });
    await engine.stop();
    expect(await worker.done).toEqual({ reason: "alone", exitCode: 5 });
  });

  it("ends itself when its credential is refused everywhere", async () => {
    const refusing = await transport.serve({
      address: "127.0.0.1:0",
      services: { worker: { connect: async () => undefined, logs: async () => undefined } },
      authenticate: () => {
        throw new HodeiError("UNAUTHENTICATED", "unknown token");
      },
    });
    const worker = workerFor([refusing], transport, directory.path);
    await worker.start();
    expect(await worker.done).toEqual({ reason: "refused", exitCode: 1 });
    await refusing.stop();
  });
});

async function untilFiles(folder: string, count: number): Promise<void> {
  const until = systemClock.monotonic() + 10_000;
  while (readdirSync(folder).filter((file) => file.endsWith(".json")).length !== count) {
    if (systemClock.monotonic() > until) throw new Error(`never ${count} files`);
    await systemClock.sleep(10);
  }
}

describe("going", () => {
  it("a drain finishes what runs, takes nothing new, hands in and says goodbye", async () => {
    const { handler, entered, open } = gate();
    const worker = await aWorker({}, { slow: handler });
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    await engine.send({ kind: "drain", redirect: [] });
    await engine.until(() => engine.hellos.at(-1)?.slots === 0, "that it takes no more");
    await engine.send({ kind: "assign", job: taskJob("slow", 1) });
    expect((await engine.message("rejected")).reason).toBe("this worker drains");
    expect(worker.state()).toBe("draining");
    open({ n: 1 });
    expect((await engine.result(job)).outcome.kind).toBe("succeeded");
    expect(await worker.done).toEqual({ reason: "drained", exitCode: 0 });
    expect(worker.state()).toBe("terminated");
    expect((await engine.message("goodbye")).reason).toBe("drained by its engine");
  });

  it("an ephemeral worker runs one job and is gone", async () => {
    const worker = await aWorker({ ephemeral: true, slots: 2 }, { quick: () => ({}) });
    expect(engine.hellos[0]?.offer.ephemeral).toBe(true);
    engine.autoAck = false;
    const job = taskJob("quick", 0);
    await engine.run(job);
    await engine.send({ kind: "assign", job: taskJob("quick", 1) });
    expect((await engine.message("rejected")).reason).toBe("this ephemeral worker has had its job");
    await engine.send({ kind: "ack", jobId: job.jobId, token: job.token });
    expect(await worker.done).toEqual({ reason: "ephemeral", exitCode: 0 });
    await engine.message("goodbye");
  });

  it("an ephemeral worker lives until its workspace is released", async () => {
    const worker = await aWorker({ ephemeral: true });
    const first = shellJob("echo from-first > shared", { workspace: "uid-1/../ws" });
    const second = shellJob('echo "text=$(cat shared)" >> "$HODEI_OUTPUT"', { workspace: "uid-1/../ws" });
    await engine.run(first);
    expect((await engine.run(second)).outcome).toEqual({ kind: "succeeded", outputs: { text: "from-first" } });
    await engine.send({ kind: "releaseWorkspace", workspace: "uid-1/../ws" });
    expect((await worker.done).reason).toBe("ephemeral");
    expect(readdirSync(directory.path)).not.toContain("workspaces");
  });
});

describe("workspaces", () => {
  it("are kept over reconnects and restarts, told in hello, and removed on release", async () => {
    const worker = await aWorker();
    await engine.run(shellJob("echo kept > file", { workspace: "uid-1/ws" }));
    await worker.stop();
    const second = await aWorker();
    expect(engine.hellos[1]?.workspaces).toEqual(["uid-1/ws"]);
    const read = await engine.run(shellJob('echo "text=$(cat file)" >> "$HODEI_OUTPUT"', { workspace: "uid-1/ws" }));
    expect(read.outcome).toEqual({ kind: "succeeded", outputs: { text: "kept" } });
    await engine.send({ kind: "releaseWorkspace", workspace: "uid-1/ws" });
    const after = await engine.run(shellJob("test ! -e file", { workspace: "uid-1/ws" }));
    expect(after.outcome.kind).toBe("succeeded");
    engine.breakStream();
    await engine.until(() => engine.hellos.length === 3, "a third hello");
    expect(engine.hellos[2]?.workspaces).toEqual(["uid-1/ws"]);
    await second.stop();
  });
});

describe("the hello", () => {
  it("says what the machine offers, seed-style labels widened, and where it runs", async () => {
    await aWorker(
      { offer: { labels: ["java-17"], total: { cpuMillis: 1500 } }, requestId: "r1", version: "1.2.3" },
      {
        b: () => 1,
        a: () => 1,
      },
    );
    const hello = engine.hellos[0];
    expect(hello).toMatchObject({ workerId: "w1", name: "w", requestId: "r1", version: "1.2.3", slots: 5 });
    expect(hello?.offer.labels).toEqual(expect.arrayContaining([process.platform, "java-17", "java", "java@17"]));
    expect(hello?.offer.handlers).toEqual(["a", "b"]);
    expect(hello?.offer.total.cpuMillis).toBe(1500);
    expect(hello?.offer.total.memoryBytes).toBeGreaterThan(0);
    expect(hello?.host.pid).toBe(process.pid);
    expect(hello?.host.startTime).not.toBe("");
  });

  it("is said again on the same stream when versions of tools became known, beside a running job", async () => {
    const bin = join(directory.path, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "git"), "#!/bin/sh\necho git version 2.39.5\n", { mode: 0o755 });
    const { handler, entered, open } = gate();
    await aWorker({ detectTools: true, baseEnv: { PATH: bin, HOME: directory.path } }, { slow: handler });
    const job = taskJob("slow", 0);
    await engine.send({ kind: "assign", job });
    await entered;
    await engine.until(() => engine.hellos.length === 2, "a second hello");
    expect(engine.hellos.map((hello) => hello.offer.labels.includes("git"))).toEqual([true, true]);
    expect(engine.hellos.map((hello) => hello.offer.labels.includes("git@2.39.5"))).toEqual([false, true]);
    open();
    await engine.result(job);
    expect(engine.streamsClosed).toBe(0);
  });
});
