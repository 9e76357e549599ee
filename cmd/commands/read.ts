import type { Command } from "commander";
import type { HistoryEvent } from "../../workflow/event.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { parseNormalForm } from "../../workflow/load.ts";
import { SEVERITIES } from "../../transport/api/cluster.ts";
import { EXIT, UsageError } from "../exit.ts";
import { outcomeWords, printExecution } from "../execution-view.ts";
import { isoTime, print, printOne, printRows, say } from "../output.ts";
import { type Session, withClient } from "../session.ts";
import { get } from "./get.ts";

/** Steps that an error about an unknown one lists. */
const STEPS_NAMED = 20;

/** describe, history, logs, events, why. Nouns work in singular and plural. */
export function addReadCommands(program: Command): void {
  program
    .command("describe")
    .description("everything about one execution or workflow")
    .argument("<noun>", "execution, workflow, job, engine, shard, worker or template")
    .argument("<name>", "its id or name; of a workflow NAME or NAME@VERSION")
    .action((noun: string, name: string, _: object, command: Command) =>
      withClient(command, (session) => describe(session, noun, name)),
    );
  program
    .command("history")
    .description("the recorded events of an execution")
    .usage("[options] [execution] ID")
    .argument("<id...>", "the execution")
    .action((words: string[], _: object, command: Command) =>
      withClient(command, (session) => history(session, idOf(words))),
    );
  program
    .command("logs")
    .description("what the steps of an execution wrote")
    .usage("[options] [execution] ID")
    .argument("<id...>", "the execution")
    .option("--step <id>", "of this step alone")
    .option("-f, --follow", "until the execution ends")
    .action((words: string[], flags: { step?: string; follow?: boolean }, command: Command) =>
      withClient(command, (session) => logs(session, idOf(words), flags)),
    );
  program
    .command("events")
    .description("what the cluster does, live")
    .option("-f, --follow", "accepted for habit: events are always live")
    .option("--severity <least>", `one of ${SEVERITIES.join(", ")}`, "info")
    .option("--kind <kind...>", "only these kinds")
    .action((flags: { severity: string; kind?: string[] }, command: Command) =>
      withClient(command, (session) => events(session, flags)),
    );
  program
    .command("why")
    .description("why a job, or the jobs of an execution, do not run")
    .usage("[options] [execution] ID")
    .argument("<id...>", "the execution")
    .action((words: string[], _: object, command: Command) =>
      withClient(command, (session) => why(session, idOf(words))),
    );
}

/** `ID`, or `execution ID`. */
export function idOf(words: readonly string[]): string {
  const [first, second, ...rest] = words;
  const id = second === undefined ? first : /^(executions?|jobs?)$/.test(first ?? "") ? second : undefined;
  if (id === undefined || rest.length > 0) throw new UsageError(`name one execution, not: ${words.join(" ")}`);
  return id;
}

async function describe(session: Session, noun: string, name: string): Promise<void> {
  if (/^executions?$/.test(noun)) return printExecution(session.format, await session.client.get(name), session.now());
  if (/^workflows?$/.test(noun)) {
    const [bare, version] = name.split("@");
    const found = await session.client.workflow(bare ?? name, version);
    const shown = { ...found, definition: JSON.parse(found.definitionJson) as unknown, definitionJson: undefined };
    return printOne(
      session.format,
      shown,
      () => workflowText(found),
      () => `${found.name}@${found.version}`,
    );
  }
  if (/^(engines?|shards?|workers?|templates?|jobs?)$/.test(noun)) return get(session, noun, name);
  throw new UsageError(`describe an execution, workflow, engine, worker, template, shard or job, not ${noun}`, "noun");
}

function workflowText(found: Awaited<ReturnType<Session["client"]["workflow"]>>): string {
  const { input, steps } = parseNormalForm(found.definitionJson);
  return [
    `Workflow:   ${found.name}@${found.version}`,
    `Digest:     ${found.digest}`,
    `Published:  ${isoTime(found.publishedAtMs)}`,
    `Channels:   ${found.channels.join(", ") || "-"}`,
    `Reaches:    ${found.dependencies.map((one) => `${one.name}@${one.range}`).join(", ") || "-"}`,
    `Reached by: ${found.dependents.map((one) => `${one.name}@${one.version} (${one.range})`).join(", ") || "-"}`,
    `Input:      ${input === undefined ? "any object" : JSON.stringify(input)}`,
    "Steps:",
    ...Object.values(steps).map(
      (step) => `  ${step.id} (${step.kind})${step.needs.length > 0 ? ` after ${step.needs.join(", ")}` : ""}`,
    ),
  ].join("\n");
}

