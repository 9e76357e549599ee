import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { shardOf } from "../../workflow/shard.ts";
import { cleanUp, type Dev, folder, remember, startDev, until } from "./harness.ts";
import { again, connected, ended, endsOf, expectOnce, killNow, lines, register, step, untilLines } from "./story.ts";

let dev: Dev;
beforeEach(async () => void (dev = await startDev()));
afterEach(cleanUp);

const FILE = { env: { FILE: "${{ input.file }}" } };
const PASS = { input: { file: "${{ input.file }}" } };
const MARK = 'echo "$HODEI_EXECUTION" >> "$FILE"\n';

/** Top, middle, leaf: each level has a sub-workflow, the leaf a step. */
async function threeLevels(leaf: object, more: object = {}): Promise<void> {
  await register(dev, "leaf", { steps: { work: leaf }, output: { depth: 3 } });
  await register(dev, "middle", {
    steps: { down: { workflow: "leaf", ...PASS } },
    output: { depth: "${{ steps.down.outputs.depth }}" },
  });
  await register(dev, "top", {
    steps: { down: { workflow: "middle", ...PASS, ...more } },
    ...("forEach" in more ? {} : { output: { depth: "${{ steps.down.outputs.depth }}" } }),
  });
}

/** An id whose execution, child and grandchild belong to three shards and not all to one engine. */
async function idAcrossEngines(): Promise<string> {
  const { shards } = await dev.client.call("cluster", "shards", {});
  const owner = new Map(shards.map((each) => [each.shard, each.owner]));
  for (let n = 0; ; n++) {
    const family = [`x${n}`, `x${n}/down/0`, `x${n}/down/0/down/0`];
    const owners = family.map((id) => owner.get(shardOf("default", id, shards.length)));
    if (new Set(owners).size === 3) return `x${n}`;
  }
}

describe("sub-workflows on other engines than their parents'", () => {
  it("three levels deep: the leaf's output comes up, and each child was started once", async () => {
    const file = join(folder(), "starts");
    await threeLevels(step(MARK, FILE));
    const id = await idAcrossEngines();
    await dev.client.start("top", { file }, { id });
    expect(await ended(dev, id)).toMatchObject({ state: "succeeded", outputJson: JSON.stringify({ depth: 3 }) });
    const family = [id, `${id}/down/0`, `${id}/down/0/down/0`];
    for (const each of family) await expectOnce(dev, each);
    const children = await dev.client.list({ parent: id });
    expect(children.executions.map((child) => child.id)).toEqual([`${id}/down/0`]);
    expect(lines(file)).toEqual([`${id}/down/0/down/0`]);
  });

  it("cancelling the top cancels all levels", async () => {
    const file = join(folder(), "starts");
    await threeLevels(step(`${MARK}sleep 600`, FILE));
    const id = await idAcrossEngines();
    await dev.client.start("top", { file }, { id });
    await untilLines(file, 1);
    await dev.client.cancel(id);
    for (const each of [id, `${id}/down/0`, `${id}/down/0/down/0`])
      expect(await ended(dev, each)).toMatchObject({ state: "cancelled" });
  });

  it("the failure of a leaf fails its parents, which say what failed", async () => {
    const file = join(folder(), "starts");
    await threeLevels(step(`${MARK}exit 7`, FILE));
    const id = await idAcrossEngines();
    await dev.client.start("top", { file }, { id });
    const view = await ended(dev, id);
    expect(view).toMatchObject({ state: "failed", error: { step: "down" } });
    expect(await dev.client.get(`${id}/down/0/down/0`)).toMatchObject({ state: "failed", error: { step: "work" } });
  });

  it("kill -9 in the middle: every child is started once per iteration and runs once", async () => {
    const file = join(folder(), "starts");
    const items = Array.from({ length: 12 }, (_, at) => at);
    await threeLevels(step(`${MARK}sleep 0.2`, FILE), { forEach: items });
    for (const { pid } of await connected(dev, 2)) remember(pid);
    const id = "many";
    await dev.client.start("top", { file }, { id });
    for (const started of [2, 6]) {
      await untilLines(file, started);
      await killNow(dev);
      dev = await again(dev);
    }
    expect(await ended(dev, id)).toMatchObject({ state: "succeeded" });
    const leaves = items.map((at) => `${id}/down/${at}/down/0`);
    expect(lines(file).toSorted()).toEqual(leaves.toSorted());
    const children = await dev.client.list({ parent: id });
    expect(children.executions.map((child) => child.id).toSorted()).toEqual(
      items.map((at) => `${id}/down/${at}`).toSorted(),
    );
    for (const each of [id, ...items.map((at) => `${id}/down/${at}`), ...leaves]) {
      const events = await expectOnce(dev, each);
      expect(endsOf(events)).toEqual(leaves.includes(each) ? ["succeeded"] : []);
    }
  }, 60_000);

  it("a parent that is cancelled while the cluster is away takes its children along", async () => {
    const file = join(folder(), "starts");
    await threeLevels(step(`${MARK}sleep 600`, FILE));
    for (const { pid } of await connected(dev, 2)) remember(pid);
    const id = await idAcrossEngines();
    await dev.client.start("top", { file }, { id });
    await untilLines(file, 1);
    await dev.client.cancel(id);
    await killNow(dev);
    dev = await again(dev);
    for (const each of [`${id}/down/0/down/0`, `${id}/down/0`, id])
      expect(await ended(dev, each)).toMatchObject({ state: "cancelled" });
    await until(async () => (await dev.client.list({ states: ["running"] })).executions.length === 0);
  });
});
