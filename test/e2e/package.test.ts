import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, folder, ROOT, type Ran, run } from "./harness.ts";

/** The package as a stranger gets it: packed, installed into an empty project, used from JavaScript and TypeScript. */
const MOST_PACKED_BYTES = 600_000;
const OFFLINE = ["--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"];

type Packed = { filename: string; size: number; files: { path: string }[] };
let packed: Packed;
let project: string;

beforeAll(async () => {
  project = folder();
  packed = packedOf(await npm(["pack", "--json", "--pack-destination", project], ROOT));
  write("package.json", JSON.stringify({ name: "consumer", version: "1.0.0", private: true, type: "module" }));
  await npm(["install", `./${packed.filename}`, ...OFFLINE], project);
}, 240_000);
afterAll(cleanUp);

describe("the packed package", () => {
  it("holds what runs and its types, no test, no source and nothing that only a checkout needs", () => {
    const paths = packed.files.map(({ path }) => path);
    const outside = paths.filter((path) => !path.startsWith("dist/")).toSorted();
    expect(outside).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "cmd/hodei.js", "package.json"]);
    const wrong =
      /conformance|fixture|arbitrary|\.test\.|random-commands|dist\/(test|bench|examples)\/|(?<!\.d)\.ts$|\.map$/;
    expect(paths.filter((path) => wrong.test(path))).toEqual([]);
    expect(paths).toEqual(expect.arrayContaining(["dist/cmd/package.js", "dist/cmd/main.js", "dist/cmd/worker.js"]));
    expect(packed.size).toBeLessThan(MOST_PACKED_BYTES);
  });

  it("brings no Node, no build tool and nothing of its checkout's workspace", () => {
    const modules = readdirSync(join(project, "node_modules"));
    expect(modules.filter((name) => /^(node|node-.*|typescript|vitest|esbuild|@hodei)$/.test(name))).toEqual([]);
    expect(readdirSync(join(project, "node_modules/.bin"))).not.toContain("node");
    expect(existsSync(join(project, "node_modules/hodei/node_modules"))).toBe(false);
  });

  it("gives the command", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    expect(await inProject("npx", ["--no-install", "hodei", "version"])).toMatchObject({
      code: 0,
      stdout: `${version}\n`,
    });
    write("greet.yaml", readFileSync(join(ROOT, "examples/greet.yaml"), "utf8"));
    expect(await inProject("npx", ["--no-install", "hodei", "lint", "greet.yaml"])).toMatchObject({ code: 0 });
  });

  it("runs a cluster from plain JavaScript, on worker processes of its own", async () => {
    write("main.js", JAVASCRIPT);
    const ran = await inProject(process.execPath, ["main.js"]);
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    const { output, worker } = JSON.parse(ran.stdout) as { output: object; worker: string };
    expect(output).toEqual({ text: "hello sea" });
    expect(worker).toContain("node_modules/hodei/dist/cmd/worker.js");
  });

  it("is there for require as well", async () => {
    write("main.cjs", `console.log(typeof require("hodei").createOrchestrator);`);
    expect(await inProject(process.execPath, ["main.cjs"])).toMatchObject({ code: 0, stdout: "function\n" });
  });

  it("is closed: only what the entry exports can be imported", async () => {
    write("inner.js", `import "hodei/dist/sdk/client.js";`);
    const ran = await inProject(process.execPath, ["inner.js"]);
    expect(ran.stderr).toContain("ERR_PACKAGE_PATH_NOT_EXPORTED");
  });
});

describe("its types, with every declaration checked", () => {
  it.each([
    ["a strict project on Node's types", { types: ["node"], lib: ["es2024"], exactOptionalPropertyTypes: true }],
    ["a project without Node's types", { types: [] }],
  ])("infer inputs and outputs in %s", async (_, options) => {
    write("main.ts", TYPESCRIPT);
    const compilerOptions = { strict: true, noEmit: true, module: "nodenext", target: "es2024", skipLibCheck: false };
    write("tsconfig.json", JSON.stringify({ compilerOptions: { ...compilerOptions, ...options }, files: ["main.ts"] }));
    const checked = await inProject(join(ROOT, "node_modules/.bin/tsc"), ["-p", "."]);
    expect(checked).toMatchObject({ code: 0, stdout: "" });
  });

  it("and the same file runs as it is", async () => {
    write("main.ts", TYPESCRIPT);
    const ran = await inProject(process.execPath, ["main.ts"]);
    expect(ran).toMatchObject({ code: 0, stdout: '{"url":"https://images.example/8","text":"hello sea"}\n' });
  });

  it("fit the library example", async () => {
    const example = readFileSync(join(ROOT, "examples/library/usage.ts"), "utf8").replace(
      "../../cmd/package.ts",
      "hodei",
    );
    write("usage.ts", example);
    const ran = await inProject(process.execPath, ["usage.ts"]);
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout.trim().split("\n")).toHaveLength(3);
  });
});

