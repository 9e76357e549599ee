import { describe, expect, it } from "vitest";
import { LIMITS } from "./limits.ts";
import { run, Scenario, sleep } from "./scenario.fixture.ts";

const retry = { maxAttempts: 3, initialMs: 1000, maxMs: 1500, multiplier: 2, on: ["user", "RateLimited"] };
const instant = { ...retry, initialMs: 0, maxMs: 0 };

describe("retries", () => {
  it("wait exponentially longer with full jitter, up to a cap, and stop at maxAttempts", () => {
    const of = new Scenario({ steps: { a: run({ retry }) } }).start();
    of.fail("a");
    expect(of.iteration("a")).toMatchObject({ state: "backoff", untilMs: of.nowMs + 500, failures: 1 });
    of.fire("retry/a/0");
    expect(of.job("a").attempt).toBe(2);
    of.random = 0.99;
    of.fail("a");
    expect(of.iteration("a")?.untilMs).toBe(of.nowMs + 1485);
    of.fire("retry/a/0");
    of.fail("a");
    expect(of.iteration("a")).toMatchObject({ state: "failed", attempt: 3, failures: 3 });
  });

  it("are only for the classes and types that `on` names", () => {
    const only = { ...instant, on: ["RateLimited"] };
    const of = new Scenario({ steps: { a: run({ retry: only }), b: run({ retry: only }) } }).start();
    of.fail("a", { type: "RateLimited" });
    expect(of.job("a").attempt).toBe(2);
    of.fail("b", { type: "Other" });
    expect(of.step("b")).toBe("failed");
  });

  it("are never made after a permanent failure", () => {
    const of = new Scenario({ steps: { a: run({ retry: instant }) } }).start();
    of.fail("a", { permanent: true });
    expect(of.step("a")).toBe("failed");
  });

  it("a run timeout is of class timeout", () => {
    const steps = {
      a: run({ retry: { ...instant, on: ["timeout"] } }),
      b: run({ retry: { ...instant, on: ["user"] } }),
    };
    const of = new Scenario({ steps }).start();
    of.end("a", { kind: "timeout", timeout: "run" });
    of.end("b", { kind: "timeout", timeout: "run" });
    expect(of.job("a").attempt).toBe(2);
    expect(of.iteration("b")?.error).toMatchObject({
      code: "JOB_TIMEOUT",
      message: "run timeout: not done within 30m",
      class: "timeout",
    });
  });

  it("an outcome of an attempt that is not the current one changes nothing", () => {
    const of = new Scenario({ steps: { a: run({ retry: instant }) } }).start();
    of.fail("a");
    const facts = { enqueuedAtMs: 0 };
    const outcome = { kind: "succeeded", outputs: {} } as const;
    const stale = { kind: "outcome", step: "a", iteration: "0", attempt: 1, outcome, facts } as const;
    expect(of.send(stale).events).toEqual([]);
    expect(of.send({ ...stale, step: "nowhere", attempt: 2 }).events).toEqual([]);
    expect(of.send({ ...stale, attempt: 2 }).events.length).toBeGreaterThan(0);
  });

  it("a second outcome of the attempt that its iteration is waiting after changes nothing", () => {
    const of = new Scenario({ steps: { a: run({ retry }) } }).start();
    of.fail("a");
    const outcome = { kind: "succeeded", outputs: {} } as const;
    const again = {
      kind: "outcome",
      step: "a",
      iteration: "0",
      attempt: 1,
      outcome,
      facts: { enqueuedAtMs: 0 },
    } as const;
    expect(of.send(again)).toMatchObject({ events: [], clearTimers: [] });
  });

  it("only an output that is too large is TOO_LARGE, whatever type a handler names", () => {
    const of = new Scenario({ steps: { a: run(), b: run() } }).start();
    of.fail("a", { type: "TOO_LARGE" });
    of.fail("b", { permanent: true });
    expect([of.iteration("a")?.error?.code, of.iteration("b")?.error?.code]).toEqual(["JOB_FAILED", "JOB_FAILED"]);
  });

  it("a cancelled outcome ends the iteration cancelled, and with it the execution", () => {
    const of = new Scenario({ steps: { a: run({ retry: instant }), b: run({ needs: ["a"] }) } }).start();
    of.end("a", { kind: "cancelled" });
    expect(of.execution).toMatchObject({ state: "cancelled", steps: { b: { reason: "a was cancelled" } } });
  });
});

