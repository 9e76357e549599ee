import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";

/**
 * The style of the house, as a test: who may import whom, no cycles, sizes, banned calls and words. Each rule is a
 * function from files to complaints, and each is shown a planted violation, so that a rule that went blind fails too.
 */
type File = { path: string; text: string };

const ROOT = join(import.meta.dirname, "..");
const ROOMS = ["base", "workflow", "store", "platform", "transport", "orchestrator", "engine", "worker", "sdk", "cmd"];

function sources(): File[] {
  const listed = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (listed.status !== 0) throw new Error(listed.stderr);
  return listed.stdout
    .split("\n")
    .filter((path) => path !== "" && !path.startsWith("proto/gen/"))
    .flatMap((path) => {
      const text = readIfPresent(join(ROOT, path));
      return text === undefined ? [] : [{ path, text }];
    });
}

/** A file that git still lists may have been deleted from the work tree. */
function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const isTest = (path: string): boolean =>
  path.endsWith(".test.ts") || path.endsWith("conformance.ts") || /^(test|bench|examples)\//.test(path);

/** Paths, from the root, of our own modules that a file imports. */
function imports(file: File): { path: string; typeOnly: boolean }[] {
  const found: { path: string; typeOnly: boolean }[] = [];
  for (const match of file.text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)"/gm)) {
    found.push({ path: normalize(join(dirname(file.path), match[2] ?? "")), typeOnly: match[1] !== undefined });
  }
  for (const match of file.text.matchAll(/\bimport\(\s*"(\.[^"]+)"/g)) {
    found.push({ path: normalize(join(dirname(file.path), match[1] ?? "")), typeOnly: false });
  }
  return found;
}

const PORTS = ["store/store.ts", "platform/platform.ts", "transport/transport.ts", "transport/discovery/discovery.ts"];
const isPort = (path: string): boolean => PORTS.includes(path) || path.startsWith("transport/api/");
const room = (path: string): string => path.split("/")[0] ?? "";

/** Whether `from` may import `to`; the table of the constitution's house, one case per row. */
function allowed(from: string, to: string): boolean {
  if (room(to) === "base") return room(from) !== "workflow";
  const own = room(from) === room(to);
  switch (room(from)) {
    case "base":
    case "proto":
    case "workflow":
      return own;
    case "store":
    case "platform":
    case "transport":
      if (room(to) === "workflow") return true;
      if (room(to) === "proto") return from.startsWith("transport/grpc/");
      if (room(to) === "kubernetes") return !isPort(from);
      return own && (!isPort(from) || isPort(to));
    case "orchestrator":
    case "engine":
    case "worker":
      return own || room(to) === "workflow" || isPort(to);
    case "sdk":
      return own || room(to) === "workflow" || to === "transport/transport.ts" || to.startsWith("transport/api/");
    default:
      return !ROOMS.includes(room(from)) || room(from) === "cmd";
  }
}

function layerComplaints(files: File[]): string[] {
  return files
    .filter((file) => !isTest(file.path))
    .flatMap((file) =>
      imports(file)
        .filter((to) => !allowed(file.path, to.path))
        .map((to) => `${file.path} may not import ${to.path}`),
    );
}

