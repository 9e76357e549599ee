import type { Assignment, ClaimRequest, ReportRequest, TurnAnswer, TurnRequest } from "../../store/store.ts";
import type { Violation } from "./run.ts";
import type { TraceEvent } from "./trace.ts";
import type { SeedResult } from "./world.ts";

/** Events shown before the one where a violation shows, and after it. */
const BEFORE = 25;
const AFTER = 3;
/** Of one request or answer. */
const WIDTH = 150;

/** What a person needs to understand a failing seed: what was wanted, what was done to the cluster, what went wrong. */
export function storyOf(result: SeedResult): string {
  const { seed, trace, violations, words } = result;
  return [
    `seed ${seed} fails: ${[...new Set(violations.map(({ invariant }) => invariant))].join("; ")}`,
    "",
    "  what clients want",
    ...words.map((line) => `    ${line}`),
    "",
    "  what happens to the cluster",
    ...trace.flatMap((event) => (event.kind === "fault" || event.kind === "node" ? [`    ${lineOf(event)}`] : [])),
    ...violations.flatMap((violation) => around(trace, violation)),
    "",
    `  again: npm run simulate -- --start ${seed} --seeds 1 --trace`,
  ].join("\n");
}

function around(trace: readonly TraceEvent[], { invariant, words, at }: Violation): string[] {
  const last = at ?? trace.length - 1;
  const shown = trace.slice(Math.max(last - BEFORE, 0), last + AFTER + 1);
  const first = Math.max(last - BEFORE, 0);
  return [
    "",
    `  ${invariant}: ${words}`,
    ...shown.map((event, index) => `  ${first + index === last ? ">" : " "} ${first + index} ${lineOf(event)}`),
  ];
}

/** One event as a line: when, who, what. */
export function lineOf(event: TraceEvent): string {
  return `${(event.atMs / 1000).toFixed(3)} s  ${whatOf(event)}`;
}

function whatOf(event: TraceEvent): string {
  switch (event.kind) {
    case "fault":
      return `FAULT ${event.fault}: ${event.to}${event.detail === undefined ? "" : ` (${event.detail})`}`;
    case "node":
      return `${event.node} (life ${event.life}) is ${event.state}`;
    case "asked":
      return `${event.client} asks ${event.method} [${event.call}] ${short(event.request)}`;
    case "answered":
      return `  answer [${event.call}] ${event.error ?? short(event.response)}`;
    case "store":
      return `${event.node} ${callOf(event)}`;
    case "rolledBack":
      return `the store is back at event ${event.keptEvents}`;
    case "ran":
      return `${event.worker} runs ${event.job.jobId} [${event.run}]`;
    case "runEnded":
      return `  run [${event.run}] ${event.outcome}`;
    default:
      return event satisfies never;
  }
}

type Call = Extract<TraceEvent, { kind: "store" }>;

/** The three calls that make most of every story say what they do; the others what they are. */
function callOf({ method, request, answer }: Call): string {
  if (method === "turn") return turnOf(request as TurnRequest, answer as TurnAnswer);
  if (method === "reportAndClaim") {
    const { jobId, outcome } = request as ReportRequest;
    return `reports ${jobId} ${short(outcome)} → ${statusOf(answer)}${givenBy(answer)}`;
  }
  if (method === "claim") {
    const { workers } = request as ClaimRequest;
    return `claims for ${workers.map(({ worker }) => worker).join(", ")} → ${statusOf(answer)}${givenBy(answer)}`;
  }
  return `${method} ${short(request)} → ${short(answer)}`;
}

function turnOf(request: TurnRequest, answer: TurnAnswer): string {
  const events = request.events.map((text) => {
    const { type, step, iteration, attempt } = JSON.parse(text) as Record<string, string | number | undefined>;
    return [type, [step, iteration, attempt].filter((part) => part !== undefined).join("/")].filter(Boolean).join(" ");
  });
  const sent = request.outbox.map(({ target, text }) => `${(JSON.parse(text) as { kind: string }).kind} to ${target}`);
  const jobs = [...request.cancel, ...(request.revoke ?? [])];
  const parts = [
    ...events,
    ...sent,
    ...request.fire.map((timer) => `fires ${timer}`),
    ...request.outboxDone.map((entry) => `${entry} arrived`),
    ...(request.take.length > 0 ? [`takes ${request.take.length} outcomes`] : []),
    ...(jobs.length > 0 ? [`stops ${jobs.join(", ")}`] : []),
  ];
  const { id, expectedRevision, fence } = request;
  const where = `shard ${fence.shard} epoch ${fence.epoch}`;
  return `commits ${id} after revision ${expectedRevision} (${where}) → ${statusOf(answer)}: ${parts.join("; ")}${givenBy(answer)}`;
}

function statusOf(answer: unknown): string {
  return (answer as { status?: string }).status ?? "OK";
}

function givenBy(answer: unknown): string {
  const { assignments = [] } = answer as { assignments?: Assignment[] };
  return assignments.map(({ job, worker }) => `; gives ${job.id} to ${worker}`).join("");
}

/** Without what is long and says little: definitions, offers, state. */
const DULL: ReadonlySet<string> = new Set(["definitions", "offer", "snapshot", "lockJson", "requirement", "claimFor"]);

function short(value: unknown): string {
  const text = JSON.stringify(value, (key, item: unknown) => {
    if (DULL.has(key) || (Array.isArray(item) && item.length === 0)) return undefined;
    return typeof item === "string" && item.startsWith("{") ? typeOf(item) : item;
  });
  if (text === undefined) return "nothing";
  return text.length > WIDTH ? `${text.slice(0, WIDTH)}…` : text;
}

/** Events of a history travel as JSON texts: their type is what a reader looks for. */
function typeOf(text: string): string {
  const type = /"type":"([a-zA-Z]+)"/.exec(text)?.[1];
  return type ?? text;
}
