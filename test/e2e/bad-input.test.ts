import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectMatches } from "../schema.ts";
import {
  alive,
  cleanUp,
  definitionFile,
  type Dev,
  fileWith,
  folder,
  hodei,
  hodeiJson,
  type Ran,
  startDev,
  stopDev,
  until,
} from "./harness.ts";

/** Each mistake a clear error, each accident a correct continuation; and the cluster serves on. */
let dev: Dev;
const cli = (...args: string[]): Promise<Ran> => hodei(args, { address: dev.ready.address });
const json = <T>(...args: string[]): Promise<T> => hodeiJson<T>(args, dev.ready.address);
type Failure = { code: string; message: string; field?: string; hint?: string; violations?: { line?: number }[] };

/** The error of a command that is refused; nothing on stdout. */
async function refused(...args: string[]): Promise<Failure> {
  const { code, stdout, stderr } = await cli(...args, "-o", "json");
  expect({ code, stdout, stderr }).toMatchObject({ code: 1, stdout: "" });
  const error = JSON.parse(stderr) as Failure;
  expectMatches("error", error);
  return error;
}

beforeAll(async () => {
  dev = await startDev();
  await cli("apply", definitionFile("good", "1.0.0", { steps: { a: { run: "true" } } }));
});

afterAll(async () => {
  await stopDev(dev);
  await cleanUp();
});

const one = (step: object): object => ({ steps: { a: step } });

describe("definitions that do not hold are refused with file, line and path", () => {
  it.each<[string, object, RegExp]>([
    ["an unknown step in needs", one({ run: "x", needs: ["nope"] }), /spec\.steps\.a\.needs\[0\]: unknown step "nope"/],
    [
      "a cycle",
      { steps: { a: { run: "x", needs: ["b"] }, b: { run: "x", needs: ["c"] }, c: { run: "x", needs: ["a"] } } },
      /wait for each other: .*a → .* → a/,
    ],
    ["a bad range", one({ workflow: "good@>>1" }), /spec\.steps\.a\.workflow: .*>>1/],
    ["an expression that does not parse", one({ run: "x", when: "1 +" }), /spec\.steps\.a\.when: .*unexpected/],
    [
      "an expression of the wrong type",
      {
        input: { type: "object", properties: { n: { type: "integer" } } },
        ...one({ run: "x", when: 'input.n == "x"' }),
      },
      /spec\.steps\.a\.when: .*int == string/,
    ],
    [
      "an unknown name in an output",
      { ...one({ run: "x" }), output: { v: "${{ steps.z.outputs.v }}" } },
      /spec\.output\.v: .*"z"/,
    ],
    [
      "an unknown type in the schema",
      { input: { type: "nonsense" }, ...one({ run: "x" }) },
      /spec\.input\.type: "nonsense"/,
    ],
    [
      "a label that does not parse",
      one({ run: "x", agent: { label: "linux &&" } }),
      /spec\.steps\.a\.agent\.label: .*column 9/,
    ],
    ["a duration in no known unit", one({ run: "x", timeout: "5 parsecs" }), /spec\.steps\.a\.timeout: "5 parsecs"/],
    ["an unknown key", one({ run: "x", bogus: 1 }), /spec\.steps\.a\.bogus: /],
    ["a step of two kinds", one({ run: "x", sleep: "1s" }), /spec\.steps\.a/],
    ["no steps", { steps: {} }, /spec\.steps: must hold at least one step/],
    ["a step id of 300 characters", { steps: { ["x".repeat(300)]: { run: "x" } } }, /at most 128 characters, not 300/],
    ["a number as a step id", { steps: { 1: { run: "x" } } }, /"1" is no step id/],
    ["an id of another script", { steps: { é日本: { run: "x" } } }, /"é日本" is no step id/],
  ])("%s", async (_, spec, words) => {
    const file = definitionFile("wrong", "1.0.0", spec);
    const { code, message, violations = [] } = await refused("apply", file);
    expect(code).toBe("INVALID_DEFINITION");
    expect(message).toMatch(words);
    expect(message).toMatch(/wrong\.yaml:\d+:\d+: /);
    expect(violations[0]?.line).toBeGreaterThan(1);
    expect((await hodei(["lint", file])).stderr, "without a cluster too").toMatch(words);
  });

  it.each([
    ["a malformed YAML", "a: [1\n b: {"],
    ["an empty file", ""],
    ["a list", "[1, 2]"],
    ["two documents", "---\na: 1\n---\nb: 2\n"],
    ["no text", "\u0000\u0001\u0007"],
  ])("%s", async (_, text) => {
    const { code, message } = await refused("apply", fileWith("wrong.yaml", text));
    expect(code).toBe("INVALID_DEFINITION");
    expect(message).toMatch(/wrong\.yaml:\d+:\d+: /);
  });

  it("a version that is none, a name that is none", async () => {
    expect((await refused("apply", definitionFile("wrong", "one", one({ run: "x" })))).message).toContain("no semver");
    expect((await refused("apply", definitionFile("Wrong Name", "1.0.0", one({ run: "x" })))).message).toContain(
      "metadata.name",
    );
  });

  it("more than 256 KiB", async () => {
    const file = definitionFile("wrong", "1.0.0", one({ run: `true #${"x".repeat(256 * 1024)}` }));
    expect(await refused("apply", file)).toMatchObject({
      code: "TOO_LARGE",
      message: expect.stringContaining("262144") as string,
    });
  });

  it("a file that is not there", async () => {
    expect((await refused("apply", "/nowhere/x.yaml")).message).toMatch(/^\/nowhere\/x\.yaml cannot be read: ENOENT/);
  });
});

