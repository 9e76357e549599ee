import type { Command } from "commander";
import { EXIT, UsageError } from "../exit.ts";
import { printExecution } from "../execution-view.ts";
import { follow } from "../follow.ts";
import { print, say } from "../output.ts";
import { type Session, withClient } from "../session.ts";
import { readText } from "./registry.ts";

type RunFlags = {
  input?: string;
  id?: string;
  version?: string;
  label?: string[];
  priority?: string;
  wait?: boolean;
  follow?: boolean;
  timeout?: string;
};

/** run and submit: start something, and see it through when asked to. */
export function addRunCommands(program: Command): void {
  program
    .command("run")
    .description("start a workflow")
    .argument("<workflow>", "NAME, NAME@RANGE or NAME@CHANNEL")
    .option("--input <json>", "JSON text, or @FILE, or @- for standard input")
    .option("--id <id>", "the execution's id; the same id and request again gives the same execution")
    .option("--label <key=value...>", "labels of the execution")
    .option("--priority <priority>", "low, normal or high")
    .option("--wait", "until it has ended; exit 3 when it did not succeed")
    .option("--follow", "the same, showing steps and logs while it runs")
    .action((workflow: string, flags: RunFlags, command: Command) => run(workflow, flags, command));
  program
    .command("submit")
    .description("run one command as a job: hodei submit [options] -- COMMAND...")
    .argument("<command...>", "the command and its arguments, after --")
    .option("--id <id>", "the execution's id; the same id and request again gives the same execution")
    .option("--label <expression>", "what the worker must offer, e.g. 'linux && node@>=20'")
    .option("--cpu <quantity>", "e.g. 500m or 2")
    .option("--memory <quantity>", "e.g. 512Mi or 4Gi")
    .option("--priority <priority>", "low, normal or high")
    .option("--env <name=value...>", "environment of the command")
    .option("--wait", "until it has ended")
    .option("--follow", "the same, showing its output")
    .action((words: string[], flags: SubmitFlags, command: Command) => submit(words, flags, command));
}

async function run(target: string, flags: RunFlags, command: Command): Promise<void> {
  const at = target.indexOf("@");
  const name = at < 0 ? target : target.slice(0, at);
  const input = await inputOf(flags.input);
  const options = {
    id: flags.id,
    version: at < 0 ? "" : target.slice(at + 1),
    labels: pairs(flags.label, "label"),
    priority: priorityOf(flags.priority),
  };
  await withClient(command, async (session) => {
    const started = await session.client.start(name, input, options);
    await seeThrough(
      session,
      started.id,
      flags,
      `${started.workflow}@${started.version} ${started.id}: ${started.created ? "started" : "was started before"}`,
    );
  });
}

type SubmitFlags = {
  id?: string;
  label?: string;
  cpu?: string;
  memory?: string;
  priority?: string;
  env?: string[];
  wait?: boolean;
  follow?: boolean;
};

async function submit(words: string[], flags: SubmitFlags, command: Command): Promise<void> {
  const { label, cpu, memory } = flags;
  const priority = priorityOf(flags.priority);
  await withClient(command, async (session) => {
    const id = flags.id ?? session.freshId();
    const request = { id, command: words, label, cpu, memory, priority, env: pairs(flags.env, "env"), labels: {} };
    const { executionId } = await session.client.call("job", "submit", request);
    await seeThrough(session, executionId, flags, `${executionId}: submitted`);
  });
}

/** Prints what was started; waits when asked, and then the exit code tells how it ended. */
async function seeThrough(
  session: Session,
  id: string,
  flags: { wait?: boolean; follow?: boolean },
  words: string,
): Promise<void> {
  if (!flags.wait && !flags.follow) {
    const view = await session.client.get(id);
    if (session.format === "table" || session.format === "wide") say(words);
    return session.format === "table" || session.format === "wide"
      ? print(id)
      : printExecution(session.format, view, session.now());
  }
  // Who gives no --id has not seen the id yet, and would look in vain for what still runs.
  process.once("SIGINT", () => {
    say(`${id} goes on: \`hodei logs -f ${id}\` shows it, \`hodei cancel ${id}\` stops it.`);
    process.exit(EXIT.interrupted);
  });
  const view = flags.follow ? await follow(session, id, { logs: true }) : await session.client.wait(id);
  printExecution(session.format, view, session.now());
  if (view.state !== "succeeded") process.exitCode = EXIT.executionFailed;
}

async function inputOf(text: string | undefined): Promise<unknown> {
  if (text === undefined) return {};
  const json = text.startsWith("@") ? await readText(text.slice(1)) : text;
  try {
    return JSON.parse(json) as unknown;
  } catch (error) {
    throw new UsageError(`--input is not JSON: ${(error as Error).message}`, "input");
  }
}

export function pairs(texts: readonly string[] | undefined, field: string): Record<string, string> {
  return Object.fromEntries(
    (texts ?? []).map((text) => {
      const at = text.indexOf("=");
      if (at <= 0) throw new UsageError(`--${field} ${text}: write it as name=value`, field);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function priorityOf(text: string | undefined): "low" | "normal" | "high" | undefined {
  if (text === undefined || text === "low" || text === "normal" || text === "high") return text;
  throw new UsageError(`--priority ${text} is not low, normal or high`, "priority");
}
