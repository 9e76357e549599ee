import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { isHodeiError } from "../../workflow/errors.ts";
import { alive, cleanUp, type Dev, folder, hodei, remember, startDev, until } from "./harness.ts";
import {
  again,
  connected,
  ended,
  expectOnce,
  historyOf,
  killNow,
  lines,
  ofType,
  register,
  step,
  untilLines,
  workers,
} from "./story.ts";

afterEach(cleanUp);

const FILE = { env: { FILE: "${{ input.file }}" } };
const MARK = 'echo "$HODEI_STEP" >> "$FILE"\n';

/** Processes of the cluster's workers and their steps: all carry its data folder in their environment. */
function leftOf(dev: Dev): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, "utf8").includes(dev.data) && alive(Number(pid));
    } catch (error) {
      // Gone meanwhile, or another user's.
      if (["ENOENT", "EACCES", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
      throw error;
    }
  });
}

async function scattered(dev: Dev): Promise<Dev> {
  for (const { pid } of await connected(dev, 2)) remember(pid);
  await killNow(dev);
  const next = await again(dev);
  await connected(next, 2);
  return next;
}

describe("SIGTERM", () => {
  it.each(["its first life", "a life after kill -9"])(
    "in %s: the running job ends and is committed, nothing is left running, the next start goes on",
    async (life) => {
      const file = join(folder(), "starts");
      let dev = await startDev();
      if (life !== "its first life") dev = await scattered(dev);
      await register(dev, "pair", {
        steps: { a: step(`${MARK}sleep 1\n${MARK}`, FILE), b: step(MARK, { ...FILE, needs: ["a"] }) },
      });
      await connected(dev, 2);
      await dev.client.start("pair", { file }, { id: "x1" });
      await untilLines(file, 1);
      await dev.client.close();
      dev.kill("SIGTERM");
      expect(await dev.exited).toBe(0);
      expect(lines(file).slice(0, 2)).toEqual(["a", "a"]);
      expect(leftOf(dev)).toEqual([]);
      expect(
        dev
          .stderr()
          .split("\n")
          .filter((line) => /"level":[56]0/.test(line)),
      ).toEqual([]);
      const next = await again(dev);
      expect(await ended(next, "x1")).toMatchObject({ state: "succeeded" });
      expect(lines(file)).toEqual(["a", "a", "b"]);
      const ends = ofType(await expectOnce(next, "x1"), "attemptEnded");
      expect(ends.map(({ outcome }) => outcome.kind)).toEqual(["succeeded", "succeeded"]);
    },
    60_000,
  );

  it("a second time ends it at once; what was committed is there at the next start", async () => {
    const file = join(folder(), "starts");
    const dev = await startDev();
    await register(dev, "long", { steps: { a: step(`${MARK}[ -e "$FILE.go" ] || sleep 600`, FILE) } });
    for (const { pid } of await connected(dev, 2)) remember(pid);
    await dev.client.start("long", { file }, { id: "x1" });
    await untilLines(file, 1);
    await dev.client.close();
    dev.kill("SIGTERM");
    await until(() => dev.stderr().includes('"stopping"'));
    dev.kill("SIGTERM");
    expect(await dev.exited).toBe(130);
    const next = await again(dev);
    expect((await next.client.get("x1")).state).toBe("running");
    await next.client.cancel("x1");
    expect(await ended(next, "x1")).toMatchObject({ state: "cancelled" });
  });
});

describe("cancel", () => {
  it("ends the whole process group, grandchildren too, and then runs finally", async () => {
    const file = join(folder(), "pids");
    const dev = await startDev();
    const run = `echo $$ >> "$FILE"\nsh -c 'sleep 600 & echo $! >> "$FILE"; wait' &\nwait`;
    const clean = step('echo "clean $OUTCOME" >> "$FILE"', {
      env: { FILE: "${{ input.file }}", OUTCOME: "${{ execution.outcome }}" },
    });
    await register(dev, "tree", { steps: { a: step(run, FILE) }, finally: { clean } });
    await connected(dev, 1);
    await dev.client.start("tree", { file }, { id: "x1" });
    const pids = (await untilLines(file, 2)).map(Number);
    await dev.client.cancel("x1", "no need");
    expect(await ended(dev, "x1")).toMatchObject({ state: "cancelled" });
    expect(lines(file).slice(2)).toEqual(["clean cancelled"]);
    expect(pids.filter(alive)).toEqual([]);
    await expectOnce(dev, "x1");
  });

  it("comes through when it is asked for right before kill -9", async () => {
    const file = join(folder(), "starts");
    const first = await startDev();
    await register(first, "slow", {
      steps: { a: step(`${MARK}sleep 600`, FILE), b: step(MARK, { ...FILE, needs: ["a"] }) },
    });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("slow", { file }, { id: "x1" });
    await untilLines(file, 1);
    await first.client.cancel("x1");
    await killNow(first);
    const dev = await again(first);
    expect(await ended(dev, "x1")).toMatchObject({ state: "cancelled" });
    expect(lines(file)).toEqual(["a"]);
  });
});