describe("starts that do not hold are refused", () => {
  it.each([
    [
      "more than 256 KiB of input",
      () => ["--input", `@${fileWith("big.json", JSON.stringify({ v: "x".repeat(256 * 1024) }))}`],
      "TOO_LARGE",
    ],
    ["an input that is no object", () => ["--input", "5"], "INVALID_INPUT"],
    ["an id of 300 characters", () => ["--id", "x".repeat(300)], "TOO_LARGE"],
    ["a slash in an id", () => ["--id", "a/b"], "INVALID_ARGUMENT"],
    ["braces in an id", () => ["--id", "{a}"], "INVALID_ARGUMENT"],
    ["an empty id", () => ["--id", ""], "INVALID_ARGUMENT"],
    ["an id of another script", () => ["--id", "é日本"], "INVALID_ARGUMENT"],
  ])("%s", async (_, flags, code) => {
    const error = await refused("run", "good", ...flags());
    expect(error.code).toBe(code);
    expect(error.field).toMatch(/^(input|inputJson|id)$/);
  });

  it("an empty input is an empty object, and a number does as an id", async () => {
    const done = await json("run", "good", "--id", "42", "--wait");
    expect(done).toMatchObject({ executionId: "42", input: {}, state: "succeeded" });
    expect(await json("get", "execution", "42")).toEqual(done);
  });

  it("an input that does not fit, naming the field", async () => {
    const schema = { type: "object", required: ["n"], properties: { n: { type: "integer" } } };
    await cli("apply", definitionFile("typed", "1.0.0", { input: schema, ...one({ run: "x" }) }));
    expect(await refused("run", "typed")).toMatchObject({ code: "INVALID_INPUT", field: "input.n" });
    expect((await refused("run", "typed", "--input", '{"n":"x"}')).message).toContain("input.n must be an integer");
  });

  it("a page that no list has named", async () => {
    expect(await refused("get", "executions", "--page", "bogus")).toMatchObject({
      code: "INVALID_ARGUMENT",
      field: "page",
    });
  });

  it("a text that the operating system takes for none fails the step once, by its own fault", async () => {
    await cli("apply", definitionFile("env", "1.0.0", one({ run: "true", env: { WHO: "${{ input.who }}" } })));
    const { code, stdout } = await cli("run", "env", "--input", '{"who":"a\\u0000b"}', "--wait", "-o", "json");
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      steps: [{ attempts: 1, error: { code: "JOB_FAILED", message: expect.stringContaining('"WHO"') as string } }],
    });
  });
});

