import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { startTimeOf } from "../../base/process.ts";
import { createLocalTransport } from "../../transport/local.ts";
import type { Worker } from "../../worker/options.ts";
import { freshDirectory, shellJob, TestEngine, workerFor } from "./test-engine.ts";

let engine: TestEngine;
let worker: Worker;
let directory: ReturnType<typeof freshDirectory>;

beforeEach(async () => {
  const transport = createLocalTransport({ clock: systemClock });
  directory = freshDirectory();
  engine = await new TestEngine(transport).start();
  worker = workerFor([engine], transport, directory.path, { masks: ["given-mask"] });
  await worker.start();
  await worker.ready;
});

afterEach(async () => {
  await worker.stop();
  await engine.stop();
  directory.remove();
});

/** Polls the real world (processes of others): the one thing that sends no message. */
async function eventually(holds: () => boolean): Promise<void> {
  const until = systemClock.monotonic() + 10_000;
  while (!holds()) {
    if (systemClock.monotonic() > until) throw new Error("never came true");
    await systemClock.sleep(20);
  }
}

describe("shell steps", () => {
  it("hands over outputs of both forms", async () => {
    const job = shellJob('echo "a=1 2=3" >> "$HODEI_OUTPUT"; printf "b<<END\\nx\\ny\\nEND\\n" >> "$HODEI_OUTPUT"');
    expect((await engine.run(job)).outcome).toEqual({ kind: "succeeded", outputs: { a: "1 2=3", b: "x\ny" } });
    expect((await engine.message("accepted")).jobId).toBe(job.jobId);
  });

  it("gives a step its env, ours and what tools need, and not the worker's secrets", async () => {
    const job = shellJob(
      "for n in WHO BUILD_NUMBER CI HODEI_EXECUTION HODEI_EXECUTION_UID HODEI_STEP HODEI_ITERATION HODEI_ATTEMPT " +
        'HODEI_IDEMPOTENCY_KEY WORKER_SECRET_TOKEN; do eval "echo $n=\\$$n" >> "$HODEI_OUTPUT"; done; ' +
        'test "$PWD" = "$HODEI_WORKSPACE"; command -v ls',
      { step: "build" },
      { WHO: "$(reboot) `id`; \"x'" },
    );
    expect((await engine.run(job)).outcome).toEqual({
      kind: "succeeded",
      outputs: {
        WHO: "$(reboot) `id`; \"x'",
        BUILD_NUMBER: "7",
        CI: "true",
        HODEI_EXECUTION: "x1",
        HODEI_EXECUTION_UID: "uid-1",
        HODEI_STEP: "build",
        HODEI_ITERATION: "0",
        HODEI_ATTEMPT: "1",
        HODEI_IDEMPOTENCY_KEY: "uid-1/build/0",
        WORKER_SECRET_TOKEN: "",
      },
    });
  });

  it("stops at the first failing command and says its code and last words", async () => {
    const job = shellJob("echo before; sh -c 'echo no such thing >&2; exit 3'; echo after");
    const { outcome } = await engine.run(job);
    expect(outcome).toEqual({
      kind: "failed",
      failure: { class: "user", exitCode: 3, message: "the command exited with code 3: no such thing" },
    });
    expect(engine.logText(job.jobId)).toBe("before\nno such thing\n");
  });

  it("names a command that is not there without the folder of the script", async () => {
    const { outcome } = await engine.run(shellJob("exec nosuchcommand"));
    expect(outcome).toMatchObject({ kind: "failed", failure: { class: "user", exitCode: 127 } });
    const words = outcome.kind === "failed" ? outcome.failure.message : "";
    expect(words).toContain("nosuchcommand: not found");
    expect(words).not.toContain(directory.path);
  });

  it("blames a variable that no process can be given on who wrote it, not on the worker", async () => {
    const { outcome } = await engine.run(shellJob("true", {}, { WHO: "a\u0000b" }));
    expect(outcome).toMatchObject({
      kind: "failed",
      failure: { class: "user", message: expect.stringContaining('"WHO"') },
    });
  });

  it("runs bash with pipefail when asked", async () => {
    const job = shellJob("", {
      work: { kind: "run", script: "a=(1 2); false | echo ${#a[@]}", shell: "bash", env: {} },
    });
    expect((await engine.run(job)).outcome).toMatchObject({ kind: "failed", failure: { exitCode: 1 } });
  });

  it("names a signal that was not ours", async () => {
    const { outcome } = await engine.run(shellJob("kill -SEGV $$"));
    expect(outcome).toMatchObject({ kind: "failed", failure: { class: "user", signal: "SIGSEGV" } });
    const killed = await engine.run(shellJob("kill -KILL $$"));
    expect(killed.outcome).toMatchObject({ kind: "failed", failure: { class: "user", signal: "SIGKILL" } });
  });

  it("refuses malformed outputs with the line", async () => {
    const { outcome } = await engine.run(shellJob('printf "a=1\\nnonsense\\n" > "$HODEI_OUTPUT"'));
    expect(outcome).toMatchObject({ kind: "failed", failure: { type: "InvalidOutput" } });
    expect(JSON.stringify(outcome)).toContain("line 2 of $HODEI_OUTPUT");
  });

  it("keeps stdout and stderr in the order they were written, offsets from 0", async () => {
    const job = shellJob("for i in 1 2 3 4 5 6 7 8; do echo o$i; echo e$i >&2; done");
    await engine.run(job);
    expect(engine.logText(job.jobId)).toBe([1, 2, 3, 4, 5, 6, 7, 8].map((i) => `o${i}\ne${i}\n`).join(""));
    let end = 0;
    for (const upload of engine.uploads) {
      expect(upload.offset).toBe(end);
      end += upload.data.length;
    }
  });

  it("hides secrets, also across writes", async () => {
    const job = shellJob(
      'echo "$MY_TOKEN"; printf "%s" "$MY_TOKEN" | cut -c1-6 | tr -d "\\n"; sleep 0.1; printf "%s\\n" "$MY_TOKEN" | cut -c7-; echo given-mask',
      {},
      { MY_TOKEN: "s3cr3t-value" },
    );
    await engine.run(job);
    expect(engine.logText(job.jobId)).toBe("***\n***\n***\n");
  });

  it("leaves nothing of a finished job on disk", async () => {
    const job = shellJob("pwd; echo junk > file");
    await engine.run(job);
    const cwd = engine.logText(job.jobId).trim();
    expect(cwd.startsWith(directory.path)).toBe(true);
    await eventually(() => !existsSync(cwd));
  });
});