describe("losses", () => {
  it("are retried at once from their own budget, three times, and spend no user attempt", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    for (let loss = 1; loss <= LIMITS.infrastructureAttempts; loss++) {
      of.lose("a");
      expect(of.iteration("a")).toMatchObject({ state: "queued", attempt: loss + 1, losses: loss, failures: 0 });
    }
    of.lose("a");
    expect(of.iteration("a")?.error).toMatchObject({ code: "JOB_LOST", class: "infrastructure" });
  });

  it("that were planned are retried as often as they come and spend nothing; an at-most-once step has had its chance", () => {
    const of = new Scenario({ steps: { a: run(), b: run({ onLost: "fail" }) } }).start();
    const planned = { kind: "lost", reason: "its engine was stopped", spends: false } as const;
    for (let n = 0; n < 3 * LIMITS.infrastructureAttempts; n++) of.end("a", planned);
    expect(of.iteration("a")).toMatchObject({ state: "queued", attempt: 10, losses: 0, failures: 0 });
    of.end("b", planned);
    expect(of.iteration("b")).toMatchObject({ state: "failed", error: { code: "JOB_LOST" } });
  });

  it("with onLost: fail are final", () => {
    const of = new Scenario({ steps: { a: run({ onLost: "fail" }) } }).start();
    of.lose("a");
    expect(of.execution.error).toMatchObject({ code: "JOB_LOST", message: "its worker is gone: node gone" });
  });

  it("a start timeout and a failure of class infrastructure count as losses", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    of.end("a", { kind: "timeout", timeout: "start" });
    of.fail("a", { class: "infrastructure" });
    expect(of.iteration("a")).toMatchObject({ attempt: 3, losses: 2, failures: 0 });
  });

  it("with onLost: fail a start timeout and a failure of the infrastructure are final too: it may have run", () => {
    const of = new Scenario({ steps: { a: run({ onLost: "fail" }), b: run({ onLost: "fail" }) } }).start();
    of.end("a", { kind: "timeout", timeout: "start" });
    of.fail("b", { class: "infrastructure" });
    expect(of.iteration("a")?.error).toMatchObject({
      code: "JOB_TIMEOUT",
      message: "start timeout: not running within 1m",
    });
    expect(of.iteration("b")?.error).toMatchObject({ code: "JOB_FAILED", class: "infrastructure" });
  });

  it("a refusal by a worker is given to another, even for an at-most-once step, within the same budget", () => {
    const of = new Scenario({ steps: { a: run({ onLost: "fail" }) } }).start();
    for (let turn = 0; turn < 3; turn++) of.end("a", { kind: "rejected", reason: "no slot" });
    expect(of.job("a").attempt).toBe(4);
    of.end("a", { kind: "rejected", reason: "no slot" });
    expect(of.iteration("a")?.error).toMatchObject({
      code: "JOB_REJECTED",
      message: "workers refused it 4 times: no slot",
      class: "infrastructure",
    });
  });
});

