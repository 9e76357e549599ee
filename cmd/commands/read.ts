import type { Command } from "commander";
import type { HistoryEvent } from "../../workflow/event.ts";
import { SEVERITIES, type WorkerView } from "../../transport/api/cluster.ts";
import { DISPLAY_STATES, type DisplayState } from "../../workflow/execution.ts";
import { parseDuration } from "../../workflow/duration.ts";
import { formatBytes } from "../../workflow/quantity.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { UsageError } from "../exit.ts";
import { executionJson, executionText, paint } from "../execution-view.ts";
import { isoTime, print, printOne, printRows, say, shortDuration } from "../output.ts";
import { type Session, withClient } from "../session.ts";
import { pairs } from "./run.ts";

type GetFlags = {
  state?: string[];
  workflow?: string;
  label?: string[];
  since?: string;
  parent?: string;
  limit: string;
  page?: string;
};

/** get, describe, history, logs, events, why. Nouns work in singular and plural. */
export function addReadCommands(program: Command): void {
  program
    .command("get")
    .description("list executions, workflows, jobs, engines, shards, workers or templates; with a name, just that one")
    .argument("<noun>")
    .argument("[name]")
    .option("--state <state...>", "executions in these states")
    .option("--workflow <name>", "executions of this workflow")
    .option("--label <key=value...>", "executions with these labels")
    .option("--since <duration>", "executions started within, e.g. 2h")
    .option("--parent <id>", "children of this execution")
    .option("--limit <n>", "how many", "100")
    .option("--page <token>", "from the line that ends the page before")
    .action((noun: string, name: string | undefined, flags: GetFlags, command: Command) =>
      withClient(command, (session) => get(session, noun, name, flags)),
    );
  program
    .command("describe")
    .description("everything about one execution or workflow")
    .argument("<noun>")
    .argument("<name>")
    .action((noun: string, name: string, _: object, command: Command) =>
      withClient(command, (session) => describe(session, noun, name)),
    );
  program
    .command("history")
    .description("the recorded events of an execution")
    .argument("<words...>", "ID")
    .action((words: string[], _: object, command: Command) =>
      withClient(command, (session) => history(session, idOf(words))),
    );
  program
    .command("logs")
    .description("what the steps of an execution wrote")
    .argument("<words...>", "ID")
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
    .argument("<words...>", "ID")
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

function get(session: Session, noun: string, name: string | undefined, flags: GetFlags): Promise<void> {
  switch (noun.replace(/s$/, "")) {
    case "execution":
      return name === undefined ? getExecutions(session, flags) : describe(session, noun, name);
    case "workflow":
      return getWorkflows(session, name);
    case "job":
      return getJobs(session, name, Number(flags.limit));
    case "engine":
      return getEngines(session, name);
    case "shard":
      return getShards(session, name);
    case "worker":
      return getWorkers(session, name);
    case "template":
      return getTemplates(session, name);
    default:
      throw new UsageError(
        `there are no ${noun}: get executions, workflows, jobs, engines, shards, workers or templates`,
        "noun",
      );
  }
}

async function getExecutions(session: Session, flags: GetFlags): Promise<void> {
  const { client, format, now } = session;
  const { executions, nextPage } = await client.list({
    states: (flags.state ?? []).map(stateOf),
    workflow: flags.workflow,
    labels: pairs(flags.label, "label"),
    startedAfterMs: flags.since === undefined ? undefined : now() - parseDuration(flags.since),
    parent: flags.parent,
    limit: Number(flags.limit),
    page: flags.page,
  });
  const rows = executions.map(({ parent, ...rest }) => ({
    ...rest,
    parent: parent?.executionId,
    startedAt: isoTime(rest.startedAtMs),
    endedAt: isoTime(rest.endedAtMs),
  }));
  printRows(
    format,
    rows,
    [
      { title: "id", cell: (row) => row.id },
      { title: "workflow", cell: (row) => `${row.workflow}@${row.version}` },
      { title: "state", cell: (row) => paint(row.state) },
      { title: "age", cell: (row) => shortDuration(now() - row.startedAtMs) },
      { title: "took", cell: (row) => shortDuration((row.endedAtMs ?? now()) - row.startedAtMs) },
      { title: "parent", cell: (row) => row.parent ?? "-", wide: true },
      { title: "shard", cell: (row) => String(row.shard), wide: true },
      { title: "revision", cell: (row) => String(row.revision), wide: true },
    ],
    (row) => row.id,
  );
  if (nextPage !== undefined) say(`more: --page ${nextPage}`);
}

async function getWorkflows(session: Session, name: string | undefined): Promise<void> {
  const rows = await session.client.workflows(name);
  printRows(
    session.format,
    rows,
    [
      { title: "name", cell: (row) => row.name },
      { title: "versions", cell: (row) => row.versions.map((one) => one.version).join(" ") },
      {
        title: "channels",
        cell: (row) =>
          Object.entries(row.channels)
            .map(([channel, version]) => `${channel}=${version}`)
            .join(" "),
      },
    ],
    (row) => row.name,
  );
}

async function getJobs(session: Session, name: string | undefined, limit: number): Promise<void> {
  const { now } = session;
  const { jobs } = await session.client.call("job", "list", { executionId: name, limit });
  printRows(
    session.format,
    jobs,
    [
      { title: "job", cell: (row) => row.id },
      { title: "state", cell: (row) => row.state },
      { title: "worker", cell: (row) => row.worker ?? "-" },
      { title: "age", cell: (row) => shortDuration(now() - row.enqueuedAtMs) },
      { title: "priority", cell: (row) => row.priority, wide: true },
      { title: "reason", cell: (row) => row.reason ?? "" },
    ],
    (row) => row.id,
  );
}

async function getEngines(session: Session, name: string | undefined): Promise<void> {
  const { engines } = await session.client.call("cluster", "engines", {});
  printRows(
    session.format,
    named(engines, name, (engine) => engine.name),
    [
      { title: "name", cell: (row) => row.name },
      { title: "address", cell: (row) => row.address },
      { title: "pid", cell: (row) => String(row.pid) },
      { title: "state", cell: (row) => row.state },
      { title: "shards", cell: (row) => String(row.shards) },
      { title: "executions", cell: (row) => String(row.activeExecutions) },
      { title: "jobs", cell: (row) => `${row.activeJobs}/${row.capacity}` },
      { title: "workers", cell: (row) => String(row.workers) },
      { title: "version", cell: (row) => row.version, wide: true },
    ],
    (row) => row.name,
  );
}

async function getShards(session: Session, name: string | undefined): Promise<void> {
  const { shards } = await session.client.call("cluster", "shards", {});
  printRows(
    session.format,
    named(shards, name, (shard) => String(shard.shard)),
    [
      { title: "shard", cell: (row) => String(row.shard) },
      { title: "owner", cell: (row) => row.owner },
      { title: "epoch", cell: (row) => String(row.epoch) },
    ],
    (row) => String(row.shard),
  );
}

async function getWorkers(session: Session, name: string | undefined): Promise<void> {
  const rows =
    name === undefined ? await allWorkers(session) : [await session.client.call("fleet", "get", { id: name })];
  printRows(
    session.format,
    rows,
    [
      { title: "id", cell: (row) => row.id },
      { title: "engine", cell: (row) => row.engine },
      { title: "pid", cell: (row) => String(row.pid) },
      { title: "state", cell: (row) => row.state },
      { title: "jobs", cell: (row) => `${row.jobs.length}/${row.slots}` },
      { title: "kind", cell: (row) => (row.ephemeral ? "ephemeral" : "warm") },
      { title: "labels", cell: (row) => row.labels.join(","), wide: true },
      { title: "handlers", cell: (row) => row.handlers.join(","), wide: true },
    ],
    (row) => row.id,
  );
}

/** Page by page. Engines that do not answer are told: their workers are missing, not gone. */
async function allWorkers({ client }: Session): Promise<WorkerView[]> {
  const rows: WorkerView[] = [];
  for (let page: string | undefined; ;) {
    const answer = await client.call("fleet", "list", { limit: 0, ...(page === undefined ? {} : { page }) });
    rows.push(...answer.workers);
    page = answer.nextPage;
    if (page !== undefined) continue;
    if (answer.unanswered.length > 0) say(`no answer from ${answer.unanswered.join(", ")}: its workers are not listed`);
    return rows;
  }
}

async function getTemplates({ client, format }: Session, name: string | undefined): Promise<void> {
  const { templates, unanswered } =
    name === undefined
      ? await client.call("template", "list", {})
      : { templates: [await client.call("template", "get", { id: name })], unanswered: [] };
  printRows(
    format,
    templates,
    [
      { title: "id", cell: (row) => row.id },
      { title: "origin", cell: (row) => row.origin },
      { title: "jobs", cell: (row) => String(row.maxConcurrentJobs) },
      { title: "cpu", cell: (row) => `${row.offer.total.cpuMillis}m` },
      { title: "memory", cell: (row) => formatBytes(row.offer.total.memoryBytes) },
      { title: "engines", cell: (row) => row.engines.join(",") },
      { title: "labels", cell: (row) => row.offer.labels.join(","), wide: true },
      { title: "handlers", cell: (row) => row.offer.handlers.join(","), wide: true },
    ],
    (row) => row.id,
  );
  if (unanswered.length > 0) say(`no answer from ${unanswered.join(", ")}: templates of its own are not listed`);
}

function named<Row>(rows: readonly Row[], name: string | undefined, key: (row: Row) => string): readonly Row[] {
  if (name === undefined) return rows;
  const found = rows.filter((row) => key(row) === name);
  if (found.length === 0) throw new HodeiError("NOT_FOUND", `there is no ${name}`);
  return found;
}

async function describe(session: Session, noun: string, name: string): Promise<void> {
  if (/^executions?$/.test(noun)) {
    const view = await session.client.get(name);
    const text = session.format === "table" || session.format === "wide";
    return printOne(
      session.format,
      text ? view : executionJson(view),
      () => executionText(view, session.now()),
      () => view.id,
    );
  }
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
  if (/^(engines?|shards?|workers?|templates?|jobs?)$/.test(noun)) return get(session, noun, name, { limit: "100" });
  throw new UsageError(`describe an execution, workflow, engine, worker, template, shard or job, not ${noun}`, "noun");
}

function workflowText(found: Awaited<ReturnType<Session["client"]["workflow"]>>): string {
  const steps = Object.values(
    (JSON.parse(found.definitionJson) as { steps: Record<string, { id: string; kind: string; needs: string[] }> })
      .steps,
  );
  return [
    `Workflow:   ${found.name}@${found.version}`,
    `Digest:     ${found.digest}`,
    `Published:  ${isoTime(found.publishedAtMs)}`,
    `Channels:   ${found.channels.join(", ") || "-"}`,
    `Reaches:    ${found.dependencies.map((one) => `${one.name}@${one.range}`).join(", ") || "-"}`,
    `Reached by: ${found.dependents.map((one) => `${one.name}@${one.version} (${one.range})`).join(", ") || "-"}`,
    "Steps:",
    ...steps.map(
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
    "attempt" in event ? `attempt ${event.attempt}` : "",
    "outcome" in event ? (typeof event.outcome === "string" ? event.outcome : event.outcome.kind) : "",
    "state" in event ? event.state : "",
    "error" in event && event.error !== undefined ? event.error.message.split("\n")[0] : "",
    "reason" in event ? event.reason : "",
  ];
  return [where, ...facts].filter((text) => text !== "" && text !== undefined).join(" ");
}

async function logs(session: Session, id: string, flags: { step?: string; follow?: boolean }): Promise<void> {
  const json = session.format === "json" || session.format === "jsonl";
  const decoder = new TextDecoder();
  for await (const { data, cursor: _, ...chunk } of session.client.logs(id, flags)) {
    if (json) print(JSON.stringify({ ...chunk, text: decoder.decode(data) }));
    else {
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
  for await (const event of session.client.events({
    minSeverity: least,
    kinds: flags.kind ?? [],
    signal: stop.signal,
  })) {
    if (session.format === "table" || session.format === "wide")
      print(`${isoTime(event.atMs)} ${event.severity.padEnd(8)} ${event.kind} ${event.message}`);
    else print(JSON.stringify(event));
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

function stateOf(text: string): DisplayState {
  const found = DISPLAY_STATES.find((state) => state === text);
  if (found === undefined) throw new UsageError(`--state ${text} is not one of ${DISPLAY_STATES.join(", ")}`, "state");
  return found;
}
