import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { startTimeOf } from "../../base/process.ts";
import { signalGroup } from "../../worker/process-group.ts";

const ROOT = join(import.meta.dirname, "../..");

/** A process that runs two steps' groups under a reaper, says their ids, and ends one of them properly. */
const SCRIPT = `
  const { Reaper } = await import(${JSON.stringify(join(ROOT, "worker/reaper.ts"))});
  const { spawn } = await import("node:child_process");
  const logger = { info() {}, warn() {}, error() {}, debug() {}, child: () => logger };
  const reaper = new Reaper(logger);
  const start = () => spawn("/bin/sh", ["-c", "trap '' TERM; sleep 1000 & sleep 1000; wait"], { detached: true, stdio: "ignore" });
  const [kept, removed] = [start(), start()];
  reaper.add(kept.pid);
  reaper.add(removed.pid);
  reaper.remove(removed.pid);
  console.log(JSON.stringify({ kept: kept.pid, removed: removed.pid }));
  setInterval(() => {}, 1000);`;

describe("the reaper", () => {
  it("ends the steps of a worker that was killed with -9, and only those that still ran", async () => {
    const worker = spawn(process.execPath, ["--input-type=module", "-e", SCRIPT], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ids = await new Promise<{ kept: number; removed: number }>((resolve) => {
      worker.stdout.once("data", (data: Buffer) =>
        resolve(JSON.parse(data.toString()) as { kept: number; removed: number }),
      );
    });
    expect(startTimeOf(ids.kept)).toBeDefined();
    try {
      worker.kill("SIGKILL");
      const until = systemClock.monotonic() + 15_000;
      while (startTimeOf(ids.kept) !== undefined && systemClock.monotonic() < until) await systemClock.sleep(50);
      expect(startTimeOf(ids.kept)).toBeUndefined();
      expect(startTimeOf(ids.removed)).toBeDefined();
    } finally {
      for (const id of [ids.kept, ids.removed]) signalGroup(id, "SIGKILL");
    }
  });
});
