import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import { startTimeOf } from "../base/process.ts";
import { systemRandom } from "../base/random.ts";
import { isHodeiError } from "../workflow/errors.ts";
import { platformConformance } from "./conformance.ts";
import type { Platform, Pod } from "./platform.ts";
import { findByUid } from "./pod-record.ts";
import { createProcessPlatform } from "./process.ts";

const COMMAND = ["/bin/sh", "-c", 'eval "$SCRIPT"'];
const env = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };

function open(directory: string, command = COMMAND): Platform {
  return createProcessPlatform({
    command,
    env,
    owner: "test",
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory,
  });
}

platformConformance("process", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hodei-platform-"));
  return {
    open: () => open(directory),
    runs: (pod) => pod.pid !== undefined && startTimeOf(pod.pid) !== undefined,
    close: async () => rmSync(directory, { recursive: true, force: true }),
  };
});

describe("process platform", () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "hodei-platform-"));
  });

  afterEach(async () => {
    const platform = open(directory);
    for (const pod of await platform.list()) await platform.delete({ ...pod, graceMs: 0 });
    rmSync(directory, { recursive: true, force: true });
  });

  const FOREVER = { name: "p", request: "r", labels: {}, env: { SCRIPT: "while :; do sleep 0.1; done" } };

  async function eventually<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
    const until = systemClock.monotonic() + 10_000;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (systemClock.monotonic() > until) throw new Error("never came true");
      await systemClock.sleep(20);
    }
  }

  /** A process that creates the pod with a platform of its own and is then killed with -9. */
  async function madeByAnother(): Promise<Pod> {
    const script = `
      const { createProcessPlatform } = await import(${JSON.stringify(join(import.meta.dirname, "process.ts"))});
      const { systemClock } = await import(${JSON.stringify(join(import.meta.dirname, "../base/clock.ts"))});
      const { systemRandom } = await import(${JSON.stringify(join(import.meta.dirname, "../base/random.ts"))});
      const logger = { info() {}, warn() {}, error() {}, debug() {}, child: () => logger };
      const platform = createProcessPlatform({
        command: ${JSON.stringify(COMMAND)}, env: ${JSON.stringify(env)}, owner: "test",
        clock: systemClock, random: systemRandom, logger, directory: ${JSON.stringify(directory)},
      });
      console.log(JSON.stringify(await platform.create(${JSON.stringify(FOREVER)})));
      setInterval(() => {}, 1000);`;
    const maker = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const pod = await new Promise<Pod>((resolve) => {
      let text = "";
      maker.stdout.on("data", (data: Buffer) => {
        text += data.toString();
        if (text.endsWith("\n")) resolve(JSON.parse(text) as Pod);
      });
    });
    const exited = new Promise((resolve) => maker.once("exit", resolve));
    maker.kill("SIGKILL");
    await exited;
    return pod;
  }

  it("adopts what outlived the kill -9 of its maker, and tells when it ends", async () => {
    const pod = await madeByAnother();
    const platform = open(directory);
    expect(await platform.list()).toEqual([pod]);
    expect((await platform.create(FOREVER)).uid).toBe(pod.uid);
    const ended = new Promise<Pod>((resolve) => {
      const stop = platform.watch((seen) => {
        stop();
        resolve(seen);
      });
    });
    process.kill(pod.pid ?? 0, "SIGKILL");
    expect(await ended).toMatchObject({
      uid: pod.uid,
      phase: "failed",
      reason: { class: "infrastructure", code: "Gone" },
    });
  });

  it("finds a process whose start was not written down before its maker died", async () => {
    const pod = await madeByAnother();
    const file = join(directory, "p", "pod.json");
    const record = JSON.parse(readFileSync(file, "utf8")) as { process?: object };
    delete record.process;
    writeFileSync(file, JSON.stringify(record));
    expect(await open(directory).list()).toMatchObject([{ uid: pod.uid, pid: pod.pid, phase: "running" }]);
  });

  it("does not take a pid that was used again for its pod", async () => {
    const pod = await madeByAnother();
    process.kill(pod.pid ?? 0, "SIGKILL");
    const file = join(directory, "p", "pod.json");
    const record = JSON.parse(readFileSync(file, "utf8")) as { process: { pid: number } };
    record.process.pid = process.pid; // lives, but was started at another time
    writeFileSync(file, JSON.stringify(record));
    const platform = open(directory);
    expect(await platform.list()).toMatchObject([{ uid: pod.uid, phase: "failed" }]);
    await platform.delete({ ...pod, graceMs: 0 });
    expect(startTimeOf(process.pid)).toBeDefined();
  });

  it("a deletion ends everything that the pod started, other process groups included", async () => {
    const platform = open(directory);
    const pod = await platform.create({
      ...FOREVER,
      env: { SCRIPT: "setsid sleep 1000 & sleep 1000 & setsid -w sh -c 'echo id=$$; exec sleep 1000'" },
    });
    const id = await eventually(async () => {
      const text = await platform.logs({ ...pod, tailBytes: 1000 });
      const found = /id=(\d+)/.exec(text)?.[1];
      return found === undefined ? undefined : Number(found);
    });
    expect(startTimeOf(id)).toBeDefined();
    await platform.delete({ ...pod, graceMs: 2_000 });
    expect(startTimeOf(id)).toBeUndefined();
  });

  it("names a command that is not there", async () => {
    const platform = open(directory, ["/no/such/program"]);
    await expect(platform.create(FOREVER)).rejects.toSatisfy((error: unknown) =>
      isHodeiError(error, "INVALID_ARGUMENT"),
    );
    expect(await platform.list()).toEqual([]);
  });

  /** What a record is written to before it gets its name: a folder there refuses the write, as a full disk does. */
  const unwritable = (name: string): string => join(directory, name, `pod.json.${process.pid}`);

  it("tells an end that cannot be written, and writes it when it can", async () => {
    const platform = open(directory);
    const ended = new Promise<Pod>((resolve) => {
      platform.watch((seen) => seen.phase === "failed" && resolve(seen));
    });
    const pod = await platform.create(FOREVER);
    mkdirSync(unwritable("p"));
    process.kill(pod.pid ?? 0, "SIGKILL");
    expect(await ended).toMatchObject({ uid: pod.uid, reason: { code: "Killed" } });
    expect(await platform.list()).toMatchObject([{ uid: pod.uid, phase: "failed", exitCode: 137 }]);
    expect(await open(directory).list()).toMatchObject([{ uid: pod.uid, phase: "running" }]);
    rmdirSync(unwritable("p"));
    await platform.list();
    expect(await open(directory).list()).toMatchObject([{ uid: pod.uid, phase: "failed", exitCode: 137 }]);
  });

  it("ends a process whose record cannot be written, and leaves no pod", async () => {
    let uid = "";
    const platform = createProcessPlatform({
      command: COMMAND,
      // Read right before the process is started, when the first record is written.
      get env() {
        uid = (JSON.parse(readFileSync(join(directory, "p", "pod.json"), "utf8")) as { uid: string }).uid;
        mkdirSync(unwritable("p"));
        return env;
      },
      owner: "test",
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      directory,
    });
    await expect(platform.create(FOREVER)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await platform.list()).toEqual([]);
    await eventually(() => findByUid(uid).length === 0 || undefined);
  });

  it("gives a pod nothing of its own environment but what was given", async () => {
    const platform = open(directory);
    const pod = await platform.create({ ...FOREVER, env: { SCRIPT: "env; echo end" } });
    const text = await eventually(async () => {
      const now = await platform.logs({ ...pod, tailBytes: 10_000 });
      return now.endsWith("end\n") ? now : undefined;
    });
    const names = text.split("\n").flatMap((line) => /^([A-Za-z_]+)=/.exec(line)?.[1] ?? []);
    expect(names.filter((name) => !["PWD", "OLDPWD", "SHLVL", "_"].includes(name)).toSorted()).toEqual([
      "HODEI_POD_UID",
      "HODEI_WORKER_DIRECTORY",
      "PATH",
      "SCRIPT",
    ]);
  });
});