/** Cycles among value imports; a cycle of types alone costs nothing at run time. */
function cycleComplaints(files: File[]): string[] {
  const graph = new Map(
    files.map((file) => [
      file.path,
      imports(file)
        .filter((to) => !to.typeOnly)
        .map((to) => to.path),
    ]),
  );
  const done = new Set<string>();
  const complaints: string[] = [];
  const visit = (path: string, trail: string[]): void => {
    if (trail.includes(path)) return void complaints.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return complaints;
}

const LONGEST_FILE = 500;
const LONGEST_LINE = 160;

function sizeComplaints(files: File[]): string[] {
  return files.flatMap((file) => {
    const lines = file.text.split("\n");
    const long = lines.findIndex((line) => line.length > LONGEST_LINE && !/https?:\/\//.test(line));
    return [
      ...(lines.length - 1 > LONGEST_FILE && !isTest(file.path) ? [`${file.path} has ${lines.length - 1} lines`] : []),
      ...(long >= 0 && !isTest(file.path) ? [`${file.path}:${long + 1} is longer than ${LONGEST_LINE} columns`] : []),
    ];
  });
}

/** Calls that only `base` may make: time and randomness come from there. */
const BANNED_CALLS = [
  /\bDate\.now\(/,
  /\bnew Date\(\)/,
  /\bMath\.random\(/,
  /\bsetTimeout\(/,
  /\bsetInterval\(/,
  /\bsetImmediate\(/,
  /\bperformance\.now\(/,
  /\brandom(?:UUID|UUIDv7|Bytes|Int)\(/,
];
/** Of any source, tests included. */
const BANNED_ANYWHERE: [RegExp, string][] = [
  [/\b(?:TODO|FIXME|XXX)\b/, "unfinished work belongs in the issues"],
  [/\bas any\b|\w\??:\s*any\s*[;,)=>|\]]|<any>/, "no any"],
  [/\bas unknown as\b/, "no double casts"],
  [/\.(?:only|skip|todo)\(/, "no test is left out"],
  [/catch\s*(?:\([^)]*\)\s*)?\{\s*\}/, "no bare catch"],
  [/^\s*(?:export\s+)?(?:const\s+)?enum\s/m, "no enum"],
  [/^\s*(?:export\s+)?namespace\s+\w+\s*\{/m, "no namespace"],
  [/^export default\b/m, "no default export"],
  [/^export \* from/m, "no barrels"],
];
const BANNED_NAMES = /\b(?:class|function|type|interface|const)\s+\w*(?:Manager|Processor|Helper|Utils?|Impl)\b(?!s)/;
const BANNED_FILES = /(?:^|\/)(?:utils?|helpers?|common|types|interfaces|misc|index|manager)\.ts$/;

function wordComplaints(files: File[]): string[] {
  const complaints: string[] = [];
  for (const file of files) {
    if (file.path === "test/tidy.test.ts") continue;
    const code = withoutComments(file.text);
    const isConfig = file.path.endsWith(".config.ts");
    for (const [pattern, why] of BANNED_ANYWHERE)
      if (!isConfig && pattern.test(file.text))
        complaints.push(`${file.path}: ${why} (${pattern.exec(file.text)?.[0].trim()})`);
    if (BANNED_FILES.test(file.path)) complaints.push(`${file.path}: a name that says nothing`);
    if (isTest(file.path)) continue;
    const name = BANNED_NAMES.exec(code);
    if (name) complaints.push(`${file.path}: ${name[0]}`);
    if (room(file.path) !== "base") {
      for (const call of BANNED_CALLS)
        if (call.test(code)) complaints.push(`${file.path}: ${call.exec(code)?.[0]} belongs to base`);
    }
    if (/\bprocess\.env\b/.test(code) && file.path !== "cmd/config.ts")
      complaints.push(`${file.path}: process.env is read in cmd/config.ts alone`);
  }
  return complaints;
}

const withoutComments = (text: string): string =>
  text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");

describe("the house is tidy", () => {
  const files = sources();

  it("sees the sources", () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.map((file) => file.path)).toContain("workflow/definition.ts");
  });

  it("keeps its layers", () => expect(layerComplaints(files)).toEqual([]));
  it("has no import cycles", () => expect(cycleComplaints(files)).toEqual([]));
  it("keeps files and lines short", () => expect(sizeComplaints(files)).toEqual([]));
  it("keeps time, randomness and words in their places", () => expect(wordComplaints(files)).toEqual([]));
});

describe("each rule sees a planted violation", () => {
  const file = (path: string, text: string): File[] => [{ path, text }];

  it.each([
    ["workflow/x.ts", "../base/clock.ts"],
    ["base/x.ts", "../workflow/json.ts"],
    ["store/store.ts", "./memory.ts"],
    ["transport/local.ts", "../proto/gen/x.ts"],
    ["engine/x.ts", "../orchestrator/ring.ts"],
    ["engine/x.ts", "../store/memory.ts"],
    ["worker/x.ts", "../transport/grpc/client.ts"],
    ["sdk/x.ts", "../worker/worker.ts"],
  ])("%s may not import %s", (path, to) => {
    expect(layerComplaints(file(path, `import { a } from "${to}";\n`))).toHaveLength(1);
    expect(layerComplaints(file(path, `import type {\n  A,\n} from "${to}";\n`))).toHaveLength(1);
  });

  it("a cycle", () => {
    const pair = [...file("a/x.ts", 'import { b } from "./y.ts";'), ...file("a/y.ts", 'import { a } from "./x.ts";')];
    expect(cycleComplaints(pair)).toEqual(["a/x.ts → a/y.ts → a/x.ts"]);
  });

  it("a long file", () => expect(sizeComplaints(file("engine/x.ts", "\n".repeat(501)))).toHaveLength(1));

  it.each([
    "Date.now()",
    "Math.random()",
    "setTimeout(f, 1)",
    "new Date()",
    "randomUUID()",
    "class JobManager {}",
    "let x: any;",
    "try { f() } catch {}",
    "process.env.HOME",
    "// FIXME",
  ])("%s", (text) => {
    expect(wordComplaints(file("engine/x.ts", text))).toHaveLength(1);
  });

  it("a long function, by the lint rule", () => {
    const folder = mkdtempSync(join(tmpdir(), "hodei-tidy-"));
    try {
      writeFileSync(
        join(folder, "long.ts"),
        `export function long(): number {\n${"  g();\n".repeat(80)}  return 1;\n}\n`,
      );
      const lint = spawnSync(
        process.execPath,
        [join(ROOT, "node_modules/oxlint/bin/oxlint"), "-c", join(ROOT, ".oxlintrc.json"), folder],
        { cwd: ROOT, encoding: "utf8" },
      );
      expect(lint.status).not.toBe(0);
      expect(lint.stdout).toContain("max-lines-per-function");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