describe("ending shell steps", () => {
  /** A step whose child and grandchild write their ids; both ignore SIGTERM if `stubborn`. */
  const family = (stubborn: boolean): string => `
    ${stubborn ? "trap '' TERM" : ""}
    sh -c 'echo $$; sleep 1000 & echo $!; wait' &
    echo $$
    echo ready
    wait
    sleep 1000`;

  async function familyOf(job: { jobId: string }): Promise<number[]> {
    await engine.until(() => engine.logText(job.jobId).includes("ready") && idsOf(job).length === 3, "three ids");
    return idsOf(job);
  }

  const idsOf = (job: { jobId: string }): number[] =>
    engine
      .logText(job.jobId)
      .split("\n")
      .filter((line) => /^\d+$/.test(line))
      .map(Number);

  it("cancel ends the whole group with SIGTERM", async () => {
    const job = shellJob(family(false));
    await engine.send({ kind: "assign", job });
    const ids = await familyOf(job);
    expect(ids.map((id) => startTimeOf(id) !== undefined)).toEqual([true, true, true]);
    await engine.send({ kind: "cancel", jobId: job.jobId, token: job.token, reason: "test" });
    expect((await engine.result(job)).outcome).toEqual({ kind: "cancelled" });
    expect(ids.map((id) => startTimeOf(id))).toEqual([undefined, undefined, undefined]);
  });

  it("cancel kills a group that ignores SIGTERM after the grace period", async () => {
    const job = shellJob(family(true), { graceMs: 300 });
    await engine.send({ kind: "assign", job });
    const ids = await familyOf(job);
    await engine.send({ kind: "cancel", jobId: job.jobId, token: job.token, reason: "test" });
    const result = await engine.result(job);
    expect(result.outcome).toEqual({ kind: "cancelled" });
    await eventually(() => ids.every((id) => startTimeOf(id) === undefined));
  });

  it("a run timeout ends it and says so", async () => {
    const { outcome } = await engine.run(shellJob("sleep 1000", { runMs: 150 }));
    expect(outcome).toEqual({ kind: "timeout", timeout: "run" });
  });

  it("a child left behind is ended with its step, which does not wait for it", async () => {
    const job = shellJob("sleep 1000 & echo $!");
    expect((await engine.run(job)).outcome).toEqual({ kind: "succeeded", outputs: {} });
    const [id = 0] = idsOf(job);
    expect(id).toBeGreaterThan(0);
    await eventually(() => startTimeOf(id) === undefined);
  });

  it("stopping the worker kills its steps", async () => {
    const job = shellJob(family(false));
    await engine.send({ kind: "assign", job });
    const ids = await familyOf(job);
    await worker.stop();
    expect(await worker.done).toEqual({ reason: "stopped", exitCode: 0 });
    await eventually(() => ids.every((id) => startTimeOf(id) === undefined));
    expect(engine.heard.some((message) => message.kind === "result")).toBe(false);
    expect((await engine.message("goodbye")).reason).toBe("stopped");
  });
});
