import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectMatches } from "../schema.ts";
import {
  beginHodei,
  cleanUp,
  definitionFile,
  type Dev,
  hodei,
  hodeiJson,
  type Ran,
  ROOT,
  startDev,
  stopDev,
  until,
} from "./harness.ts";

/** Steering from outside: signals, approvals, pause, cancel, retry; and the commands that stay until something ends. */
let dev: Dev;
const cli = (...args: string[]): Promise<Ran> => hodei(args, { address: dev.ready.address });
const json = <T>(...args: string[]): Promise<T> => hodeiJson<T>(args, dev.ready.address);
const begin = (...args: string[]): ReturnType<typeof beginHodei> => beginHodei(args, { address: dev.ready.address });

/** Waits until a step of the execution is in this state. */
async function stepIs(id: string, step: string, state: string): Promise<void> {
  await until(async () => (await dev.client.get(id)).steps.some((one) => one.id === step && one.state === state));
}

const ended = async (id: string): Promise<string> => (await dev.client.wait(id, { deadlineMs: 20_000 })).state;

beforeAll(async () => {
  dev = await startDev();
  await cli("apply", join(ROOT, "examples/approval.yaml"));
});

afterAll(async () => {
  await stopDev(dev);
  await cleanUp();
});

const PRODUCTION = ["--input", '{"target":"production"}'];

describe("approvals and signals", () => {
  it("why says what an execution waits for, in words that can be sent back", async () => {
    await cli("run", "deploy", ...PRODUCTION, "--id", "approved");
    await stepIs("approved", "ship", "waiting");
    const { lines } = await json<{ lines: string[] }>("why", "approved");
    const advice = lines.find((line) => line.includes("waits for approval")) ?? "";
    expect(advice).toContain(`hodei signal approved ship '{"approved": true}'`);
    expect(await cli("signal", "approved", "ship", '{"approved": true, "comment": "go"}')).toEqual({
      code: 0,
      stdout: "approved: signal ship taken\n",
      stderr: "",
    });
    expect(await ended("approved")).toBe("succeeded");
    expect((await cli("logs", "approved", "--step", "report")).stdout).toBe("it succeeded\n");
  });

  it("a rejection fails the execution; retry asks again", async () => {
    await cli("run", "deploy", ...PRODUCTION, "--id", "rejected");
    await stepIs("rejected", "ship", "waiting");
    await cli("signal", "rejected", "ship", '{"approved": false}');
    expect(await ended("rejected")).toBe("failed");
    expect((await cli("describe", "execution", "rejected")).stdout).toMatch(/Error: +JOB_FAILED: rejected/);
    expect(await cli("retry", "rejected")).toMatchObject({ code: 0, stdout: "rejected: runs again\n" });
    await stepIs("rejected", "ship", "waiting");
    await cli("signal", "rejected", "ship", '{"approved": true}');
    expect(await ended("rejected")).toBe("succeeded");
    const history = await json<{ type: string }[]>("history", "rejected");
    expectMatches("history", history);
    expect(history.filter(({ type }) => type === "retried")).toHaveLength(1);
    expect(history.filter(({ type }) => type === "executionEnded")).toHaveLength(2);
  });

  it("a signal that nothing waits for is refused, and the names that are waited for are told", async () => {
    await cli("run", "deploy", ...PRODUCTION, "--id", "unknown-signal");
    const { code, stderr } = await cli("signal", "unknown-signal", "other");
    expect(code).toBe(1);
    expect(stderr).toMatch(/no step of deploy waits for a signal "other"\n.*ship/);
    await cli("cancel", "unknown-signal");
  });

  it.each(["signal approved ship", "pause approved", "resume approved", "retry approved"])(
    "what has ended takes no message: %s",
    async (command) => {
      const { code, stdout, stderr } = await cli(...command.split(" "), "-o", "json");
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(JSON.parse(stderr)).toMatchObject({ code: "CLOSED" });
    },
  );
});

