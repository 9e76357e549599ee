import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, definitionFile, type Dev, hodei, hodeiJson, type Ran, startDev, stopDev, until } from "./harness.ts";

/** Versions as their author meets them: what may be published, what may go, and who stays on what. */
let dev: Dev;
const cli = (...args: string[]): Promise<Ran> => hodei(args, { address: dev.ready.address });
const json = <T>(...args: string[]): Promise<T> => hodeiJson<T>(args, dev.ready.address);
type Refusal = { code: string; message: string; hint?: string; violations?: { path: string; message: string }[] };
async function refused(...args: string[]): Promise<Refusal> {
  const { code, stdout, stderr } = await cli(...args, "-o", "json");
  expect({ code, stdout, stderr }).toMatchObject({ code: 1, stdout: "" });
  return JSON.parse(stderr) as Refusal;
}

const text = { type: "string" };
const spec = (says: string, more: object = {}): object => ({
  input: { type: "object", properties: { who: text } },
  steps: {
    hold: { wait: { signal: "go" } },
    say: { needs: ["hold"], run: `echo "says=${says}" >> "$HODEI_OUTPUT"` },
    ...more,
  },
  output: { says: "${{ steps.say.outputs.says }}" },
});
const V1 = (): string => definitionFile("story", "1.0.0", spec("one"));
const V11 = (): string => definitionFile("story", "1.1.0", spec("eleven", { more: { run: "true" } }));

beforeAll(async () => {
  dev = await startDev();
});

afterAll(async () => {
  await stopDev(dev);
  await cleanUp();
});

const waiting = (id: string): Promise<boolean> =>
  until(async () => (await dev.client.get(id)).steps.some(({ state }) => state === "waiting"));

describe("a new version", () => {
  it("is planned first: what changes, which bump that needs, who depends", async () => {
    expect((await cli("plan", V1())).stdout).toBe("story@1.0.0: create (first version)\n");
    await cli("apply", V1());
    expect((await cli("plan", V1())).stdout).toBe("story@1.0.0: unchanged, it is published already\n");
    expect(await json("plan", V11())).toMatchObject({
      action: "create",
      previousVersion: "1.0.0",
      requiredBump: "minor",
      actualBump: "minor",
      changes: [
        { bump: "patch", path: "spec.steps.say.run" },
        { bump: "minor", path: "spec.steps.more" },
      ],
      refusals: [],
    });
    expect(await json("get", "workflow", "story"), "a plan publishes nothing").toMatchObject([
      { versions: [{ version: "1.0.0" }] },
    ]);
  });

  it("leaves running executions on theirs; new ones follow the channel", async () => {
    await cli("run", "story", "--id", "pinned");
    await waiting("pinned");
    await cli("apply", V11());
    expect((await cli("promote", "story@1.1.0")).stdout).toBe("story stable → 1.1.0\n");
    await cli("run", "story", "--id", "newer");
    await cli("run", "story@~1.0", "--id", "by-range");
    await cli("run", "story@stable", "--id", "by-channel");
    for (const id of ["pinned", "newer", "by-range", "by-channel"]) {
      await waiting(id);
      await cli("signal", id, "go");
    }
    const of = async (id: string): Promise<unknown> => {
      const { version, output } = await json<{ version: string; output: { says: string } }>(
        "run",
        ...same(id),
        "--wait",
      );
      return [version, output.says];
    };
    const same = (id: string): string[] => [
      { "by-range": "story@~1.0", "by-channel": "story@stable" }[id] ?? "story",
      "--id",
      id,
    ];
    expect(await of("pinned")).toEqual(["1.0.0", "one"]);
    expect(await of("newer")).toEqual(["1.1.0", "eleven"]);
    expect(await of("by-range")).toEqual(["1.0.0", "one"]);
    expect(await of("by-channel")).toEqual(["1.1.0", "eleven"]);
  });

  it("rolls back by pointing the channel at an older one", async () => {
    expect((await cli("promote", "story", "1.0.0")).stdout).toBe("story stable → 1.0.0 (was 1.1.0)\n");
    expect(await json("run", "story", "--id", "rolled-back")).toMatchObject({ version: "1.0.0" });
    await cli("cancel", "rolled-back");
    await cli("promote", "story@1.1.0", "--channel", "canary");
    expect(await json("get", "workflow", "story")).toMatchObject([{ channels: { stable: "1.0.0", canary: "1.1.0" } }]);
    expect(await json("run", "story@canary", "--id", "canary")).toMatchObject({ version: "1.1.0" });
    await cli("cancel", "canary");
  });
});

