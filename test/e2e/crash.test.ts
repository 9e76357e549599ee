import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { isHodeiError } from "../../workflow/errors.ts";
import { alive, cleanUp, folder, remember, startDev, until } from "./harness.ts";
import {
  again,
  connected,
  ended,
  endsOf,
  expectOnce,
  killNow,
  lines,
  ofType,
  register,
  step,
  untilLines,
  workers,
} from "./story.ts";

afterEach(cleanUp);

/** Leaves a line for each actual start. */
const MARK = 'echo "$HODEI_STEP $HODEI_ATTEMPT" >> "$FILE"\n';
const FILE = { env: { FILE: "${{ input.file }}" } };

/** 20 steps: one, four side by side, a chain of five, eight side by side, two more. */
function twentySteps(): object {
  const range = (from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, at) => `s${from + at}`);
  const needs = (at: number): string[] => {
    if (at === 0) return [];
    if (at <= 4) return ["s0"];
    if (at === 5) return range(1, 4);
    if (at <= 9) return [`s${at - 1}`];
    if (at <= 17) return ["s9"];
    return at === 18 ? range(10, 17) : ["s18"];
  };
  const steps = Object.fromEntries(
    range(0, 19).map((id, at) => {
      const run = `${MARK}sleep 0.${1 + (at % 3)}\necho "n=${at}" >> "$HODEI_OUTPUT"`;
      return [id, step(run, { ...FILE, needs: needs(at) })];
    }),
  );
  return { steps, output: { last: "${{ steps.s19.outputs.n }}" } };
}

