import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import type { AssignedJob, FromWorker } from "../transport/api/worker.ts";
import type { Channel } from "../transport/transport.ts";
import { Jobs } from "./jobs.ts";

/** A channel on which nobody ever logs. */
const SILENT: Channel = {
  address: "engine:1",
  call: () => new Promise(() => undefined),
  stream: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) }),
  duplex: () => {
    throw new Error("this job prints nothing: no stream is needed");
  },
  close: async () => undefined,
};

function jobNamed(jobId: string): AssignedJob {
  return {
    jobId,
    token: `token of ${jobId}`,
    work: { kind: "task", handler: "quick", input: {}, env: {} },
    namespace: "default",
    executionId: "x",
    executionUid: "u",
    step: "s",
    iteration: "",
    attempt: 1,
    runNumber: 1,
    runMs: 60_000,
    graceMs: 1_000,
    resources: { cpuMillis: 0, memoryBytes: 0, gpu: 0, storageBytes: 0 },
  };
}

/** The jobs of a worker whose disk and time are the test's. */
async function setUp() {
  const clock = new ManualClock();
  const said: FromWorker[] = [];
  const disk: string[] = [];
  const state = { full: false, complaints: 0 };
  const host = {
    spool: {
      open: async () => [],
      write: async ({ jobId }: { jobId: string }) => {
        if (state.full) throw new Error("ENOSPC");
        if (!disk.includes(jobId)) disk.push(jobId);
      },
      remove: async ({ jobId }: { jobId: string }) =>
        void (disk.includes(jobId) && disk.splice(disk.indexOf(jobId), 1)),
    },
    workspaces: {
      open: async () => undefined,
      keys: [],
      has: () => false,
      enter: async (key: string) => key,
      leave: async () => undefined,
      release: async () => undefined,
    },
  };
  const jobs = new Jobs({
    clock,
    host,
    logger: { ...silentLogger, error: () => void (state.complaints += 1) },
    directory: "/nowhere",
    baseEnv: {},
    id: "w",
    slots: 5,
    ephemeral: false,
    handlers: new Map([["quick", () => ({})]]),
    send: (message) => said.push(message),
    onIdle: () => undefined,
  });
  await jobs.open();
  jobs.connected(SILENT, []);
  const run = async (id: string): Promise<AssignedJob> => {
    const job = jobNamed(id);
    jobs.assign(job);
    await clock.advance(0);
    return job;
  };
  return { clock, jobs, said, disk, state, run };
}

describe("a result", () => {
  it("never touches the disk when its acknowledgement comes at once", async () => {
    const { clock, jobs, said, disk, run } = await setUp();
    for (const id of ["a", "b", "c"]) {
      jobs.acknowledge(await run(id));
      await clock.advance(100);
    }
    await clock.advance(10_000);
    expect(said.map(({ kind }) => kind)).toEqual(["result", "result", "result"]);
    expect(disk).toEqual([]);
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("goes there when that is late, within 400 ms of its end, and from there when it comes", async () => {
    const { clock, jobs, disk, run } = await setUp();
    const first = await run("first");
    await clock.advance(199);
    const second = await run("second");
    expect(disk).toEqual([]);
    await clock.advance(1);
    expect(disk).toEqual(["first"]);
    jobs.acknowledge(first);
    await clock.advance(200);
    expect(disk).toEqual(["second"]);
    jobs.acknowledge(second);
    await clock.advance(200);
    expect(disk).toEqual([]);
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("goes there as soon as the disk takes it, which is complained of once", async () => {
    const { clock, disk, state, run } = await setUp();
    state.full = true;
    await run("a");
    await run("b");
    for (let round = 0; round < 20; round += 1) await clock.advance(200);
    expect(state.complaints).toBe(2);
    state.full = false;
    await clock.advance(200);
    expect(disk).toEqual(["a", "b"]);
  });

  it("goes there at once when the engine goes, and when it ends while none is there", async () => {
    const { jobs, disk, run } = await setUp();
    await run("before");
    jobs.disconnected();
    await run("meanwhile");
    expect(disk).toEqual(["before", "meanwhile"]);
  });
});
