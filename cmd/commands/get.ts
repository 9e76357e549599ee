import type { Command } from "commander";
import type { WorkerView } from "../../transport/api/cluster.ts";
import type { ExecutionSummary } from "../../transport/api/execution.ts";
import { parseDuration } from "../../workflow/duration.ts";
import { HodeiError, toHodeiError } from "../../workflow/errors.ts";
import { DISPLAY_STATES, type DisplayState } from "../../workflow/execution.ts";
import { formatBytes } from "../../workflow/quantity.ts";
import { UsageError } from "../exit.ts";
import { paint, printExecution } from "../execution-view.ts";
import { isoTime, printRows, say, shortDuration, whole } from "../output.ts";
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

/** Nouns work in singular and plural. */
export function addGetCommand(program: Command): void {
  program
    .command("get")
    .description("list executions, workflows, jobs, engines, shards, workers or templates; with a name, just that one")
    .argument("<noun>", "what to list")
    .argument("[name]", "its id or name")
    .option("--state <state...>", "executions in these states")
    .option("--workflow <name>", "executions of this workflow")
    .option("--label <key=value...>", "executions with these labels")
    .option("--since <duration>", "executions started within, e.g. 2h")
    .option("--parent <id>", "children of this execution")
    .option("--limit <n>", "how many", "100")
    .option("--page <token>", "goes on where a list ended; the list says with what")
    .action((noun: string, name: string | undefined, flags: GetFlags, command: Command) =>
      withClient(command, (session) => get(session, noun, name, flags)),
    );
}

export async function get(
  session: Session,
  noun: string,
  name: string | undefined,
  flags: GetFlags = { limit: "100" },
): Promise<void> {
  switch (noun.replace(/s$/, "")) {
    case "execution":
      return name === undefined
        ? getExecutions(session, flags)
        : printExecution(session.format, await session.client.get(name), session.now());
    case "workflow":
      return getWorkflows(session, name);
    case "job":
      return getJobs(session, name, limitOf(flags));
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
  const { format, now } = session;
  const { executions, nextPage } = await listed(session, flags);
  // The names of `run -o json`, so that one program reads both.
  const rows = executions.map(({ id, parent, startedAtMs, endedAtMs, ...rest }) => ({
    executionId: id,
    ...rest,
    parent: parent?.executionId,
    startedAt: isoTime(startedAtMs),
    endedAt: isoTime(endedAtMs),
  }));
  const since = (text: string | undefined): number => (text === undefined ? now() : Date.parse(text));
  printRows(
    format,
    rows,
    [
      { title: "id", cell: (row) => row.executionId },
      { title: "workflow", cell: (row) => `${row.workflow}@${row.version}` },
      { title: "state", cell: (row) => paint(row.state) },
      { title: "age", cell: (row) => shortDuration(now() - since(row.startedAt)) },
      { title: "took", cell: (row) => shortDuration(since(row.endedAt) - since(row.startedAt)) },
      { title: "parent", cell: (row) => row.parent ?? "-", wide: true },
      { title: "shard", cell: (row) => String(row.shard), wide: true },
      { title: "revision", cell: (row) => String(row.revision), wide: true },
    ],
    (row) => row.executionId,
  );
  if (nextPage !== undefined) say(`more: --page '${nextPage}'`);
}

/** Page after page until the limit: a server gives at most so many at once. */
async function listed(
  { client, now }: Session,
  flags: GetFlags,
): Promise<{ executions: ExecutionSummary[]; nextPage?: string }> {
  const filter = {
    states: (flags.state ?? []).map(stateOf),
    workflow: flags.workflow,
    labels: pairs(flags.label, "label"),
    startedAfterMs: flags.since === undefined ? undefined : now() - durationOf("since", flags.since),
    parent: flags.parent,
  };
  const limit = limitOf(flags);
  const executions: ExecutionSummary[] = [];
  for (let page = flags.page; ;) {
    const answer = await client.list({ ...filter, limit: limit - executions.length, page });
    executions.push(...answer.executions);
    page = answer.nextPage;
    if (page === undefined || executions.length >= limit) return { executions, nextPage: page };
  }
}

async function getWorkflows(session: Session, name: string | undefined): Promise<void> {
  if (name?.includes("@"))
    throw new UsageError(`get takes a workflow's name alone; one version: hodei describe workflow ${name}`, "name");
  const rows = named(await session.client.workflows(name), "workflow", name, (workflow) => workflow.name);
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
  const { jobs } =
    name === undefined || !name.includes("#")
      ? await session.client.call("job", "list", { executionId: name, limit })
      : { jobs: [await session.client.call("job", "get", { id: name })] };
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
    named(engines, "engine", name, (engine) => engine.name),
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
    named(shards, "shard", name, (shard) => String(shard.shard)),
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

function named<Row>(
  rows: readonly Row[],
  noun: string,
  name: string | undefined,
  key: (row: Row) => string,
): readonly Row[] {
  if (name === undefined) return rows;
  const found = rows.filter((row) => key(row) === name);
  if (found.length > 0) return found;
  throw new HodeiError("NOT_FOUND", `there is no ${noun} ${name}`, { hint: `\`hodei get ${noun}s\` lists them.` });
}

const limitOf = (flags: GetFlags): number => whole("limit", flags.limit, 1, 100_000);

function durationOf(flag: string, text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    const { message, hint = "" } = toHodeiError(error);
    throw new UsageError(`--${flag}: ${message}; ${hint}`, flag);
  }
}

function stateOf(text: string): DisplayState {
  const found = DISPLAY_STATES.find((state) => state === text);
  if (found === undefined) throw new UsageError(`--state ${text} is not one of ${DISPLAY_STATES.join(", ")}`, "state");
  return found;
}
