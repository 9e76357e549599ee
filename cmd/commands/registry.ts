import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import type { PlanResponse } from "../../transport/api/workflow.ts";
import { loadDefinition } from "../../workflow/load.ts";
import { HodeiError, isHodeiError } from "../../workflow/errors.ts";
import { EXIT, UsageError } from "../exit.ts";
import { type Format, formatOf, print, printOne, printRows, table } from "../output.ts";
import { type GlobalFlags, withClient } from "../session.ts";

/** apply, plan, lint, promote, delete. */
export function addRegistryCommands(program: Command): void {
  program
    .command("apply")
    .description("publish the workflows in FILES (YAML, JSON, or modules that export them)")
    .argument("[files...]", "paths, or - for standard input")
    .option("-f, --file <file...>", "the same, as an option")
    .action((files: string[], flags: { file?: string[] }, command: Command) =>
      apply([...files, ...(flags.file ?? [])], command),
    );
  program
    .command("plan")
    .description("show what apply would do, and the least version bump that the change needs")
    .argument("[files...]", "paths, or - for standard input")
    .option("-f, --file <file...>", "the same, as an option")
    .action((files: string[], flags: { file?: string[] }, command: Command) =>
      plan([...files, ...(flags.file ?? [])], command),
    );
  program
    .command("lint")
    .description("check definitions without a server")
    .argument("<files...>", "paths, or - for standard input")
    .action((files: string[], _: object, command: Command) => lint(files, command));
  program
    .command("promote")
    .description("point a channel at a published version; an older one rolls back")
    .argument("<name>", "NAME@VERSION, or NAME")
    .argument("[version]", "when NAME has none")
    .option("--channel <channel>", "which channel", "stable")
    .action((name: string, version: string | undefined, flags: { channel: string }, command: Command) =>
      promote(name, version, flags.channel, command),
    );
  program
    .command("delete")
    .description("delete a version that nothing needs")
    .usage("[options] NAME@VERSION")
    .argument("<workflow...>", "NAME@VERSION, or: workflow NAME VERSION")
    .action((words: string[], _: object, command: Command) => remove(words, command));
}

type Source = { file: string; text: string };

/** Texts of every workflow in the files; a module gives each of its exports that is a workflow. */
async function sourcesOf(files: readonly string[]): Promise<Source[]> {
  if (files.length === 0) throw new UsageError("name at least one file", "file");
  const sources: Source[] = [];
  for (const file of files) {
    if (/\.[cm]?[jt]s$/.test(file)) sources.push(...(await modulesWorkflows(file)));
    else sources.push({ file, text: await textOf(file) });
  }
  return sources;
}

/** A server that is sent no text can only say that it misses one; here it is known which file is empty. */
async function textOf(file: string): Promise<string> {
  const text = await readText(file);
  if (text.trim() !== "") return text;
  const violations = [{ path: "", message: "the document is empty", file, line: 1, column: 1 }];
  throw new HodeiError("INVALID_DEFINITION", `the definition does not hold: ${file}:1:1: the document is empty`, {
    violations,
  });
}

async function modulesWorkflows(file: string): Promise<Source[]> {
  const exported = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>;
  const found = Object.values(exported).filter(
    (value): value is { document: object } =>
      typeof value === "object" && value !== null && "document" in value && typeof value.document === "object",
  );
  if (found.length === 0) throw new UsageError(`${file} exports no workflow`, "file");
  return found.map((workflow) => ({ file, text: JSON.stringify(workflow.document) }));
}

/** Far beyond every bound of the server, which says what is too large and by how much; a device or a pipe has no end. */
const MOST_BYTES = 8 * 1024 * 1024;

/** Of a file, or of standard input for `-`: as a stream, for a synchronous read fails where the writer is slower than we. */
export async function readText(file: string): Promise<string> {
  try {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of file === "-" ? process.stdin : createReadStream(file)) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > MOST_BYTES) throw new RangeError(`it has more than ${MOST_BYTES} bytes`);
    }
    return new TextDecoder().decode(Buffer.concat(chunks));
  } catch (error) {
    const { message } = error as Error;
    const what = file === "-" ? "standard input" : file;
    throw new HodeiError("INVALID_ARGUMENT", `${what} cannot be read: ${message}`, { field: "file", cause: error });
  }
}

async function apply(files: readonly string[], command: Command): Promise<void> {
  const sources = await sourcesOf(files);
  await withClient(command, async ({ client, format }) => {
    const published = [];
    for (const { file, text } of sources)
      published.push(await client.call("workflow", "register", { source: text, file }));
    printRows(
      format,
      published,
      [
        { title: "workflow", cell: (row) => `${row.name}@${row.version}` },
        { title: "result", cell: (row) => (row.created ? "published" : "unchanged") },
        { title: "digest", cell: (row) => row.digest, wide: true },
      ],
      (row) => `${row.name}@${row.version}`,
    );
  });
}