describe("after kill -9 of the whole cluster", () => {
  it("a 20-step execution goes on: every end stands once, and what survived is not run again", async () => {
    const file = join(folder(), "starts");
    let dev = await startDev();
    await register(dev, "twenty", twentySteps());
    const before = await connected(dev, 2);
    for (const { pid } of before) remember(pid);
    const { ready } = dev;
    await dev.client.start("twenty", { file }, { id: "x1" });
    // In the first parallel part, in the chain, in the second parallel part.
    for (const started of [3, 7, 13]) {
      await untilLines(file, started);
      await killNow(dev);
      dev = await again(dev);
      expect(dev.ready.address).toBe(ready.address);
      expect(dev.ready.http).toBe(ready.http);
      expect(dev.ready.engines.map(({ address }) => address)).toEqual(ready.engines.map(({ address }) => address));
    }
    const view = await ended(dev, "x1");
    expect(view).toMatchObject({ state: "succeeded", outputJson: JSON.stringify({ last: "19" }) });
    const events = await expectOnce(dev, "x1");
    expect(endsOf(events)).toEqual(Array.from({ length: 20 }, () => "succeeded"));
    const steps = Array.from({ length: 20 }, (_, at) => `s${at}`);
    expect(new Set(lines(file).map((line) => line.split(" ")[0]))).toEqual(new Set(steps));
    expect(lines(file)).toHaveLength(20);
    // The same processes: they were adopted, nobody was added.
    const pids = (all: { pid: number }[]): number[] => all.map(({ pid }) => pid).toSorted((a, b) => a - b);
    expect(pids(await connected(dev, 2))).toEqual(pids(before));
  }, 60_000);

  it("every acknowledged start is there and ends, and a repeated one gives the same execution", async () => {
    const first = await startDev();
    await register(first, "quick", { steps: { a: step("true") } });
    for (const { pid } of await connected(first, 2)) remember(pid);
    const acknowledged = new Map<string, string>();
    const ids = Array.from({ length: 200 }, (_, at) => `x${at}`);
    const starts = ids.map(async (id) => {
      try {
        acknowledged.set(id, (await first.client.start("quick", {}, { id, deadlineMs: 500 })).uid);
      } catch (error) {
        if (!isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")) throw error;
      }
      if (acknowledged.size === 60) first.kill("SIGKILL");
    });
    await Promise.all(starts);
    await killNow(first);
    const dev = await again(first);
    for (const [id, uid] of acknowledged) expect((await dev.client.get(id)).uid).toBe(uid);
    for (const id of ids) {
      const { uid, created } = await dev.client.start("quick", {}, { id });
      const first = acknowledged.get(id);
      expect({ uid, created: created && first !== undefined }).toEqual({ uid: first ?? uid, created: false });
    }
    const views = await Promise.all(ids.map((id) => ended(dev, id)));
    expect(views.filter(({ state }) => state !== "succeeded")).toEqual([]);
    expect((await dev.client.list({ limit: 500 })).executions).toHaveLength(ids.length);
    for (const id of ids.slice(50, 70)) expect(endsOf(await expectOnce(dev, id))).toEqual(["succeeded"]);
  }, 60_000);

  it("a worker hands in what it finished while nobody was there", async () => {
    const file = join(folder(), "starts");
    const first = await startDev();
    const run = `${MARK}sleep 0.5\necho "$$ done" >> "$FILE"\necho "answer=42" >> "$HODEI_OUTPUT"`;
    await register(first, "outage", {
      steps: { a: step(run, FILE) },
      output: { answer: "${{ steps.a.outputs.answer }}" },
    });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("outage", { file }, { id: "x1" });
    await untilLines(file, 1);
    await killNow(first);
    await untilLines(file, 2);
    const dev = await again(first);
    expect(await ended(dev, "x1")).toMatchObject({ outputJson: JSON.stringify({ answer: "42" }) });
    expect(ofType(await expectOnce(dev, "x1"), "attemptEnded")).toMatchObject([{ attempt: 1 }]);
    expect(lines(file)).toHaveLength(2);
  });

  it("a worker that died in the meantime is not waited for", async () => {
    const file = join(folder(), "starts");
    const first = await startDev();
    await register(first, "both", { steps: { a: step(`${MARK}[ "$HODEI_ATTEMPT" -gt 1 ] || sleep 600`, FILE) } });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("both", { file }, { id: "x1" });
    await untilLines(file, 1);
    const { pid = 0 } = (await workers(first)).find(({ jobs }) => jobs.length > 0) ?? {};
    await killNow(first);
    process.kill(pid, "SIGKILL");
    const dev = await again(first);
    // Without evidence of its death it would be adoptable for 45 s, longer than this test may take.
    expect(await ended(dev, "x1")).toMatchObject({ state: "succeeded" });
    expect(lines(file)).toEqual(["a 1", "a 2"]);
  });
});

describe("a worker that is killed in the middle of a step", () => {
  it("costs an attempt of the infrastructure's, not of the user's, and leaves no process of the step", async () => {
    const file = join(folder(), "starts");
    const dev = await startDev();
    const run = `${MARK}echo "pid $$" >> "$FILE"\n[ "$HODEI_ATTEMPT" -gt 1 ] || sleep 600`;
    await register(dev, "killed", { steps: { a: step(run, { ...FILE, retry: 1 }) } });
    await connected(dev, 2);
    await dev.client.start("killed", { file }, { id: "x1" });
    const [, first = ""] = await untilLines(file, 2);
    const { pid } = await until(async () => (await workers(dev)).find(({ jobs }) => jobs.length > 0));
    process.kill(pid, "SIGKILL");
    expect(await ended(dev, "x1")).toMatchObject({ state: "succeeded" });
    const ends = ofType(await expectOnce(dev, "x1"), "attemptEnded");
    expect(ends.map(({ outcome }) => outcome.kind)).toEqual(["lost", "succeeded"]);
    await until(() => !alive(Number(first.split(" ")[1])));
    // The floor is kept: another worker has taken its place.
    expect((await connected(dev, 2)).map((worker) => worker.pid)).not.toContain(pid);
  });

  it("is not retried with onLost: fail", async () => {
    const file = join(folder(), "starts");
    const dev = await startDev();
    await register(dev, "once", { steps: { a: step(`${MARK}sleep 600`, { ...FILE, onLost: "fail" }) } });
    await connected(dev, 2);
    await dev.client.start("once", { file }, { id: "x1" });
    await untilLines(file, 1);
    const { pid } = await until(async () => (await workers(dev)).find(({ jobs }) => jobs.length > 0));
    process.kill(pid, "SIGKILL");
    expect(await ended(dev, "x1")).toMatchObject({ state: "failed", error: { code: "JOB_LOST" } });
    expect(lines(file)).toEqual(["a 1"]);
  });

  it("stopped for a while and going on, it is still the one that runs the step", async () => {
    const file = join(folder(), "starts");
    const dev = await startDev();
    await register(dev, "stopped", { steps: { a: step(`${MARK}sleep 0.3`, FILE) } });
    await connected(dev, 2);
    await dev.client.start("stopped", { file }, { id: "x1" });
    await untilLines(file, 1);
    const { pid } = await until(async () => (await workers(dev)).find(({ jobs }) => jobs.length > 0));
    process.kill(pid, "SIGSTOP");
    await dev.client.start("stopped", { file: `${file}-other` }, { id: "x2" });
    // The other worker's job, begun and ended while this one stood still.
    await ended(dev, "x2");
    process.kill(pid, "SIGCONT");
    expect(await ended(dev, "x1")).toMatchObject({ state: "succeeded" });
    expect(lines(file)).toEqual(["a 1"]);
  });
});
