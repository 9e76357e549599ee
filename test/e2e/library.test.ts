import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import {
  createOrchestrator,
  defineHandler,
  defineWorkflow,
  type EmbeddedOptions,
  type EmbeddedOrchestrator,
  HodeiWorker,
} from "../../cmd/package.ts";
import { cleanUp, folder, ROOT, run } from "./harness.ts";

const open = new Set<EmbeddedOrchestrator>();
async function started(options: EmbeddedOptions = {}): Promise<EmbeddedOrchestrator> {
  const hodei = await createOrchestrator({ workers: 0, ...options });
  open.add(hodei);
  return hodei;
}

afterEach(async () => {
  for (const hodei of open) await hodei.stop();
  open.clear();
  await cleanUp();
});

const OBJECT = { type: "object" } as const;
const echo = defineHandler("echo", OBJECT, (input) => input);
const echoed = defineWorkflow({
  name: "echoed",
  version: "1.0.0",
  input: { type: "object", required: ["text"], properties: { text: { type: "string" } } },
  steps: ({ task, input }) => {
    task("echo", echo, { input: { text: input.text } });
    return { text: input.text };
  },
});

describe("the usage example, under plain Node", () => {
  it("prices, greets, waits for a signal, shows a failure, and ends by itself with no process left", async () => {
    const mark = `HODEI_LIBRARY_TEST_${process.pid}`;
    const ran = await run(process.execPath, [join(ROOT, "examples/library/usage.ts")], { env: { [mark]: "1" } });
    expect(ran.stderr).toBe("");
    expect(
      ran.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { small: { receipt: "hello sea: 5.00" } },
      { receipt: "HELLO SKY: 22.50" },
      { failed: "priced", code: "JOB_FAILED" },
    ]);
    expect(ran.code).toBe(0);
    // Workers inherit the environment of the program that started them, and so the mark.
    expect(processesWith(mark)).toEqual([]);
  });

  it("leaves no timer and no socket after stop, whether or not anything ran", async () => {
    const library = pathToFileURL(join(ROOT, "cmd/package.ts")).href;
    const program = `
      import { createOrchestrator, HodeiWorker } from ${JSON.stringify(library)};
      const before = process.getActiveResourcesInfo().sort();
      const hodei = await createOrchestrator();
      const worker = new HodeiWorker({ engines: hodei.engines });
      await worker.start();
      await Promise.all([worker.stop(), worker.stop()]);
      await Promise.all([hodei.stop(), hodei.stop()]);
      // What was closed or killed leaves the list some turns later; a timer that goes on would stay in it.
      let after;
      for (let turn = 0; turn < 100_000; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        after = process.getActiveResourcesInfo().sort();
        if (String(after) === String(before)) break;
      }
      console.log(JSON.stringify({ before, after }));`;
    const ran = await run(process.execPath, ["--input-type=module", "--eval", program]);
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    const { before, after } = JSON.parse(ran.stdout) as { before: string[]; after: string[] };
    expect(after).toEqual(before);
  });
});

describe("createOrchestrator", () => {
  it.each<[string, object, string]>([
    ["engines", { engines: 0 }, "option engines is 0, not a whole number from 1 to 64"],
    ["engines", { engines: "two" }, 'option engines is "two", not a whole number'],
    ["workers", { workers: -1 }, "option workers is -1"],
    ["port", { port: 99_999 }, "option port is 99999, not a whole number from 0 to 65535"],
    ["data", { data: 5 }, "option data is 5, not a text"],
    ["labels", { labels: "linux" }, 'option labels is "linux", not a list of texts'],
    ["loadBalancer", { loadBalancer: "random" }, 'not "consistent-hash" or "round-robin"'],
    ["logger", { logger: () => undefined }, "option logger is function, not a logger"],
    ["dir", { dir: "x" }, "createOrchestrator has no option dir"],
  ])("refuses a wrong %s by name, before anything starts: %j", async (field, options, message) => {
    const error = await createOrchestrator(options).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", field, message: expect.stringContaining(message) });
  });

  it("keeps what it was told in its data folder, over a stop", async () => {
    const data = folder();
    const first = await started({ data });
    const worker = new HodeiWorker({ engines: first.engines }).handle(echo);
    await worker.start();
    await first.client.register(echoed);
    expect(await first.client.execute(echoed, { text: "kept" }, { id: "one" })).toEqual({ text: "kept" });
    await worker.stop();
    await first.stop();

    const second = await started({ data });
    expect(await second.client.get("one")).toMatchObject({ state: "succeeded", workflow: "echoed" });
    expect(await second.client.result("one")).toEqual({ text: "kept" });
    expect(second.address).toBe(first.address);
  });

  it("refuses a data folder that another cluster holds", async () => {
    const data = folder();
    await started({ data });
    await expect(started({ data })).rejects.toMatchObject({ code: "DATA_IN_USE" });
  });
});

