import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { expectMatches } from "../schema.ts";
import {
  cleanUp,
  type Dev,
  fileWith,
  hodei,
  hodeiJson,
  MAIN,
  ROOT,
  type Ran,
  run,
  startDev,
  stopDev,
} from "./harness.ts";

/** One cluster for all: the tests go through what a user does in a first hour, in that order. */
let dev: Dev;
const cli = (...args: string[]): Promise<Ran> => hodei(args, { address: dev.ready.address });
const json = <T>(...args: string[]): Promise<T> => hodeiJson<T>(args, dev.ready.address);

type Step = { id: string; state: string; attempts: number; worker?: string; startedAt?: string; endedAt?: string };
type Execution = { executionId: string; state: string; version: string; output: unknown; steps: Step[] };

const ESCAPE = "\u001b";
const GREET = join(ROOT, "examples/greet.yaml");
const SEA = ["--input", '{"who":"sea"}'];

beforeAll(async () => {
  dev = await startDev();
});

afterAll(async () => {
  await stopDev(dev);
  await cleanUp();
});

describe("apply and run", () => {
  it("publishes a file, and says of the same file again that nothing changed", async () => {
    expect(await cli("apply", GREET)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/greet@1\.0\.0 +published/),
    });
    const [again] = await json<{ name: string; version: string; digest: string; created: boolean }[]>("apply", GREET);
    expect(again).toMatchObject({ name: "greet", version: "1.0.0", created: false });
    expect(again?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it("greets the sea", async () => {
    const done = await json<Execution>("run", "greet", ...SEA, "--wait");
    expectMatches("execution", done);
    expect(done).toMatchObject({
      workflow: "greet",
      version: "1.0.0",
      state: "succeeded",
      output: { text: "hello sea" },
    });
    expect(done.steps.map(({ id, state, attempts }) => [id, state, attempts])).toEqual([
      ["hello", "succeeded", 1],
      ["shout", "succeeded", 1],
    ]);
    for (const step of done.steps) {
      expect(step.worker).toMatch(/\S/);
      expect(Date.parse(step.startedAt ?? "")).toBeLessThanOrEqual(Date.parse(step.endedAt ?? ""));
    }
  });

  it("answers at once with the id alone when it is not to wait: data on stdout, words on stderr", async () => {
    const started = await cli("run", "greet", ...SEA, "--id", "at-once");
    expect(started).toEqual({ code: 0, stdout: "at-once\n", stderr: "greet@1.0.0 at-once: started\n" });
    const quiet = await cli("run", "greet", ...SEA, "--id", "at-once", "-o", "json");
    expect(quiet).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(quiet.stdout)).toMatchObject({ executionId: "at-once" });
  });

  it("the same id and request is the same execution; another request is refused", async () => {
    const first = await json<{ uid: string }>("run", "greet", ...SEA, "--id", "once", "--wait");
    expect(await json("run", "greet", ...SEA, "--id", "once")).toMatchObject({ uid: first.uid });
    const other = await cli("run", "greet", "--input", '{"who":"land"}', "--id", "once", "-o", "json");
    expect(other).toMatchObject({ code: 1, stdout: "" });
    const error: unknown = JSON.parse(other.stderr);
    expectMatches("error", error);
    expect(error).toMatchObject({ code: "ALREADY_EXISTS", field: "id" });
  });

  it.each([
    ["a file", () => ["--input", `@${fileWith("in.json", '{"who":"file"}')}`], ""],
    ["standard input", () => ["--input", "@-"], '{"who":"file"}'],
  ])("takes its input from %s", async (_, flags, input) => {
    const { address } = dev.ready;
    const done = await hodei(["run", "greet", ...flags(), "--wait", "-o", "jsonl"], { address, input });
    expect(JSON.parse(done.stdout)).toMatchObject({ output: { text: "hello file" } });
  });

  it("passes what shells and terminals trip over through as it is", async () => {
    const who = "日本 $(id) `id` \"q\" 'a' \\ ; & \u00e9";
    const done = await json<Execution>("run", "greet", "--input", JSON.stringify({ who }), "--wait");
    expect(done.output).toEqual({ text: `hello ${who}` });
  });

  it("--follow writes a line per change and per line of log to stderr, the result to stdout", async () => {
    const { code, stdout, stderr } = await cli("run", "greet", ...SEA, "--follow", "-o", "name", "--id", "followed");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "followed\n" });
    expect(stderr).not.toContain(ESCAPE);
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toContain("shout | HELLO SEA");
    expect(lines.filter((line) => /^(hello|shout): succeeded \d/.test(line))).toHaveLength(2);
    expect(lines.at(-1)).toMatch(/^greet@1\.0\.0 followed: succeeded in \d/);
  });

  it("--follow on a terminal draws the tree of steps anew over the old one", async () => {
    const command = `${process.execPath} ${MAIN} run greet --input '{"who":"sea"}' --follow -o name`;
    const screen = await run("script", ["-qec", command, "/dev/null"], { env: { HODEI_ADDRESS: dev.ready.address } });
    expect(screen.code).toBe(0);
    // Up, and clear to the end of the screen; then the head and both steps, the needing one further in.
    const last = screen.stdout.slice(screen.stdout.lastIndexOf(`${ESCAPE}[3A${ESCAPE}[0J`) + 8);
    expect(last).toMatch(/^greet@1\.0\.0 \S+ succeeded [^\n]*\n {2}✓ hello [^\n]*\n {4}✓ shout /);
    expect(screen.stdout).toContain("shout | HELLO SEA");
  });

  it("exits with 3 when the execution fails, its JSON still on stdout", async () => {
    const failed = await cli("submit", "--wait", "-o", "json", "--", "sh", "-c", "echo told >&2; exit 7");
    expect(failed.code).toBe(3);
    const view: unknown = JSON.parse(failed.stdout);
    expectMatches("execution", view);
    expect(view).toMatchObject({
      state: "failed",
      output: null,
      error: { code: "JOB_FAILED", message: "the command exited with code 7: told", step: "job" },
      steps: [{ state: "failed", exitCode: 7 }],
    });
  });

  it("submit runs one command with its words as they are, and its environment", async () => {
    const words = ["sh", "-c", 'echo "$A|$B|$0"', "x  y"];
    const done = await cli("submit", "--env", "A=1", "--env", "B=b c", "--follow", "-o", "name", "--", ...words);
    expect(done.code).toBe(0);
    expect(done.stderr).toContain("job | 1|b c|x  y\n");
  });
});