describe("over a restart", () => {
  it("pause holds, and resume lets go on", async () => {
    const file = join(folder(), "starts");
    const first = await startDev();
    await register(first, "pair", {
      steps: { a: step(MARK + "sleep 0.3", FILE), b: step(MARK, { ...FILE, needs: ["a"] }) },
    });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("pair", { file }, { id: "x1" });
    await untilLines(file, 1);
    await first.client.pause("x1");
    await killNow(first);
    const dev = await again(first);
    // What runs goes on, what comes after it does not begin.
    await until(async () => (await dev.client.get("x1")).steps.find(({ id }) => id === "a")?.state === "succeeded");
    expect((await dev.client.get("x1")).state).toBe("paused");
    expect(lines(file)).toEqual(["a"]);
    await dev.client.resume("x1");
    expect(await ended(dev, "x1")).toMatchObject({ state: "succeeded" });
    expect(lines(file)).toEqual(["a", "b"]);
  });

  it("sleeps and retry pauses end when they should: never early, once, also those that ended meanwhile", async () => {
    const file = join(folder(), "starts");
    const first = await startDev();
    const retry = { maxAttempts: 3, initialInterval: "2s", multiplier: 1 };
    await register(first, "timers", {
      steps: {
        long: { sleep: "4s" },
        short: { sleep: "500ms" },
        after: step(MARK, { ...FILE, needs: ["short"] }),
        flaky: step(`${MARK}[ "$HODEI_ATTEMPT" -ge 2 ]`, { ...FILE, retry }),
      },
    });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("timers", { file }, { id: "x1" });
    await until(async () => (await historyOf(first, "x1")).some(({ type }) => type === "iterationBackoff"));
    await killNow(first);
    const dev = await again(first);
    expect(await ended(dev, "x1")).toMatchObject({ state: "succeeded" });
    const events = await expectOnce(dev, "x1");
    for (const waiting of [...ofType(events, "iterationWaiting"), ...ofType(events, "iterationBackoff")]) {
      const untilMs = "untilMs" in waiting ? waiting.untilMs : "untilMs" in waiting.on ? waiting.on.untilMs : 0;
      const begun = events.slice(events.indexOf(waiting) + 1).find((event) => {
        if (!("step" in event) || event.step !== waiting.step) return false;
        return event.type === "iterationEnded" || event.type === "iterationQueued";
      });
      expect(begun?.atMs ?? 0).toBeGreaterThanOrEqual(untilMs);
    }
    expect(lines(file).toSorted()).toEqual(["after", "flaky", "flaky"]);
  });

  it("a wait step hears its signal, and hears it once however often it is said", async () => {
    const first = await startDev();
    await register(first, "approval", {
      steps: { ask: { wait: { signal: "go" } }, more: { needs: ["ask"], wait: { signal: "go" } } },
      output: { first: "${{ steps.ask.outputs.n }}", second: "${{ steps.more.outputs.n }}" },
    });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("approval", {}, { id: "x1" });
    const say = async (dev: Dev, messageId: string, n: number): Promise<void> => {
      const request = { id: "x1", name: "go", payloadJson: JSON.stringify({ n }), messageId };
      await dev.client.call("execution", "signal", request);
    };
    await say(first, "m1", 1);
    await killNow(first);
    const dev = await again(first);
    // The same message again is the same signal, also in another life.
    await say(dev, "m1", 1);
    expect((await dev.client.get("x1")).steps.map(({ state }) => state)).toEqual(["succeeded", "waiting"]);
    await say(dev, "m2", 2);
    expect(await ended(dev, "x1")).toMatchObject({ outputJson: JSON.stringify({ first: 1, second: 2 }) });
    const events = await expectOnce(dev, "x1");
    expect(ofType(events, "signalReceived").map(({ id }) => id)).toEqual(["m1", "m2"]);
  });

  it("a workspace and its worker are kept", async () => {
    const first = await startDev();
    await register(first, "shared", {
      workspace: "w",
      steps: {
        a: step("echo made > made; sleep 0.5"),
        b: step('echo "made=$(cat made)" >> "$HODEI_OUTPUT"', { needs: ["a"] }),
      },
      output: { made: "${{ steps.b.outputs.made }}" },
    });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("shared", {}, { id: "x1" });
    await until(async () => (await workers(first)).some(({ jobs }) => jobs.length > 0));
    await killNow(first);
    const dev = await again(first);
    const view = await ended(dev, "x1");
    expect(view).toMatchObject({ outputJson: JSON.stringify({ made: "made" }) });
    expect(new Set(view.steps.map(({ worker }) => worker)).size).toBe(1);
  });

  it("logs --follow begun anew with the last cursor gives every line once, in order", async () => {
    const first = await startDev();
    await register(first, "chatty", { steps: { a: step("for n in $(seq 1 40); do echo line $n; sleep 0.05; done") } });
    for (const { pid } of await connected(first, 2)) remember(pid);
    await first.client.start("chatty", {}, { id: "x1" });
    let text = "";
    let after: string | undefined;
    try {
      for await (const chunk of first.client.logs("x1", { follow: true })) {
        text += Buffer.from(chunk.data).toString();
        after = chunk.cursor;
        if (text.includes("line 10\n")) first.kill("SIGKILL");
      }
    } catch (error) {
      if (!isHodeiError(error, "UNAVAILABLE")) throw error;
    }
    await killNow(first);
    const dev = await again(first);
    for await (const chunk of dev.client.logs("x1", { follow: true, ...(after === undefined ? {} : { after }) }))
      text += Buffer.from(chunk.data).toString();
    expect(text.split("\n").filter(Boolean)).toEqual(Array.from({ length: 40 }, (_, at) => `line ${at + 1}`));
    const whole = await hodei(["logs", "x1"], { address: dev.ready.address });
    expect(whole.stdout).toContain("line 40");
  });
});
