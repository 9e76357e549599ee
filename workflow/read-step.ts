import type { Approval, Retry, Step, StepBase, StepKind, Template, Timeouts } from "./definition.ts";
import { allSchemaProblems } from "./input.ts";
import type { JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { readAgent } from "./read-agent.ts";
import { readForEach, readMatrix } from "./read-fan-out.ts";
import { WORKFLOW_NAME } from "./reader.ts";
import type { Field, Fields, Reader } from "./reader.ts";
import { wholeExpression } from "./template.ts";
import { isJsonObject } from "./schema.ts";
import { isChannel, isRange } from "./version.ts";

/** What a step has when it does not say otherwise: the fields of `spec` of the same names. */
export type StepDefaults = Pick<StepBase, "env" | "agent" | "retry" | "onLost" | "workspace">;

export const DEFAULT_RETRY: Retry = {
  maxAttempts: 1,
  initialMs: 1000,
  maxMs: 60_000,
  multiplier: 2,
  // In the order in which a written list is kept, or writing the default out would change the digest.
  on: ["timeout", "user"],
};

export const DEFAULT_TIMEOUTS: Timeouts = { queueMs: 300_000, startMs: 300_000, runMs: 1_800_000 };

const KINDS = ["run", "task", "workflow", "wait", "sleep"] as const satisfies readonly StepKind[];

/** Fields that go with some kinds only. A worker runs `run` and `task`; what speaks of workers goes with those alone. */
const ONLY: Record<string, readonly StepKind[]> = {
  shell: ["run"],
  container: ["run"],
  input: ["task", "workflow"],
  affinity: ["workflow"],
  retry: ["run", "task", "workflow"],
  agent: ["run", "task"],
  workspace: ["run", "task"],
  env: ["run", "task"],
  onLost: ["run", "task"],
};

const ANY_KIND = ["needs", "when", "matrix", "forEach", "maxParallel", "failFast", "continueOnError", "timeout"];
const KNOWN = [...KINDS, ...ANY_KIND, ...Object.keys(ONLY)];

export const ON_LOST = ["retry", "fail", "rerun"] as const;

/** Undefined when the step is so wrong that nothing can be said of it; its violations are recorded. */
export function readStep(reader: Reader, id: string, field: Field, defaults: StepDefaults): Step | undefined {
  const step = reader.fields(field, KNOWN);
  const kind = kindOf(reader, step);
  if (kind === undefined) return undefined;
  for (const [key, kinds] of Object.entries(ONLY)) {
    if (kinds.includes(kind) || step.get(key) === undefined) continue;
    reader.refuse({ path: [...step.path, key] }, `"${key}" goes with ${kinds.join(" and ")}, not with ${kind}`, "key");
  }
  const base = readBase(reader, id, step, kind, defaults);
  switch (kind) {
    case "run":
      return { ...base, kind, ...readRun(reader, step) };
    case "task":
      return { ...base, kind, handler: readHandler(reader, step), input: readInput(step) };
    case "workflow":
      return { ...base, kind, ...readChild(reader, step) };
    case "wait":
      return { ...base, kind, ...readWait(reader, id, step.get("wait")) };
    case "sleep":
      return { ...base, kind, duration: readSleep(reader, step.get("sleep")) };
    default:
      return kind satisfies never;
  }
}

function kindOf(reader: Reader, step: Fields): StepKind | undefined {
  const named = KINDS.filter((kind) => step.get(kind) !== undefined);
  if (named.length === 1) return named[0];
  const choice = KINDS.join(", ");
  return named.length === 0
    ? reader.refuse(step, `must say what to do, with one of ${choice}`)
    : reader.refuse(step, `must be one of ${choice}, is ${named.join(" and ")}`);
}

function readBase(reader: Reader, id: string, step: Fields, kind: StepKind, defaults: StepDefaults): StepBase {
  const works = kind === "run" || kind === "task";
  const base: StepBase = {
    id,
    needs: readNeeds(reader, step.get("needs")),
    failFast: reader.boolean(step.get("failFast")) ?? true,
    continueOnError: reader.boolean(step.get("continueOnError")) ?? false,
    retry: readRetry(reader, step.get("retry"), kind === "wait" || kind === "sleep" ? DEFAULT_RETRY : defaults.retry),
    timeout: works ? readTimeouts(reader, step.get("timeout")) : readTotal(reader, step.get("timeout")),
    agent: {},
    env: {},
    onLost: "retry",
  };
  const when = readWhen(reader, step.get("when"));
  if (when !== undefined) base.when = when;
  readFanOut(reader, step, base);
  // What no worker runs takes nothing from the defaults for workers, so a change of those does not change its digest.
  if (!works) return base;
  base.agent = readAgent(reader, step.get("agent")) ?? defaults.agent;
  base.env = { ...defaults.env, ...reader.env(step.get("env")) };
  if (Object.keys(base.env).length > LIMITS.envEntries) {
    reader.refuse({ path: [...step.path, "env"] }, `with spec.env it has more than ${LIMITS.envEntries} entries`);
  }
  base.onLost = reader.choice(step.get("onLost"), ON_LOST) ?? defaults.onLost;
  const workspace = readWorkspace(reader, step.get("workspace")) ?? defaults.workspace;
  if (workspace !== undefined) base.workspace = workspace;
  return base;
}

/** Sorted and without repetition: the order of needs means nothing, so it must not change the digest. */
function readNeeds(reader: Reader, field: Field | undefined): string[] {
  if (field === undefined) return [];
  if (typeof field.value === "string") return [field.value];
  const needs = reader.list(field, LIMITS.steps)?.map((need) => reader.string(need));
  return [...new Set(needs?.filter((need) => need !== undefined))].toSorted();
}

function readWhen(reader: Reader, field: Field | undefined): string | undefined {
  if (field === undefined) return undefined;
  if (typeof field.value === "boolean") return String(field.value);
  const text = reader.string(field)?.trim();
  if (text === undefined) return undefined;
  if (text === "") return reader.refuse(field, "must hold an expression");
  if (!text.includes("${{")) return text;
  const whole = reader.attempt(field, () => wholeExpression(text) ?? null);
  return whole ?? (whole === null ? reader.refuse(field, "must be one expression, not a text around it") : undefined);
}

function readFanOut(reader: Reader, step: Fields, base: StepBase): void {
  const matrix = readMatrix(reader, step.get("matrix"));
  const forEach = readForEach(reader, step.get("forEach"));
  const maxParallel = reader.number(step.get("maxParallel"), 1, LIMITS.iterations);
  if (matrix !== undefined) base.matrix = matrix;
  if (forEach !== undefined) base.forEach = forEach;
  if (maxParallel !== undefined) base.maxParallel = maxParallel;
  const fansOut = step.get("matrix") !== undefined || step.get("forEach") !== undefined;
  if (step.get("matrix") !== undefined && step.get("forEach") !== undefined) {
    reader.refuse({ path: [...step.path, "forEach"] }, "forEach and matrix do not go together; use one", "key");
  }
  for (const key of fansOut ? [] : ["maxParallel", "failFast"]) {
    if (step.get(key) === undefined) continue;
    reader.refuse({ path: [...step.path, key] }, `"${key}" goes with forEach or matrix`, "key");
  }
}

export function readWorkspace(reader: Reader, field: Field | undefined): string | undefined {
  return reader.name(field, "workspace name");
}

/** A number of attempts, or an object; what it leaves out comes from `defaults`. */
export function readRetry(reader: Reader, field: Field | undefined, defaults: Retry): Retry {
  if (typeof field?.value === "number") {
    return { ...defaults, maxAttempts: reader.number(field, 1, LIMITS.userAttempts) ?? defaults.maxAttempts };
  }
  const retry = reader.fields(field, ["maxAttempts", "initialInterval", "maxInterval", "multiplier", "on"]);
  const initialMs = reader.duration(retry.get("initialInterval"), true) ?? defaults.initialMs;
  const maxMs = reader.duration(retry.get("maxInterval"), true);
  if (maxMs !== undefined && maxMs < initialMs) {
    reader.refuse({ path: [...retry.path, "maxInterval"] }, "must not be shorter than initialInterval");
  }
  const on = reader.list(retry.get("on"), 32)?.map((entry) => reader.name(entry, "failure class or error type"));
  return {
    maxAttempts: reader.number(retry.get("maxAttempts"), 1, LIMITS.userAttempts) ?? defaults.maxAttempts,
    initialMs,
    maxMs: maxMs ?? Math.max(defaults.maxMs, initialMs),
    multiplier: reader.number(retry.get("multiplier"), 1, 100, false) ?? defaults.multiplier,
    on: on === undefined ? defaults.on : [...new Set(on.filter((entry) => entry !== undefined))].toSorted(),
  };
}

/** A duration means the run of one attempt. */
function readTimeouts(reader: Reader, field: Field | undefined): Timeouts {
  if (typeof field?.value === "string" || typeof field?.value === "number") {
    return { ...DEFAULT_TIMEOUTS, runMs: reader.duration(field) ?? DEFAULT_TIMEOUTS.runMs };
  }
  const timeout = reader.fields(field, ["queue", "start", "run", "total"]);
  const totalMs = reader.duration(timeout.get("total"));
  return {
    queueMs: reader.duration(timeout.get("queue")) ?? DEFAULT_TIMEOUTS.queueMs,
    startMs: reader.duration(timeout.get("start")) ?? DEFAULT_TIMEOUTS.startMs,
    runMs: reader.duration(timeout.get("run")) ?? DEFAULT_TIMEOUTS.runMs,
    ...(totalMs === undefined ? {} : { totalMs }),
  };
}

/** Of wait, sleep and workflow, which no worker runs: only the total counts, and it has no default (people are slow). */
function readTotal(reader: Reader, field: Field | undefined): Timeouts {
  const short = typeof field?.value === "string" || typeof field?.value === "number";
  const totalMs = reader.duration(short ? field : reader.fields(field, ["total"]).get("total"));
  return totalMs === undefined ? { ...DEFAULT_TIMEOUTS } : { ...DEFAULT_TIMEOUTS, totalMs };
}

function readRun(reader: Reader, step: Fields): { script: string; shell: "sh" | "bash"; container?: string } {
  const field = step.get("run");
  const script = reader.plain(field, 'put them in env and use "$NAME" in the script');
  if (field !== undefined && script?.trim() === "") reader.refuse(field, "must hold a command");
  const container = reader.string(step.get("container"), 512);
  return {
    script: script ?? "",
    shell: reader.choice(step.get("shell"), ["sh", "bash"]) ?? "sh",
    ...(container === undefined ? {} : { container }),
  };
}

function readHandler(reader: Reader, step: Fields): string {
  const field = step.get("task");
  const handler = reader.string(field, LIMITS.idLength);
  if (field !== undefined && handler !== undefined && !/^[A-Za-z][A-Za-z0-9._-]*$/.test(handler)) {
    reader.refuse(field, `${JSON.stringify(handler)} is no handler name: letters, digits and . _ -, a letter first`);
  }
  return handler ?? "";
}

/** Any JSON with expressions; left out, the handler or child gets an empty object. */
function readInput(step: Fields): Template {
  return step.get("input")?.value ?? {};
}

type Child = { workflow: string; range: string; input: Template; affinity?: "parent" };

function readChild(reader: Reader, step: Fields): Child {
  const field = step.get("workflow");
  const text = reader.plain(field, "a sub-workflow is named and pinned before the start", LIMITS.idLength * 2) ?? "";
  const at = text.indexOf("@");
  const name = at < 0 ? text : text.slice(0, at);
  const range = at < 0 ? "" : text.slice(at + 1).trim();
  if (field !== undefined && text !== "") {
    if (!WORKFLOW_NAME.test(name)) reader.refuse(field, `${JSON.stringify(name)} is no workflow name`);
    if (!isRange(range) && !isChannel(range)) {
      reader.refuse(field, `${JSON.stringify(range)} is neither a semver range (^1.2) nor a channel (stable)`);
    }
  } else if (field?.value === "") {
    reader.refuse(field, "must be name@range");
  }
  const affinity = reader.choice(step.get("affinity"), ["parent"]);
  return { workflow: name, range, input: readInput(step), ...(affinity === undefined ? {} : { affinity }) };
}

type Wait = { signal: string; approval?: Approval; schema?: JsonObject };

function readWait(reader: Reader, id: string, field: Field | undefined): Wait {
  const wait = reader.fields(field, ["signal", "approval", "schema"]);
  const approval = readApproval(reader, wait.get("approval"));
  const schema = readSchema(reader, wait.get("schema"));
  const signal = reader.name(wait.get("signal"), "signal name");
  const named = wait.get("signal") !== undefined || wait.get("approval") !== undefined;
  if (isJsonObject(field?.value) && !named) reader.refuse(wait, "must name a signal or an approval");
  if (wait.get("approval") !== undefined && wait.get("schema") !== undefined) {
    reader.refuse({ path: [...wait.path, "schema"] }, "an approval has its own form of answer", "key");
  }
  return {
    signal: signal ?? id,
    ...(approval === undefined ? {} : { approval }),
    ...(schema === undefined ? {} : { schema }),
  };
}

function readApproval(reader: Reader, field: Field | undefined): Approval | undefined {
  if (field === undefined) return undefined;
  const approval = reader.fields(field, ["message", "roles"]);
  const message = reader.string(approval.get("message"), 1024);
  const roles = reader.list(approval.get("roles"), 32)?.map((role) => reader.string(role, LIMITS.idLength));
  return {
    ...(message === undefined ? {} : { message }),
    roles: [...new Set(roles?.filter((role) => role !== undefined))].toSorted(),
  };
}

export function readSchema(reader: Reader, field: Field | undefined): JsonObject | undefined {
  const schema = reader.object(field);
  if (field === undefined || schema === undefined) return undefined;
  for (const { path, message } of allSchemaProblems(schema, field.path)) reader.refuse({ path }, message);
  return schema;
}

/** ms, or a text with expressions as it is. */
function readSleep(reader: Reader, field: Field | undefined): number | string {
  if (typeof field?.value === "string" && field.value.includes("${{")) return reader.string(field) ?? 0;
  return reader.duration(field, true) ?? 0;
}