describe("timeouts that the owner keeps", () => {
  it("queue: set with the job, cleared with its outcome; its end fails the step and takes the job back", () => {
    const of = new Scenario({ steps: { a: run({ retry: instant }), b: run() } }).start();
    expect(of.timers.get("queue/a/0")).toBe(of.nowMs + 300_000);
    of.succeed("b");
    expect(of.timers.has("queue/b/0")).toBe(false);
    const made = of.fire("queue/a/0");
    expect(made).toMatchObject({ cancel: ["ns/x/a/0#1"], events: [{ outcome: { timeout: "queue" } }, {}, {}, {}] });
    expect(made.revoke).toBeUndefined();
    expect(of.execution.error).toMatchObject({ code: "JOB_TIMEOUT" });
    expect(of.execution.error?.message).toBe("queue timeout: no worker took it within 5m");
    const { startedAtMs } = of.execution;
    expect(of.history.find((event) => event.type === "attemptEnded" && event.step === "a")).toMatchObject({
      facts: { enqueuedAtMs: startedAtMs, endedAtMs: startedAtMs + 300_000 },
    });
  });

  it("queue: with a reason, it was that no worker could take it", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    of.fire("queue/a/0", "label gpu: the worker offers linux");
    expect(of.execution.error).toMatchObject({
      code: "NO_MATCHING_WORKER",
      message: "label gpu: the worker offers linux",
    });
    expect(of.iteration("a")?.error?.class).toBe("config");
  });

  it("total: over all attempts and the waits between them", () => {
    const of = new Scenario({
      steps: { a: run({ retry, timeout: { queueMs: 1e6, startMs: 1, runMs: 1, totalMs: 400 } }) },
    }).start();
    of.fail("a");
    of.fire("total/a/0");
    expect(of.execution.error?.message).toBe("total timeout: not done within 400ms, all attempts together");
    expect(of.timers.size).toBe(0);
  });

  it("total: a running job is revoked, so that its result is not taken", () => {
    const of = new Scenario({ steps: { a: run({ timeout: { queueMs: 1e6, startMs: 1, runMs: 1, totalMs: 400 } }) } });
    of.start();
    expect(of.fire("total/a/0").revoke).toEqual(["ns/x/a/0#1"]);
    expect(of.state).toBe("failed");
  });

  it("a timer that fires before its date by the state is set to it again", () => {
    const of = new Scenario({ steps: { a: run({ retry }) } }).start();
    const due = of.timers.get("queue/a/0");
    of.nowMs += 10;
    expect(of.send({ kind: "timer", timer: "queue/a/0" })).toMatchObject({ events: [] });
    expect(of.timers.get("queue/a/0")).toBe(due);
  });

  it("so is that of a total, of the execution and of a grace", () => {
    const timeout = { queueMs: 1e6, startMs: 1, runMs: 1, totalMs: 4000 };
    const of = new Scenario({ steps: { a: run({ timeout }) }, timeoutMs: 9000 }).start();
    of.nowMs += 10;
    of.cancel();
    const { startedAtMs } = of.execution;
    of.nowMs += 10;
    expect(of.send({ kind: "timer", timer: "grace" }).timers).toEqual([{ id: "grace", atMs: startedAtMs + 45_010 }]);
    const open = new Scenario({ steps: { a: run({ timeout }) }, timeoutMs: 9000 }).start();
    open.nowMs += 10;
    for (const [timer, ms] of [["total/a/0", 4000] as const, ["execution", 9000] as const]) {
      const made = open.send({ kind: "timer", timer });
      expect(made).toMatchObject({ events: [], timers: [{ id: timer, atMs: startedAtMs + ms }] });
    }
  });

  it("one that fires for another state than it was set for changes nothing, with a reason or without", () => {
    const of = new Scenario({ steps: { a: run({ retry }), s: sleep(100) } }).start();
    of.fail("a");
    of.nowMs += 500_000;
    for (const timer of ["sleep/a/0", "queue/a/0", "retry/s/0", "queue/s/0"]) {
      expect(of.send({ kind: "timer", timer }).events).toEqual([]);
      expect(of.send({ kind: "timer", timer, reason: "no worker" }).events).toEqual([]);
    }
  });

  it("queue: with a reason it need not be over", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    of.send({ kind: "timer", timer: "queue/a/0", reason: "no worker offers docker" });
    expect(of.execution.error?.code).toBe("NO_MATCHING_WORKER");
  });

  it("the execution's own has no say in finally", () => {
    const of = new Scenario({ steps: { a: run() }, finally: { z: run() }, timeoutMs: 9000 }).start();
    of.succeed("a");
    of.nowMs += 10_000;
    expect(of.send({ kind: "timer", timer: "execution" }).events).toEqual([]);
  });

  it("a timer that nothing waits for is cleared", () => {
    const of = new Scenario({ steps: { a: run() } }).start();
    for (const timer of [
      "retry/a/0",
      "sleep/a/0",
      "total/a/0",
      "grace",
      "grace/a",
      "execution",
      "new/kind",
      "queue/z/9",
      "queue/a/9",
      "queue/a",
      "queue",
    ]) {
      expect(of.send({ kind: "timer", timer })).toMatchObject({ events: [], timers: [], clearTimers: [timer] });
    }
  });
});