describe("what is refused, with reasons", () => {
  it("another content under a published version", async () => {
    const other = await refused("apply", definitionFile("story", "1.0.0", spec("other")));
    expect(other.code).toBe("ALREADY_EXISTS");
    expect(other.message).toContain("story@1.0.0 is published already, with another content");
    expect(other.hint).toContain("1.1.0");
  });

  it("an under-bumped publish, with each change that needs more", async () => {
    const narrowed = {
      input: { type: "object", required: ["who"], properties: { who: text } },
      steps: { hold: { wait: { signal: "go" } } },
    };
    const file = definitionFile("story", "1.1.1", narrowed);
    const { code, message, violations = [] } = await refused("apply", file);
    expect(code).toBe("VERSION_UNDER_BUMPED");
    expect(message).toContain("needs a major one");
    const paths = violations.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(["spec.steps.say", "spec.output.says"]));
    expect(paths.join()).toContain("who");
    const plan = await cli("plan", file);
    expect(plan.code).toBe(1);
    expect(plan.stdout).toContain("story@1.1.1: refused (against 1.1.0)");
    expect(plan.stdout).toMatch(/major +spec\.steps\.say: /);
  });

  it("a version that is not newer than its line", async () => {
    await cli("apply", definitionFile("story", "1.1.5", spec("eleven", { more: { run: "true" } })));
    const { code, hint } = await refused(
      "apply",
      definitionFile("story", "1.1.3", spec("eleven", { more: { run: "true" } })),
    );
    expect(code).toBe("VERSION_NOT_NEWER");
    expect(hint).toContain("1.1.5");
  });

  it("a call of what is not published", async () => {
    const { code, stderr } = await cli(
      "apply",
      definitionFile("caller", "1.0.0", { steps: { call: { workflow: "story@^7" } } }),
    );
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/spec\.steps\.call.*story/);
  });

  it("a publish that breaks who accepts it", async () => {
    await cli("apply", definitionFile("base", "1.0.0", { steps: { a: { run: "true" } }, output: { v: "1" } }));
    const uses = { steps: { call: { workflow: "base@>=1" } }, output: { v: "${{ steps.call.outputs.v }}" } };
    expect(await cli("apply", definitionFile("user", "1.0.0", uses))).toMatchObject({ code: 0 });
    const { code, violations = [] } = await refused(
      "apply",
      definitionFile("base", "2.0.0", { steps: { a: { run: "true" } } }),
    );
    expect(code).toBe("DEPENDENT_BROKEN");
    expect(JSON.stringify(violations)).toContain("user");
  });

  it("deleting what a dependent, a channel or a running execution needs, each named", async () => {
    expect(JSON.stringify(await refused("delete", "base@1.0.0"))).toContain("workflow user@1.0.0");
    await cli("run", "story@1.0.0", "--id", "holder");
    await waiting("holder");
    const { code, violations = [] } = await refused("delete", "story@1.0.0");
    expect(code).toBe("STILL_NEEDED");
    expect(violations.map(({ path }) => path)).toEqual(expect.arrayContaining(["channel stable", "execution holder"]));
    await cli("promote", "story@1.1.5");
    await cli("signal", "holder", "go");
    await dev.client.wait("holder", { deadlineMs: 20_000 });
    expect(await cli("delete", "story@1.0.0")).toEqual({ code: 0, stdout: "story@1.0.0 deleted\n", stderr: "" });
    expect(await cli("delete", "workflow", "story", "1.0.0")).toMatchObject({ code: 4 });
    expect((await cli("get", "execution", "holder", "-o", "name")).stdout, "its record stays").toBe("holder\n");
  });
});
