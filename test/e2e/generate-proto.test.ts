import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const SOURCES = ["proto", "buf.yaml", "buf.gen.yaml", "generate-proto.sh"];

describe("generate-proto.sh --verify", () => {
  let copy = "";
  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), "hodei-proto-"));
    symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  });
  beforeEach(() => {
    rmSync(join(copy, "proto"), { recursive: true, force: true });
    for (const source of SOURCES) cpSync(join(ROOT, source), join(copy, source), { recursive: true });
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  const run = (...args: string[]) =>
    spawnSync("./generate-proto.sh", args, { cwd: copy, encoding: "utf8", env: { PATH: "/usr/bin:/bin", HOME: copy } });
  const edit = (path: string, from: string, to: string): void => {
    const file = join(copy, path);
    const text = readFileSync(file, "utf8");
    expect(text).toContain(from);
    writeFileSync(file, text.replace(from, to));
  };
  const everything = (result: ReturnType<typeof run>): string => result.stdout + result.stderr;

  it("passes on what is committed, without a Node of the machine's own", () => {
    const result = run("--verify");
    expect(everything(result)).toBe("");
    expect(result.status).toBe(0);
  });

  it("fails with the difference when generated code was edited", () => {
    edit("proto/gen/hodei/v1/job.ts", "Priority", "Prioritaet");
    const result = run("--verify");
    expect(result.status).toBe(1);
    expect(everything(result)).toContain("Prioritaet");
  });

  it("fails when a source changed and was not generated, and a plain run mends it", () => {
    edit("proto/hodei/v1/job.proto", "message Lost {", "message Lost {\n  int32 times = 2;");
    expect(run("--verify").status).toBe(1);
    expect(everything(run())).toBe("");
    expect(everything(run("--verify"))).toBe("");
  });

  it("fails when clients of the baseline would break, until that is accepted", () => {
    edit("proto/hodei/v1/job.proto", "message Lost {\n  string reason = 1;", "message Lost {\n  int64 reason = 1;");
    run();
    const result = run("--verify");
    expect(result.status).not.toBe(0);
    expect(everything(result)).toContain("changed type");
    run("--accept-breaking");
    expect(everything(run("--verify"))).toBe("");
  });

  it("fails on what buf's lint refuses", () => {
    edit("proto/hodei/v1/job.proto", "message Lost {", "message lost_one {}\nmessage Lost {");
    run();
    const result = run("--verify");
    expect(result.status).not.toBe(0);
    expect(everything(result)).toContain("PascalCase");
  });
});
