import { afterAll, describe, expect, it } from "vitest";
import { VERSION } from "../../cmd/version.ts";
import { expectMatches } from "../schema.ts";
import { cleanUp, definitionFile, fileWith, hodei, MAIN, ROOT, run } from "./harness.ts";

/** What needs no cluster: help, completion, usage, lint, and a cluster that is not there. */
afterAll(cleanUp);

const COMMANDS =
  "version run submit apply plan lint promote delete get describe history logs events why cancel signal pause resume " +
  "retry engine dev worker completion";

describe("help", () => {
  it("names every command with a word about it", async () => {
    const { code, stdout, stderr } = await hodei(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of COMMANDS.split(" ")) expect(stdout).toMatch(new RegExp(`^  ${command}\\b.*  \\S`, "m"));
  });

  it.each(COMMANDS.split(" "))("of %s explains each of its arguments and flags", async (command) => {
    const { code, stdout } = await hodei([command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: hodei ${command}`));
    expect(stdout).toContain("\n  -o, --output <format>");
    const rows = stdout.split("\n").filter((line) => /^ {2}\S/.test(line));
    expect(rows.filter((row) => !/^ {2}\S.*? {2,}\S/.test(row))).toEqual([]);
  });

  it("is what a bare hodei gives, as a usage error", async () => {
    const { code, stdout, stderr } = await hodei([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^Usage: hodei /);
  });
});

describe("version", () => {
  it("is told alike by the command, the flag and npx in a checkout", async () => {
    const [command, flag, npx] = await Promise.all([
      hodei(["version"]),
      hodei(["--version"]),
      run("npx", ["hodei", "version"], { cwd: ROOT }),
    ]);
    expect(command).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" });
    expect(flag).toEqual(command);
    expect(npx).toMatchObject({ code: 0, stdout: `${VERSION}\n` });
    expect(JSON.parse((await hodei(["version", "-o", "json"])).stdout)).toEqual({ version: VERSION });
  });
});

describe("completion", () => {
  /** What bash offers at the end of these words. */
  async function offered(...words: string[]): Promise<string[]> {
    const { stdout: script } = await hodei(["completion", "bash"]);
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const ask = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _hodei; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { code, stdout, stderr } = await run("bash", ["-uc", `${script}\n${ask}`]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.split("\n").filter(Boolean);
  }

  it("offers commands, their flags, nouns and formats, and files elsewhere", async () => {
    expect(await offered("hodei", "")).toEqual(expect.arrayContaining(COMMANDS.split(" ")));
    expect(await offered("hodei", "de")).toEqual(["delete", "describe", "dev"]);
    expect(await offered("hodei", "run", "--in")).toEqual(["--input"]);
    expect(await offered("hodei", "get", "exe")).toEqual(["executions"]);
    expect(await offered("hodei", "get", "executions", "-o", "j")).toEqual(["json", "jsonl"]);
    expect(await offered("hodei", "apply", "package.j")).toEqual(["package.json"]);
  });

  it("is a script that the shells read", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { code, stdout } = await hodei(["completion", shell]);
      expect(code).toBe(0);
      expect(stdout).toContain("describe");
    }
    expect(await hodei(["completion", "tcsh"])).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("a wrong call exits with 2 and says so on stderr, as JSON where JSON was asked for", () => {
  it.each([
    "nonsense",
    "run",
    "run greet --nonsense",
    "run greet --input {no",
    "run greet --priority urgent",
    "run greet --label novalue",
    "get",
    "get nonsense",
    "get executions --state nonsense",
    "get executions --limit many",
    "get executions --limit 0",
    "get executions --since yesterday",
    "get executions --address nowhere",
    "describe nonsense x",
    "history",
    "history a b",
    "signal id go {no",
    "promote greet",
    "delete greet",
    "apply",
    "engine undrain x",
    "events --severity loud",
    "dev --port 99999",
    "dev --engines 0",
    "dev --workers many",
  ])("%s", async (line) => {
    const [json, words] = await Promise.all([hodei([...line.split(" "), "-o", "json"]), hodei(line.split(" "))]);
    expect({ code: json.code, stdout: json.stdout }).toEqual({ code: 2, stdout: "" });
    const error: unknown = JSON.parse(json.stderr);
    expectMatches("error", error);
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(words).toMatchObject({ code: 2, stdout: "" });
    expect(words.stderr).toMatch(/^error INVALID_ARGUMENT: \S/);
  });

  it("an unknown format too", async () => {
    expect(await hodei(["get", "executions", "-o", "xml"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("table, wide, json, jsonl, yaml, name") as string,
    });
  });
});

describe("where no cluster is", () => {
  it("the command says so, with 5 and what to do, under its own deadline", async () => {
    const { code, stdout, stderr } = await hodei(["get", "executions"], { address: "127.0.0.1:1,127.0.0.1:2" });
    expect({ code, stdout }).toEqual({ code: 5, stdout: "" });
    expect(stderr).toMatch(/^error UNAVAILABLE: 127\.0\.0\.1:[12] is not reachable: nothing listens there/);
    expect(stderr).toContain("hodei dev");
    const json = await hodei(["events", "-o", "json"], { address: "127.0.0.1:1" });
    expect(JSON.parse(json.stderr)).toMatchObject({
      code: "UNAVAILABLE",
      hint: expect.stringContaining("hodei dev") as string,
    });
  });

  it("flags win over the environment, and the environment over the settings file", async () => {
    const config = fileWith("config.yaml", "address: 127.0.0.1:1\n");
    const asked = async (args: string[], address?: string): Promise<string> =>
      (
        JSON.parse((await hodei(["get", "executions", "-o", "json", ...args], { address })).stderr) as {
          message: string;
        }
      ).message;
    expect(await asked(["--config", config])).toContain("127.0.0.1:1 ");
    expect(await asked(["--config", config], "127.0.0.1:2")).toContain("127.0.0.1:2 ");
    expect(await asked(["--config", config, "--address", "127.0.0.1:3"], "127.0.0.1:2")).toContain("127.0.0.1:3 ");
  });
});

describe("lint", () => {
  it("needs no cluster and reads YAML, JSON, modules and standard input", async () => {
    const module = `${ROOT}/examples/pipeline.ts`;
    const yaml = `${ROOT}/examples/greet.yaml`;
    const json = definitionFile("as-json", "2.0.0", { steps: { a: { run: "true" } } });
    const { code, stdout } = await hodei(["lint", module, yaml, json, "-o", "name"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "site@1.0.0\ngreet@1.0.0\nas-json@2.0.0\n" });
    const input =
      "apiVersion: hodei.dev/v1\nkind: Workflow\nmetadata: {name: piped, version: 1.0.0}\nspec: {steps: {a: {run: x}}}";
    expect((await hodei(["lint", "-", "-o", "name"], { input })).stdout).toBe("piped@1.0.0\n");
  });

  it("waits for a writer that is slower than the command starts", async () => {
    const line = `(sleep 1.5; cat ${ROOT}/examples/greet.yaml) | ${process.execPath} ${MAIN} lint - -o name`;
    expect(await run("sh", ["-c", line])).toMatchObject({ code: 0, stdout: "greet@1.0.0\n", stderr: "" });
  });

  it("says nothing but what is wrong when no file holds", async () => {
    const { stdout, stderr } = await hodei(["lint", fileWith("no-steps.yaml", "apiVersion: hodei.dev/v1\n")]);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^error INVALID_DEFINITION: /);
  });

  it("tells of every file that does not hold, with file and line, and of the good ones on stdout", async () => {
    const good = definitionFile("good", "1.0.0", { steps: { a: { run: "true" } } });
    const bad = definitionFile("bad", "1.0.0", { steps: { a: { run: "true", needs: ["nope"] } } });
    const worse = fileWith("worse.yaml", "a: [1\n");
    const { code, stdout, stderr } = await hodei(["lint", good, bad, worse, "-o", "name"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "good@1.0.0\n" });
    expect(stderr).toMatch(/bad\.yaml:\d+:\d+: spec\.steps\.a\.needs\[0\]: unknown step "nope"/);
    expect(stderr).toMatch(/worse\.yaml:\d+:\d+: /);
  });
});

describe("colours and pipes", () => {
  const failing = `${process.execPath} ${MAIN} get nonsense`;
  const ESCAPE = "\u001b[";

  it("a terminal gets colours unless NO_COLOR is set; a pipe gets none", async () => {
    const bare = `unset NO_COLOR; ${failing}`;
    const on = async (command: string): Promise<string> =>
      (await run("script", ["-qec", `sh -c '${command}'`, "/dev/null"], { env: { TERM: "xterm" } })).stdout;
    expect(await on(bare)).toContain(ESCAPE);
    expect(await on(`NO_COLOR=1; export NO_COLOR; ${failing}`)).not.toContain(ESCAPE);
    expect((await run("sh", ["-c", bare])).stderr).not.toContain(ESCAPE);
  });

  it("a reader that goes away ends the command quietly", async () => {
    const command = `${process.execPath} ${MAIN} --help; ${process.execPath} ${MAIN} completion bash | head -n 1`;
    const { code, stderr } = await run("sh", ["-c", command]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });
});
