import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, folder, ROOT, startDev, until } from "./harness.ts";
import { connected, ended, historyOf, lines, ofType, register, step, workers } from "./story.ts";

afterEach(cleanUp);

/** Resident memory in MiB: now, or the most there ever was. */
function memoryOf(pid: number, what: "VmRSS" | "VmHWM"): number {
  const found = new RegExp(`${what}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1]) / 1024;
}

function handlers(): string {
  const file = join(folder(), "handlers.ts");
  const source = `import { defineHandler } from ${JSON.stringify(join(ROOT, "cmd/package.ts"))};
export const nothing = defineHandler("nothing", { type: "object" }, async () => ({ done: true }));
`;
  writeFileSync(file, source);
  return file;
}

describe("a 10,000-way forEach", () => {
  it("completes, each iteration once, and the cluster's memory stays bounded", async () => {
    const dev = await startDev({ args: ["--port", "0", "--handlers", handlers()], env: { HODEI_LOG_LEVEL: "warn" } });
    await register(dev, "fan", {
      input: { type: "object", properties: { items: { type: "array", items: { type: "integer" } } } },
      steps: {
        each: { task: "nothing", forEach: "${{ input.items }}", agent: { cpu: "1m", memory: "1Mi" } },
      },
    });
    await connected(dev, 2);
    const before = memoryOf(dev.pid, "VmRSS");
    const items = Array.from({ length: 10_000 }, (_, at) => at);
    await dev.client.start("fan", { items }, { id: "x1" });
    expect((await ended(dev, "x1")).state).toBe("succeeded");
    const ends = ofType(await historyOf(dev, "x1"), "attemptEnded").map(({ iteration }) => iteration);
    expect(ends).toHaveLength(10_000);
    expect(new Set(ends).size).toBe(10_000);
    expect(memoryOf(dev.pid, "VmHWM") - before).toBeLessThan(400);
  }, 120_000);
});

describe("a flood of output", () => {
  it("is cut off with a mark; what is kept is in order, and the cluster's memory stays bounded", async () => {
    const dev = await startDev();
    // 50 MB in numbered lines, as fast as it goes.
    await register(dev, "flood", {
      steps: { a: step("seq -f '%08.0f 0123456789012345678901234567890123456789' 1 1000000") },
    });
    await connected(dev, 2);
    const before = memoryOf(dev.pid, "VmRSS");
    await dev.client.start("flood", {}, { id: "x1" });
    expect((await ended(dev, "x1")).state).toBe("succeeded");
    expect(memoryOf(dev.pid, "VmHWM") - before).toBeLessThan(200);
    let text = "";
    let dropped = 0;
    for await (const chunk of dev.client.logs("x1")) {
      text += Buffer.from(chunk.data).toString();
      dropped += chunk.dropped;
    }
    const numbers = text.split("\n").flatMap((line) => (/^\d{8} /.test(line) ? [Number(line.slice(0, 8))] : []));
    expect(numbers.length).toBeGreaterThan(10_000);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(numbers[0]).toBe(1);
    // Nothing is missing silently: what was kept and what was dropped is all there was.
    expect(text.length + dropped).toBe(1_000_000 * 50);
  }, 60_000);
});

describe("workspaces", () => {
  it("an ephemeral worker lives until its workspace is released, and is gone afterwards", async () => {
    const file = join(folder(), "go");
    const dev = await startDev();
    const agent = { ephemeral: true, cpu: "50m", memory: "16Mi" };
    await register(dev, "shared", {
      agent,
      workspace: "w",
      steps: {
        a: { run: "echo from-a > left" },
        b: { run: 'echo "left=$(cat left)" >> "$HODEI_OUTPUT"', needs: ["a"] },
        c: { run: `until [ -e ${file} ]; do sleep 0.05; done; cat left`, needs: ["a"] },
      },
      output: { left: "${{ steps.b.outputs.left }}" },
    });
    await dev.client.start("shared", {}, { id: "x1" });
    const mine = await until(async () => (await workers(dev)).find(({ ephemeral }) => ephemeral));
    await until(async () => (await dev.client.get("x1")).steps.find(({ id }) => id === "b")?.state === "succeeded");
    expect((await workers(dev)).filter(({ ephemeral }) => ephemeral).map(({ id }) => id)).toEqual([mine.id]);
    writeFileSync(file, "");
    const view = await ended(dev, "x1");
    expect(view).toMatchObject({ state: "succeeded", outputJson: JSON.stringify({ left: "from-a" }) });
    expect(view.steps.map(({ worker }) => worker)).toEqual([mine.id, mine.id, mine.id]);
    await until(async () => (await workers(dev)).every(({ ephemeral }) => !ephemeral));
  });

  it.each([
    { onLost: "retry", state: "failed", starts: ["a", "b"], code: "WORKSPACE_LOST" },
    { onLost: "rerun", state: "succeeded", starts: ["a", "b", "a", "b"], code: undefined },
  ])("with onLost: $onLost a workspace lost with its worker ends the execution as $state", async (expected) => {
    const file = join(folder(), "starts");
    const dev = await startDev();
    const mark = `echo $HODEI_STEP >> ${file}\n`;
    await register(dev, "lost", {
      workspace: "w",
      steps: {
        a: step(`${mark}echo made > made`, { onLost: expected.onLost }),
        b: step(`${mark}cat made; [ $(grep -c b ${file}) -gt 1 ] || sleep 600`, {
          needs: ["a"],
          onLost: expected.onLost,
        }),
      },
    });
    await connected(dev, 2);
    await dev.client.start("lost", {}, { id: "x1" });
    await until(() => lines(file).length === 2);
    const { pid } = await until(async () => (await workers(dev)).find(({ jobs }) => jobs.length > 0));
    process.kill(pid, "SIGKILL");
    const view = await ended(dev, "x1");
    expect({ state: view.state, code: view.error?.code }).toEqual({ state: expected.state, code: expected.code });
    expect(lines(file)).toEqual(expected.starts);
  });
});