async function plan(files: readonly string[], command: Command): Promise<void> {
  const sources = await sourcesOf(files);
  await withClient(command, async ({ client, format }) => {
    const plans = [];
    for (const { file, text } of sources) plans.push(await client.call("workflow", "plan", { source: text, file }));
    // A pipeline that plans before it applies stops here.
    if (plans.some((one) => one.action === "refused")) process.exitCode = EXIT.error;
    if (format === "table" || format === "wide") return plans.forEach((one) => print(planText(one)));
    if (plans.length === 1 && plans[0] !== undefined)
      return printOne(format, plans[0], planText, (row) => `${row.name}@${row.version}`);
    printRows(format, plans, [], (row) => `${row.name}@${row.version}`);
  });
}

function planText(plan: PlanResponse): string {
  const first = plan.action === "create" ? " (first version)" : "";
  const against = plan.previousVersion === undefined ? first : ` (against ${plan.previousVersion})`;
  if (plan.action === "unchanged") return `${plan.name}@${plan.version}: unchanged, it is published already`;
  const lines = [
    `${plan.name}@${plan.version}: ${plan.action}${against}`,
    ...(plan.previousVersion === undefined
      ? []
      : [`  the change needs a ${plan.requiredBump} bump, the version makes a ${plan.actualBump} one`]),
    ...plan.changes.map((change) => `  ${change.bump.padEnd(5)} ${change.path}: ${change.message}`),
    ...plan.refusals.map((refusal) => `  refused: ${refusal.message}`),
  ];
  if (plan.dependents.length > 0) {
    const rows = table(plan.dependents, [
      { title: "dependent", cell: (row) => `${row.name}@${row.version}` },
      { title: "range", cell: (row) => row.range },
      { title: "accepts", cell: (row) => (row.accepts ? "yes" : "no") },
      { title: "breaks", cell: (row) => (row.breaks ? "yes" : "no") },
    ]);
    lines.push("", rows);
  }
  return lines.join("\n");
}

type Checked = { file: string; name: string; version: string; result: string };

async function lint(files: readonly string[], command: Command): Promise<void> {
  const format = formatOf(command.optsWithGlobals<GlobalFlags>().output);
  const checked: Checked[] = [];
  const wrong: HodeiError[] = [];
  for (const { file, text } of await sourcesOf(files)) {
    try {
      const { name, version } = loadDefinition(text, { file });
      checked.push({ file, name, version, result: "ok" });
    } catch (error) {
      if (!isHodeiError(error)) throw error;
      wrong.push(error);
    }
  }
  // "none found" would read as if nothing were wrong.
  const words = format === "table" || format === "wide";
  if (!words || checked.length > 0) printChecked(format, checked);
  const [first] = wrong;
  if (first === undefined) return;
  if (wrong.length === 1) throw first;
  const message = `${wrong.length} of ${files.length} files do not hold`;
  const violations = wrong.flatMap((error) =>
    error.violations.length > 0 ? error.violations : [{ path: "", message: error.message }],
  );
  throw new HodeiError(first.code, message, { violations });
}

function printChecked(format: Format, checked: readonly Checked[]): void {
  printRows(
    format,
    checked,
    [
      { title: "file", cell: (row) => row.file },
      { title: "workflow", cell: (row) => `${row.name}@${row.version}` },
      { title: "result", cell: (row) => row.result },
    ],
    (row) => `${row.name}@${row.version}`,
  );
}

/** NAME@VERSION, or the two apart. */
function target(name: string, version: string | undefined): { name: string; version: string } {
  const at = name.lastIndexOf("@");
  if (version !== undefined) return { name, version };
  if (at <= 0) throw new UsageError(`name a version: ${name}@x.y.z`, "version");
  return { name: name.slice(0, at), version: name.slice(at + 1) };
}

async function promote(name: string, version: string | undefined, channel: string, command: Command): Promise<void> {
  const which = target(name, version);
  await withClient(command, async ({ client, format }) => {
    const { previousVersion } = await client.promote(which.name, which.version, channel);
    const row = { ...which, channel, previousVersion };
    printOne(
      format,
      row,
      () =>
        `${which.name} ${channel} → ${which.version}${previousVersion === undefined ? "" : ` (was ${previousVersion})`}`,
      () => which.name,
    );
  });
}

async function remove(words: readonly string[], command: Command): Promise<void> {
  const [first, ...rest] = /^workflows?$/.test(words[0] ?? "") ? words.slice(1) : words;
  if (first === undefined || rest.length > 1)
    throw new UsageError("delete NAME@VERSION, or: delete workflow NAME VERSION");
  const which = target(first, rest[0]);
  await withClient(command, async ({ client, format }) => {
    await client.delete(which.name, which.version);
    printOne(
      format,
      { ...which, deleted: true },
      () => `${which.name}@${which.version} deleted`,
      () => `${which.name}@${which.version}`,
    );
  });
}
