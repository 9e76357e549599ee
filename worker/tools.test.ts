import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../base/log.ts";
import { findTools, toolLabels } from "./tools.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hodei-tools-"));
  mkdirSync(join(directory, "bin"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A tool that counts how often it was asked. */
function tool(name: string, script: string): void {
  const path = join(directory, "bin", name);
  writeFileSync(path, `#!/bin/sh\necho asked >> "${directory}/asked-${name}"\n${script}\n`);
  chmodSync(path, 0o755);
}

const asked = (name: string): number => readFileSync(join(directory, `asked-${name}`), "utf8").split("\n").length - 1;

const find = (): ReturnType<typeof findTools> =>
  findTools({
    env: { PATH: `${directory}/none:${directory}/bin` },
    cacheFile: join(directory, "cache", "tools.json"),
    logger: silentLogger,
  });

describe("tools", () => {
  const signal = new AbortController().signal;

  it("are offered by name at once, with their version once asked, and from then on without asking", async () => {
    tool("git", "echo 'git version 2.39.5 (x)'");
    tool("java", "echo 'openjdk version \"17.0.2\" 2022' >&2");
    tool("python3", "echo 'Python 3.11'");
    tool("make", "exit 3");
    const first = await find();
    expect(toolLabels(first.tools)).toEqual(["git", "python", "java", "make"]);
    const labels = ["git", "git@2.39.5", "python", "python@3.11.0", "java", "java@17.0.2", "make"];
    expect(toolLabels(await first.probe(signal))).toEqual(labels);
    const second = await find();
    expect(toolLabels(second.tools)).toEqual(labels);
    await second.probe(signal);
    expect([asked("git"), asked("make")]).toEqual([1, 1]);
  });

  it("are asked again when they have changed", async () => {
    tool("git", "echo 'git version 2.39.5'");
    await (await find()).probe(signal);
    tool("git", "echo 'git version 2.40.0 newer'");
    const changed = await find();
    expect(toolLabels(changed.tools)).toEqual(["git"]);
    expect(toolLabels(await changed.probe(signal))).toEqual(["git", "git@2.40.0"]);
  });

  it("a torn cache is made anew", async () => {
    tool("git", "echo 'git version 2.39.5'");
    mkdirSync(join(directory, "cache"));
    writeFileSync(join(directory, "cache", "tools.json"), "{torn");
    expect(toolLabels(await (await find()).probe(signal))).toEqual(["git", "git@2.39.5"]);
  });
});
