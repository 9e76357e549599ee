import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { alive, begin, cleanUp, fileWith, folder, hodei, type Ready, ROOT, run, until } from "./harness.ts";

/** What README.md tells people to type is typed here, as it stands there. */
const README = readFileSync(join(ROOT, "README.md"), "utf8");
const blocks = (language: string): string[] =>
  [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "gm"))].map(([, text = ""]) => text);
const commands = blocks("sh").flatMap((block) => block.trim().split("\n"));
/** Run as a whole elsewhere: these tests run within `npm test`, and the demo has its own. */
const ELSEWHERE = ["npm ci && npm run demo", "npm ci && npm test"];

afterAll(cleanUp);

describe("README.md", () => {
  it("names only commands that are run here or elsewhere", () => {
    const scripts = (
      JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: Record<string, string> }
    ).scripts;
    expect(commands.length).toBeGreaterThan(ELSEWHERE.length);
    expect(commands.filter((command) => !ELSEWHERE.includes(command) && !command.startsWith("npx hodei "))).toEqual([]);
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(["demo", "test"]));
  });

  it("its walk works from the first command to the last", async () => {
    const [first = "", ...rest] = commands.filter((command) => command.startsWith("npx hodei "));
    // The README's port and folder may be taken on the machine that tests: the command itself stays as it stands.
    const here = first.replace("--data .hodei", `--data ${folder()}`).replace(/ +#.*$/, " --port 0");
    expect(here).toMatch(/^npx hodei dev --data \S+ --port 0$/);
    const dev = begin("sh", ["-c", `exec ${here}`]);
    const ready = await until(() => dev.stdout().includes("\n") && (JSON.parse(dev.stdout()) as Ready));
    const ran = [];
    for (const command of rest) ran.push(await run("sh", ["-c", command], { env: { HODEI_ADDRESS: ready.address } }));
    for (const one of ran) expect(one).toMatchObject({ code: 0 });
    expect(ran.at(-1)?.stdout).toMatch(/^Output: +\{"text":"hello sea"\}$/m);
    // npx ends of the signal and leaves its child; the pipes close when that ends too.
    dev.kill("SIGTERM");
    expect((await dev.done).stderr).toContain("stopping");
    // Some milliseconds lie between its pipes and its place in the process table.
    await until(() => !alive(ready.engines[0]?.pid ?? 0));
  });

  it("shows the definition that examples/ holds", async () => {
    const [shown = ""] = blocks("yaml");
    expect((await hodei(["lint", fileWith("readme.yaml", shown), "-o", "name"])).stdout).toBe("greet@1.0.0\n");
    const example = readFileSync(join(ROOT, "examples/greet.yaml"), "utf8");
    expect(example.slice(example.indexOf("apiVersion"))).toBe(shown);
  });

  it("names commands that there are", async () => {
    const { stdout: help } = await hodei(["--help"]);
    const table = README.slice(README.indexOf("| command |"));
    const named = [...table.matchAll(/`hodei ([a-z|\\]+)/g)].flatMap(([, words = ""]) => words.split(/\\?\|/));
    expect(named.length).toBeGreaterThan(8);
    for (const command of named) expect(help).toMatch(new RegExp(`^  ${command}\\b`, "m"));
  });
});