describe("work that nobody can do", () => {
  it.each<[string, string, object, string]>([
    ["a handler that is missing", "missing", { task: "nosuch" }, "nosuch"],
    ["a label that no worker has", "nolabel", { run: "true", agent: { label: "mainframe" } }, "mainframe"],
    ["more than a machine has", "toolarge", { run: "true", agent: { cpu: "900" } }, "900"],
  ])("%s waits with its reason, and fails at its queue timeout", async (_, name, step, clause) => {
    await cli("apply", definitionFile(name, "1.0.0", one({ ...step, timeout: { queue: "4s" } })));
    const ending = cli("run", name, "--id", name, "--wait", "-o", "json");
    const why = await until(async () => {
      const { code, stdout } = await cli("why", name, "-o", "json");
      return code === 0 && stdout.includes("No connected worker can run it") && stdout;
    });
    expectMatches("why", JSON.parse(why));
    expect(why).toContain(clause);
    expect(await json("get", "execution", name)).toMatchObject({
      state: "running",
      steps: [{ state: "queued", reason: expect.stringContaining(clause) as string }],
    });
    const { code, stdout } = await ending;
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      state: "failed",
      error: { code: "NO_MATCHING_WORKER", message: expect.stringContaining(clause) as string, step: "a" },
    });
  });
});

describe("a worker that dies in the middle of a step", () => {
  it("costs the machine's budget, not the user's: the step runs again on another", async () => {
    const script = 'echo "attempt $HODEI_ATTEMPT"; [ "$HODEI_ATTEMPT" != 1 ] || sleep 60';
    await cli("apply", definitionFile("dies", "1.0.0", one({ run: script, retry: { maxAttempts: 1 } })));
    await cli("run", "dies", "--id", "dies");
    await until(async () => (await cli("logs", "dies")).stdout === "attempt 1\n");
    type Worker = { id: string; pid: number; jobs: string[] };
    const victim = (await json<Worker[]>("get", "workers")).find(({ jobs }) => jobs.length > 0);
    expect(victim?.jobs).toEqual(["default/dies/a/0#1"]);
    const [going] = (await json<{ steps: { startedAt?: string }[] }>("get", "execution", "dies")).steps;
    expect(going, "what runs is not shown as waiting").toMatchObject({
      state: "running",
      startedAt: expect.any(String),
    });
    process.kill(victim?.pid ?? 0, "SIGKILL");
    const done = await json<{ steps: { worker: string }[] }>("run", "dies", "--id", "dies", "--wait");
    expect(done).toMatchObject({ state: "succeeded", steps: [{ state: "succeeded", attempts: 2 }] });
    expect(done.steps[0]?.worker).not.toBe(victim?.id);
    const history = await json<{ type: string; outcome?: { kind: string } }[]>("history", "dies");
    expect(history.flatMap(({ type, outcome }) => (type === "attemptEnded" ? [outcome?.kind] : []))).toEqual([
      "lost",
      "succeeded",
    ]);
    expect((await cli("history", "dies")).stdout).toMatch(/attemptEnded .* attempt 1 lost: .*(SIGKILL|gone)/);
    expect((await cli("logs", "dies")).stdout).toBe("attempt 1\nattempt 2\n");
  });
});

describe("a second cluster", () => {
  it("on a data folder in use names the process that has it", async () => {
    const { code, stdout, stderr } = await hodei(["dev", "--data", dev.data, "--port", "0"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error DATA_IN_USE: /m);
    expect(stderr).toContain(`process ${dev.pid}`);
    expect(alive(dev.pid)).toBe(true);
  });

  it("on a port in use names the address, whoever has it", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    for (const taken of [String(port), dev.ready.address.split(":")[1] ?? ""]) {
      const { code, stdout, stderr } = await hodei(["dev", "--data", folder(), "--port", taken]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(new RegExp(`^error ADDRESS_IN_USE: .*127\\.0\\.0\\.1:${taken}$`, "m"));
      expect(stderr).toContain("--port");
    }
    other.close();
  });

  it("with a folder that is a file, or a host that is not ours, says which", async () => {
    const file = fileWith("data", "");
    expect((await hodei(["dev", "--data", file, "--port", "0"])).stderr).toMatch(
      /INVALID_ARGUMENT: .*data folder.*EEXIST/,
    );
    const away = await hodei(["dev", "--data", folder(), "--port", "0", "--host", "192.0.2.1"]);
    expect(away.stderr).toMatch(/INVALID_ARGUMENT: cannot listen on 192\.0\.2\.1/);
  });
});

describe("after all of this", () => {
  it("the cluster serves, with no defect in its log", async () => {
    expect(await json("run", "good", "--wait")).toMatchObject({ state: "succeeded" });
    const lines = dev.stderr().split("\n").filter(Boolean);
    const grave = lines
      .map((line) => JSON.parse(line) as { level: number | string; msg?: string })
      .filter(({ level }) => level === "error" || level === "fatal" || Number(level) >= 50);
    expect(grave).toEqual([]);
  });
});