describe("get and describe", () => {
  it("lists executions newest first, under each format", async () => {
    await cli("run", "greet", ...SEA, "--id", "first", "--label", "team=web", "--label", "tier=1", "--wait");
    await cli("run", "greet", ...SEA, "--id", "second", "--label", "team=web", "--wait");
    const only = ["get", "executions", "--label", "team=web"];
    const [table, wide, jsonText, jsonl, yaml, name] = await Promise.all(
      ["table", "wide", "json", "jsonl", "yaml", "name"].map(
        async (format) => (await cli(...only, "-o", format)).stdout,
      ),
    );
    expect(name).toBe("second\nfirst\n");
    const rows = JSON.parse(jsonText ?? "") as { executionId: string; startedAt: string }[];
    expect(rows).toMatchObject([
      { executionId: "second", workflow: "greet", version: "1.0.0", state: "succeeded", labels: { team: "web" } },
      { executionId: "first", labels: { team: "web", tier: "1" } },
    ]);
    expect(new Date(rows[0]?.startedAt ?? "").toISOString()).toBe(rows[0]?.startedAt);
    expect(
      (jsonl ?? "")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(rows);
    expect(parse(yaml ?? "")).toEqual(rows);
    expect(columns(table)).toEqual(["ID", "WORKFLOW", "STATE", "AGE", "TOOK"]);
    expect(columns(wide)).toEqual(["ID", "WORKFLOW", "STATE", "AGE", "TOOK", "PARENT", "SHARD", "REVISION"]);
  });

  it("filters by state, workflow, label and time, and says when nothing is left", async () => {
    const ids = async (...flags: string[]): Promise<string[]> =>
      (await cli("get", "executions", "-o", "name", ...flags)).stdout.split("\n").filter(Boolean);
    expect(await ids("--label", "team=web", "tier=1")).toEqual(["first"]);
    expect(await ids("--state", "succeeded", "--workflow", "greet", "--label", "tier=1", "--since", "1h")).toEqual([
      "first",
    ]);
    expect(await ids("--state", "failed", "--workflow", "greet")).toEqual([]);
    expect(await cli("get", "executions", "--label", "team=none")).toEqual({
      code: 0,
      stdout: "",
      stderr: "none found\n",
    });
  });

  it("pages: what a list says to go on with, goes on", async () => {
    const all = (await cli("get", "executions", "-o", "name")).stdout.trimEnd().split("\n");
    const page = await cli("get", "executions", "-o", "name", "--limit", "2");
    expect(page.stdout.trimEnd().split("\n")).toEqual(all.slice(0, 2));
    const more = /^more: --page '(.+)'\n$/.exec(page.stderr)?.[1] ?? "";
    const next = await cli("get", "executions", "-o", "name", "--limit", "2", "--page", more);
    expect(next.stdout.trimEnd().split("\n")).toEqual(all.slice(2, 4));
  });

  it("nouns work in singular and plural, with and without a name", async () => {
    const view = await cli("get", "execution", "first", "-o", "json");
    expectMatches("execution", JSON.parse(view.stdout));
    for (const same of [
      ["get", "executions", "first"],
      ["describe", "execution", "first"],
      ["describe", "executions", "first"],
    ])
      expect(await cli(...same, "-o", "json")).toEqual(view);
    expect((await cli("describe", "execution", "first")).stdout).toMatch(
      /^Execution: first\nWorkflow: {2}greet@1\.0\.0\nState: {5}succeeded\n/,
    );
  });

  it("engines, workers and shards have the documented shapes", async () => {
    const engines = await json<{ name: string; pid: number; shards: number; state: string }[]>("get", "engines");
    expectMatches("engines", engines);
    expect(engines.map(({ name, pid, state }) => [name, pid, state])).toEqual(
      ["engine-1", "engine-2", "engine-3"].map((name) => [name, dev.pid, "ready"]),
    );
    const shards = await json<{ shard: number; owner: string }[]>("get", "shards");
    expectMatches("shards", shards);
    for (const { name, shards: count } of engines)
      expect(shards.filter(({ owner }) => owner === name)).toHaveLength(count);
    const workers = await json<{ id: string; pid: number; engine: string; state: string }[]>("get", "workers");
    expectMatches("workers", workers);
    expect(workers).toHaveLength(2);
    const [worker] = workers;
    expect(await json("get", "worker", worker?.id ?? "")).toMatchObject([{ pid: worker?.pid }]);
    expect(await json("get", "shard", "5")).toEqual([shards[5]]);
    expect((await cli("get", "engine", "engine-2", "-o", "name")).stdout).toBe("engine-2\n");
  });

  it("a workflow is described with what its users need: input, steps, channels, dependents", async () => {
    await cli("apply", join(ROOT, "examples/release.yaml"));
    const { stdout } = await cli("describe", "workflow", "greet");
    expect(stdout).toContain("Workflow:   greet@1.0.0\n");
    expect(stdout).toContain("Reached by: release@1.0.0 (^1)\n");
    expect(stdout).toContain('Input:      {"type":"object","required":["who"]');
    expect(stdout).toContain("  shout (run) after hello\n");
    expect(await json("get", "workflow", "greet")).toMatchObject([{ name: "greet", versions: [{ version: "1.0.0" }] }]);
  });

  it.each([
    "get execution nope",
    "get workflow nope",
    "get engine nope",
    "get worker nope",
    "get shard 99999",
    "describe workflow greet@7",
    "history nope",
    "logs nope",
    "why nope",
    "run nope",
    "run greet@^9",
    "cancel nope",
    "signal nope go",
    "promote greet@9.9.9",
    "delete greet@9.9.9",
  ])("what is not there exits with 4: %s", async (command) => {
    const { code, stdout, stderr } = await cli(...command.split(" "), "-o", "json");
    expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
    expectMatches("error", JSON.parse(stderr));
  });
});

/** A step that goes well. */
const STEP = ["stepOpened", "iterationQueued", "attemptEnded", "iterationEnded", "stepEnded"];

describe("history, logs and why", () => {
  it("history tells every event once, in order of revision", async () => {
    const events = await json<{ type: string; revision: number }[]>("history", "first");
    expectMatches("history", events);
    expect(events.map(({ type }) => type)).toEqual(["executionStarted", ...STEP, ...STEP, "executionEnded"]);
    expect(events.map(({ revision }) => revision)).toEqual(
      events.map(({ revision }) => revision).toSorted((a, b) => a - b),
    );
    const table = await cli("history", "execution", "first");
    expect(columns(table.stdout)).toEqual(["REVISION", "AT", "EVENT", "WHAT"]);
    expect(table.stdout).toMatch(/ attemptEnded +hello attempt 1 succeeded\n/);
  });

  it("logs are what the steps wrote, byte for byte; one step alone on demand", async () => {
    expect(await cli("logs", "first")).toEqual({ code: 0, stdout: "HELLO SEA\n", stderr: "" });
    expect((await cli("logs", "execution", "first", "--step", "hello")).stdout).toBe("");
    const misspelt = await cli("logs", "first", "--step", "helo");
    expect(misspelt).toMatchObject({ code: 4, stdout: "" });
    expect(misspelt.stderr).toMatch(/no step "helo"\n +Its steps are hello, shout\.\n/);
    const chunk = JSON.parse((await cli("logs", "-f", "first", "-o", "json")).stdout) as object;
    expect(chunk).toMatchObject({
      step: "shout",
      iteration: "0",
      attempt: 1,
      offset: 0,
      dropped: 0,
      text: "HELLO SEA\n",
    });
  });

  it("why names the clause that no worker meets", async () => {
    await cli("submit", "--id", "gpu", "--label", "gpu && linux", "--", "true");
    const answer = await json<{ lines: string[] }>("why", "gpu");
    expectMatches("why", answer);
    expect(answer.lines.join("\n")).toMatch(/No connected worker can run it:\n.*no label gpu/);
    const jobs = await json<{ id: string; state: string }[]>("get", "jobs", "gpu");
    expect(jobs).toMatchObject([
      { executionId: "gpu", state: "queued", reason: expect.stringContaining("gpu") as string },
    ]);
    expect(await json("get", "job", jobs[0]?.id ?? "")).toEqual(jobs);
    expect((await cli("get", "execution", "gpu")).stdout).toContain("no label gpu");
    await cli("cancel", "gpu");
    expect((await cli("why", "first")).stdout).toBe("Execution first of greet@1.0.0 is succeeded.\n");
  });
});

/** The titles of a table. */
function columns(text: string | undefined): string[] {
  return (text ?? "").split("\n")[0]?.split(/ +/) ?? [];
}