async function history(session: Session, id: string): Promise<void> {
  const rows = [];
  for await (const entry of session.client.history(id))
    rows.push({ revision: entry.revision, ...(JSON.parse(entry.eventJson) as HistoryEvent) });
  printRows(
    session.format,
    rows,
    [
      { title: "revision", cell: (row) => String(row.revision) },
      { title: "at", cell: (row) => isoTime(row.atMs) ?? "" },
      { title: "event", cell: (row) => row.type },
      { title: "what", cell: (row) => summary(row) },
    ],
    (row) => row.type,
  );
}

function summary(event: HistoryEvent): string {
  const where =
    "step" in event
      ? `${event.step}${"iteration" in event && event.iteration !== "0" ? `[${event.iteration}]` : ""}`
      : "";
  const facts = [
    "name" in event ? event.name : "",
    "steps" in event ? event.steps.join(", ") : "",
    "attempt" in event ? `attempt ${event.attempt}` : "",
    "outcome" in event ? (typeof event.outcome === "string" ? event.outcome : outcomeWords(event.outcome)) : "",
    "state" in event ? event.state : "",
    "error" in event && event.error !== undefined ? event.error.message.split("\n")[0] : "",
    "reason" in event ? event.reason : "",
    "by" in event ? `by ${event.by}` : "",
  ];
  return [where, ...facts].filter((text) => text !== "" && text !== undefined).join(" ");
}

/** A step that was misspelt has no log either, which looks like one that wrote nothing. */
async function checkStep(session: Session, id: string, step: string): Promise<void> {
  const { steps } = await session.client.get(id);
  const rows = steps.filter((row) => row.id === step);
  if (rows.length === 0) {
    const known = [...new Set(steps.map((row) => row.id))].slice(0, STEPS_NAMED).join(", ");
    throw new HodeiError("NOT_FOUND", `execution ${id} has no step "${step}"`, {
      field: "step",
      hint: `Its steps are ${known}${steps.length > STEPS_NAMED ? ", …" : ""}.`,
    });
  }
  const child = rows.find((row) => row.childId !== undefined)?.childId;
  if (child !== undefined) say(`step ${step} is a sub-workflow: \`hodei logs ${child}\``);
}

async function logs(session: Session, id: string, flags: { step?: string; follow?: boolean }): Promise<void> {
  const json = session.format === "json" || session.format === "jsonl";
  if (flags.step !== undefined) await checkStep(session, id, flags.step);
  // One decoder per attempt: a character may be cut between two chunks.
  const decoders = new Map<string, InstanceType<typeof TextDecoder>>();
  for await (const { data, cursor: _, ...chunk } of session.client.logs(id, flags)) {
    if (json) {
      const key = `${chunk.step}/${chunk.iteration}#${chunk.attempt}`;
      const decoder = decoders.get(key) ?? new TextDecoder();
      decoders.set(key, decoder);
      print(JSON.stringify({ ...chunk, text: decoder.decode(data, { stream: true }) }));
    } else {
      if (chunk.dropped > 0) process.stdout.write(`\nDROPPED(${chunk.dropped})\n`);
      process.stdout.write(data);
    }
  }
}

async function events(session: Session, flags: { severity: string; kind?: string[] }): Promise<void> {
  const least = SEVERITIES.find((severity) => severity === flags.severity);
  if (least === undefined)
    throw new UsageError(`--severity ${flags.severity} is not one of ${SEVERITIES.join(", ")}`, "severity");
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const filter = { minSeverity: least, kinds: flags.kind ?? [], signal: stop.signal };
  const words = session.format === "table" || session.format === "wide";
  try {
    for await (const event of session.client.events(filter)) {
      if (words) print(`${isoTime(event.atMs)} ${event.severity.padEnd(8)} ${event.kind} ${event.message}`);
      else print(JSON.stringify(event));
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.exitCode = EXIT.interrupted;
  }
}

async function why(session: Session, id: string): Promise<void> {
  const answer = await session.client.call("job", "why", { id });
  printOne(
    session.format,
    answer,
    () => answer.lines.join("\n"),
    () => id,
  );
}