async function npm(args: string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run("npm", args, { cwd });
  if (code !== 0) throw new Error(`npm ${args.join(" ")} ended with ${code}:\n${stderr}${stdout}`);
  return stdout;
}

function write(name: string, text: string): void {
  writeFileSync(join(project, name), text);
}

/** Under the Node that runs the tests, whichever one the shell would find. */
function inProject(command: string, args: string[]): Promise<Ran> {
  const path = `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`;
  return run(command, args, { cwd: project, env: { PATH: path } });
}

/** The JSON after the words of the build; by name in newer npm, a list in older. */
function packedOf(stdout: string): Packed {
  const parsed = JSON.parse(stdout.slice(stdout.search(/^[[{]/m))) as Packed[] | Record<string, Packed>;
  const [first] = Object.values(parsed);
  if (first === undefined) throw new Error(`npm pack said nothing:\n${stdout}`);
  return first;
}

const JAVASCRIPT = `
import { readFileSync } from "node:fs";
import { createOrchestrator, defineWorkflow } from "hodei";

const hodei = await createOrchestrator();
const greet = defineWorkflow({
  name: "greet",
  version: "1.0.0",
  input: { type: "object", required: ["who"], properties: { who: { type: "string" } } },
  steps: ({ input, run }) => {
    const script = 'echo "text=hello $WHO" >> "$HODEI_OUTPUT"; echo "worker=$PPID" >> "$HODEI_OUTPUT"';
    const hello = run("hello", { script, env: { WHO: input.who }, outputs: ["text", "worker"] });
    return { text: hello.outputs.text, worker: hello.outputs.worker };
  },
});
await hodei.client.register("greet", "1.0.0", () => greet);
const { worker, ...output } = await hodei.client.execute("greet", { who: "sea" });
console.log(JSON.stringify({ output, worker: readFileSync("/proc/" + worker + "/cmdline", "utf8") }));
await hodei.stop();
`;

const TYPESCRIPT = `
import {
  createOrchestrator, defineHandler, defineWorkflow, type EmbeddedOptions, ExecutionFailed, type FromSchema, HodeiClient,
  HodeiError, HodeiWorker, type HodeiWorkerOptions, pipeline, sh, stage, type Workflow,
} from "hodei";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

const resize = defineHandler(
  "resize",
  { type: "object", required: ["width"], properties: { width: { type: "integer" } } },
  ({ width }) => ({ url: \`https://images.example/\${width}\`, size: width * 2 }),
);
const greet = defineWorkflow({
  name: "greet",
  version: "1.0.0",
  input: { type: "object", required: ["who"], properties: { who: { type: "string" }, times: { type: "integer" } } },
  steps: ({ input, run }) => {
    const hello = run("hello", {
      script: 'echo "text=hello $WHO" >> "$HODEI_OUTPUT"',
      env: { WHO: input.who },
      outputs: ["text"],
    });
    return { text: hello.outputs.text };
  },
});
const parent = defineWorkflow({
  name: "parent",
  version: "1.0.0",
  steps: ({ task, workflow }) => {
    const image = task("image", resize, { input: { width: 8 } });
    const child = workflow("child", greet, { input: { who: "sea" } });
    // @ts-expect-error the child's input is { who: string }
    void (() => workflow("wrong", greet, { input: { who: 3 } }));
    // @ts-expect-error the handler gives no such output
    void image.outputs.nothing;
    return { url: image.outputs.url, text: child.outputs.text };
  },
});
const inferred: Same<typeof greet, Workflow<{ who: string; times?: number }, { text: string }>> = true;
const given: Same<Awaited<ReturnType<typeof outputs>>, { url: string; text: string }> = true;
const schema: Same<FromSchema<{ readonly type: "array"; readonly items: { readonly type: "boolean" } }>, boolean[]> = true;
void [inferred, given, schema, pipeline, sh, stage, ExecutionFailed, HodeiError];
function outputs(client: HodeiClient) {
  return client.execute(parent, {});
}

const options: EmbeddedOptions = { workers: 1 };
const hodei = await createOrchestrator(options);
const workerOptions: HodeiWorkerOptions = { engines: hodei.engines };
const worker = new HodeiWorker(workerOptions).handle(resize);
worker.handle("typed", { type: "object", required: ["a"], properties: { a: { type: "string" } } }, async ({ a }, context) => {
  context.log(a.toUpperCase());
  return {};
});
await worker.start();
await hodei.client.register(greet);
await hodei.client.register(parent);
const client = new HodeiClient({ address: hodei.address });
const started = await client.start(parent, {});
const result: { url: string; text: string } = await client.result(started);
console.log(JSON.stringify(result));
await client.close();
await worker.stop();
await hodei.stop();
`;
