import { spawn } from "node:child_process";
import { once } from "node:events";
import { systemClock } from "../base/clock.ts";
import { startCluster, WORKERS } from "./cluster.ts";
import { type Bench, now, type Sample } from "./measure.ts";
import { residentMiB } from "./processes.ts";
import { oneStep } from "./workflows.ts";

/** After the first result, for what was put off until nobody waits. */
const SETTLE_MS = 3_000;
/** A start is short and its time spreads: so many samples in place of one. */
const STARTS = 2;

/** From nothing: the process is new, its compile cache and the files are not (the first start is not counted). */
export const coldStart: Bench = {
  figures: [
    {
      key: "dev-ready",
      what: "`dev` ready",
      unit: "ms",
      goal: 1000,
      stretch: 500,
      better: "less",
      floor: "node-ready",
    },
    {
      key: "first-result",
      what: "first result after it (registering included)",
      unit: "ms",
      goal: 300,
      stretch: 150,
      better: "less",
    },
    {
      key: "idle-resident",
      what: "idle RSS of an engine process (one engine, all of `dev`)",
      unit: "MiB",
      goal: 90,
      stretch: 70,
      better: "less",
      floor: "node-resident",
    },
    {
      key: "idle-resident-worker",
      what: "· of one worker process",
      unit: "MiB",
      better: "less",
      floor: "node-resident",
    },
    { key: "node-ready", what: "· floor: a bare Node prints a line", unit: "ms", better: "less" },
    { key: "node-resident", what: "· floor: RSS of a bare Node", unit: "MiB", better: "less" },
  ],
  async *rounds({ scale, rounds }) {
    await started(0);
    for (let start = 0; start < rounds * STARTS; start += 1)
      yield { ...(await bareNode()), ...(await started(SETTLE_MS * scale)) };
  },
};

async function started(settleMs: number): Promise<Sample> {
  const cluster = await startCluster();
  try {
    const readyAt = now();
    await cluster.client.register(oneStep);
    await cluster.client.execute(oneStep, {});
    const firstMs = now() - readyAt;
    await systemClock.sleep(settleMs);
    const resident = cluster.residentMiB();
    return {
      "dev-ready": cluster.readyMs,
      "first-result": firstMs,
      "idle-resident": resident.cluster,
      "idle-resident-worker": resident.workers / WORKERS,
    };
  } finally {
    await cluster.stop();
  }
}

async function bareNode(): Promise<Sample> {
  const startedAt = now();
  const child = spawn(process.execPath, ["-e", "console.log(1); setInterval(() => {}, 1000)"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    return { "node-ready": now() - startedAt, "node-resident": residentMiB(child.pid as number) };
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
}