describe("pause, resume, cancel", () => {
  it("a paused execution starts nothing until it is resumed", async () => {
    const file = definitionFile("gate", "1.0.0", {
      steps: { hold: { wait: { signal: "go" } }, after: { needs: ["hold"], run: "true" } },
    });
    await cli("apply", file);
    await cli("run", "gate", "--id", "paused");
    await stepIs("paused", "hold", "waiting");
    expect(await json("pause", "paused")).toEqual({ executionId: "paused", state: "paused" });
    expect((await cli("get", "executions", "--state", "paused", "-o", "name")).stdout).toBe("paused\n");
    await cli("signal", "paused", "go");
    expect((await cli("why", "paused")).stdout).toContain("until `hodei resume paused`");
    expect((await dev.client.get("paused")).steps.find(({ id }) => id === "after")?.attempts).toBe(0);
    expect(await json("resume", "paused")).toMatchObject({ executionId: "paused" });
    expect(await ended("paused")).toBe("succeeded");
  });

  it("cancel ends the running step, runs finally, and keeps the reason", async () => {
    const file = definitionFile("long", "1.0.0", {
      steps: { nap: { run: "echo napping; sleep 60" } },
      finally: { tidy: { run: "echo tidied" } },
    });
    await cli("apply", file);
    const following = begin("run", "long", "--id", "cancelled", "--follow", "-o", "name");
    await until(() => following.stderr().includes("nap | napping"));
    expect(await cli("cancel", "execution", "cancelled", "--reason", "lunch")).toMatchObject({ code: 0 });
    const { code, stdout, stderr } = await following.done;
    expect({ code, stdout }).toEqual({ code: 3, stdout: "cancelled\n" });
    expect(stderr).toContain("tidy | tidied\n");
    expect(stderr).toMatch(/\nlong@1\.0\.0 cancelled: cancelled in /);
    expect((await cli("history", "cancelled")).stdout).toMatch(/cancelRequested +lunch/);
    expect(await cli("cancel", "cancelled"), "again is no error").toMatchObject({ code: 0 });
    await cli("submit", "--id", "over", "--wait", "--", "true");
    expect((await cli("cancel", "over")).stdout).toBe("over: has succeeded, there is nothing to cancel\n");
  });
});

describe("commands that stay", () => {
  it("logs -f gives lines as they are written, and ends with the execution", async () => {
    const script = 'echo first; while [ ! -e "$FILE" ]; do sleep 0.05; done; echo last';
    const flag = join(dev.data, "go-on");
    await cli("submit", "--id", "slow", "--env", `FILE=${flag}`, "--", "sh", "-c", script);
    const following = begin("logs", "-f", "slow");
    await until(() => following.stdout() === "first\n");
    await cli("submit", "--wait", "--", "touch", flag);
    expect(await following.done).toEqual({ code: 0, stdout: "first\nlast\n", stderr: "" });
  });

  it.each([
    ["run --wait", ["run", "gate", "--id", "waited", "--wait"], "waited goes on: `hodei logs -f waited` shows it"],
    ["logs -f", ["logs", "-f", "waited"], ""],
    ["events", ["events"], ""],
  ])("^C ends %s with 130 and leaves the execution alone, which who started it is told", async (_, args, words) => {
    const staying = begin(...args);
    await until(async () => (await cli("get", "execution", "waited")).code === 0);
    staying.kill("SIGINT");
    const { code, stderr } = await staying.done;
    expect({ code, stderr: stderr.slice(0, words.length || undefined) }).toEqual({ code: 130, stderr: words });
    expect((await dev.client.get("waited")).state).toBe("running");
  });

  it("events tells what the cluster does, one JSON line each", async () => {
    const events = begin("events", "-o", "jsonl", "--severity", "debug");
    await until(async () => {
      // Until the subscription stands, what happens is not told: so it happens until it is.
      await cli("submit", "--", "true");
      return events.stdout().includes("\n");
    });
    events.kill("SIGINT");
    const told = (await events.done).stdout.trimEnd().split("\n");
    for (const line of told) expectMatches("events", JSON.parse(line));
    expect(told.join()).toMatch(/engine-\d/);
  });

  it("engine drain moves the shards to the others", async () => {
    await cli("engine", "drain", "engine-3");
    const engines = await until(async () => {
      const all = await json<{ name: string; state: string; shards: number }[]>("get", "engines");
      return all.some(({ name, shards }) => name === "engine-3" && shards === 0) && all;
    });
    expect(engines.reduce((sum, { shards }) => sum + shards, 0)).toBe(2048);
    expect(engines.map(({ state }) => state)).toEqual(["ready", "ready", "draining"]);
    expect(await cli("engine", "drain", "nope")).toMatchObject({ code: 4 });
  });
});