describe("HodeiWorker", () => {
  it("runs a typed handler with its input checked, and the context of its step", async () => {
    const hodei = await started();
    const seen: { step: string; attempt: number; key: string }[] = [];
    const worker = new HodeiWorker({ engines: hodei.engines });
    worker.handle(
      "measure",
      { type: "object", required: ["text"], properties: { text: { type: "string" } } },
      async ({ text }, { step, attempt, idempotencyKey }) => {
        seen.push({ step, attempt, key: idempotencyKey });
        return { length: text.length };
      },
    );
    await worker.start();
    const measure = (input: unknown) => ({
      apiVersion: "hodei.dev/v1" as const,
      kind: "Workflow" as const,
      metadata: { name: "measure", version: "1.0.0" },
      spec: {
        input: { type: "object" },
        steps: { m: { task: "measure", input: input as string } },
        output: { length: "${{ steps.m.outputs.length }}" },
      },
    });
    await hodei.client.register(measure("${{ input }}"));
    expect(await hodei.client.execute("measure", { text: "four" })).toEqual({ length: 4 });
    const wrong = await hodei.client.execute("measure", { text: 4 }).catch((error: unknown) => error);
    expect(wrong).toMatchObject({ name: "ExecutionFailed", code: "JOB_FAILED", view: { error: { step: "m" } } });
    expect((wrong as Error).message).toContain("handler measure: input.text must be a string, not 4");
    expect(seen).toEqual([{ step: "m", attempt: 1, key: expect.stringMatching(/\/m\/0$/) }]);
    await worker.stop();
  });

  it.each<[string, () => unknown, object]>([
    ["no engines", () => new HodeiWorker({ engines: [] }), { field: "engines" }],
    ["a bad address", () => new HodeiWorker({ engines: "localhost" }), { field: "engines" }],
    ["a handler twice", () => fresh().handle(echo).handle(echo), { message: "handler echo is there already" }],
    ["a function alone", () => fresh().handle((() => 1) as never), { field: "handler" }],
    ["no schema", () => fresh().handle("x", undefined as never, () => 1), { field: "input" }],
    ["a wrong schema", () => fresh().handle("x", { type: "text" } as never, () => 1), { field: "input" }],
  ])("refuses %s", (_, wrong, expected) => {
    let error: unknown;
    try {
      wrong();
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", ...expected });
  });

  it("refuses a handler that comes after start, and a second start", async () => {
    const hodei = await started();
    const worker = new HodeiWorker({ engines: hodei.engines });
    await worker.start();
    expect(() => worker.handle(echo)).toThrow("handler echo comes after start");
    await expect(worker.start()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await worker.stop();
  });

  it("says that no engine has welcomed it, when none is there", async () => {
    const worker = new HodeiWorker({ engines: "127.0.0.1:9", startMs: 100 });
    await expect(worker.start()).rejects.toMatchObject({ code: "UNAVAILABLE", field: "engines" });
  });

  it("stops although a handler does not end, once stopMs is over", async () => {
    const hodei = await started();
    const begun = Promise.withResolvers<AbortSignal>();
    const worker = new HodeiWorker({ engines: hodei.engines, stopMs: 10 });
    worker.handle("endless", OBJECT, (_, { signal }) => {
      begun.resolve(signal);
      return new Promise(() => undefined);
    });
    await worker.start();
    const source = { name: "endless", version: "1.0.0", steps: { e: { task: "endless" } } };
    await hodei.client.register({
      apiVersion: "hodei.dev/v1",
      kind: "Workflow",
      metadata: { name: source.name, version: source.version },
      spec: { steps: source.steps },
    });
    await hodei.client.start("endless");
    const signal = await begun.promise;
    await worker.stop();
    expect(signal.aborted).toBe(true);
  });
});

describe("HodeiClient", () => {
  it("names what it does not find, and what does not fit", async () => {
    const { client } = await started();
    await expect(client.get("nobody")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.execute("nothing")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.register("echoed", "2.0.0", () => echoed)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "registered as echoed@2.0.0, but the definition says echoed@1.0.0",
    });
    await client.register(echoed);
    await expect(client.execute("echoed", { text: 1 })).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await client.start(echoed, { text: "a" }, { id: "twice" });
    await expect(client.start(echoed, { text: "b" }, { id: "twice" })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    });
    expect(await client.start(echoed, { text: "a" }, { id: "twice" })).toMatchObject({ id: "twice", created: false });
  });
});

function fresh(): HodeiWorker {
  return new HodeiWorker({ engines: "127.0.0.1:9" });
}

/** Ids of live processes whose environment holds `name`. */
function processesWith(name: string): string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`${name}=`);
      } catch {
        return false; // ended meanwhile, or another user's
      }
    });
}
