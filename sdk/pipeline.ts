import { HodeiError } from "../workflow/errors.ts";
import type { JsonObject } from "../workflow/json.ts";
import { type Value, plain } from "./reference.ts";
import type { FromSchema, Schema } from "./schema.ts";
import type { AgentSpec, RetrySpec, TimeoutSpec, Workflow, WorkflowDocument } from "./workflow.ts";

/**
 * The Jenkins shape over the same graph: stages one after another, `parallel` side by side, agents per stage, `post` at
 * the end. Stages under one agent share a workspace, hence one worker and one folder; a stage with an agent of its own
 * has a workspace of its own.
 *
 * How it compiles
 * - `sh` and `workflow` each become a step; in a matrix the commands of a stage become one step, so that the cells stay
 *   independent of each other.
 * - A stage needs every step of what came before it. Once a `when` can skip a stage, what follows must not be skipped
 *   with it: later steps then carry a `when` that asks only that nothing before them failed.
 * - `post` of the pipeline becomes `finally`; `post` of a stage becomes steps that wait for the stage, whatever it came to.
 */
export type PipelineOptions<S extends Schema> = {
  name: string;
  version: string;
  description?: string;
  labels?: Record<string, string>;
  input?: S;
  /** Default `any()`. With `none()` every stage names its own. */
  agent?: Agent;
  environment?: Record<string, Value<string>>;
  /** Of the whole execution. */
  timeout?: string;
  stages: readonly Stage[];
  post?: Post;
  /** What the pipeline answers; may refer to steps as `${{ steps.… }}` text. */
  output?: Record<string, unknown>;
};

export type Post = {
  always?: readonly Command[];
  success?: readonly Command[];
  failure?: readonly Command[];
  cancelled?: readonly Command[];
};

/** `agent` is a label expression, `any`, `none` or the fields of an agent. */
export type Agent = { readonly agent: AgentSpec };
/** Label expression: linux && node@>=20 && !spot. */
export const label = (expression: string): Agent => ({ agent: { label: expression } });
/** A worker template by id. */
export const template = (id: string): Agent => ({ agent: { template: id } });
export const docker = (image: string, ...args: string[]): Agent => ({ agent: { docker: { image, args } } });
/** A pod template as YAML text. */
export const kubernetes = (yaml: string): Agent => ({ agent: { kubernetes: yaml } });
export const any = (): Agent => ({ agent: "any" });
export const none = (): Agent => ({ agent: "none" });
/** A fresh worker, made for this and gone afterwards. */
export const ephemeral = (of: Agent = any()): Agent => ({
  agent: {
    ...(typeof of.agent === "object" ? of.agent : of.agent === "any" ? {} : { label: of.agent }),
    ephemeral: true,
  },
});

export type Command =
  | { readonly command: "sh"; script: string; env?: Record<string, Value<string>> }
  | { readonly command: "workflow"; id: string; workflow: string; input: unknown };

/** One shell script; values reach it by environment, never by interpolation. */
export const sh = (script: string, options: { env?: Record<string, Value<string>> } = {}): Command => ({
  command: "sh",
  script,
  ...options,
});
/** A sub-workflow as a step; its output is `steps.<id>.outputs`. */
export const subworkflow = <Input, Output>(
  id: string,
  workflow: Workflow<Input, Output>,
  input: Value<Input>,
  range = `^${workflow.version}`,
): Command => ({
  command: "workflow",
  id,
  workflow: `${workflow.name}@${range}`,
  input,
});

export type StageOptions = {
  agent?: Agent;
  environment?: Record<string, Value<string>>;
  /** CEL; a stage that is skipped does not stop the ones after it. */
  when?: string;
  matrix?: Record<string, readonly unknown[]>;
  retry?: RetrySpec;
  timeout?: TimeoutSpec;
  steps: readonly Command[];
  post?: Post;
};
export type Stage =
  | ({ readonly stage: "stage"; name: string } & StageOptions)
  | { readonly stage: "parallel"; name: string; stages: readonly Stage[] };
export const stage = (name: string, options: StageOptions): Stage => ({ stage: "stage", name, ...options });
export const parallel = (name: string, ...stages: Stage[]): Stage => ({ stage: "parallel", name, stages });

/** Compiles to the same plain graph as `defineWorkflow` and YAML. Throws INVALID_DEFINITION for what cannot be laid out. */
export function pipeline<const S extends Schema = { type: "object" }>(
  options: PipelineOptions<S>,
): Workflow<FromSchema<S>, Record<string, unknown>> {
  const { name, version, description, labels } = options;
  const layout: Layout = {
    steps: {},
    frontier: [],
    ancestors: [],
    conditional: false,
    agent: options.agent ?? any(),
    workspace: "pipeline",
  };
  for (const next of options.stages) place(layout, next);
  const last = postSteps(options.post ?? {}, "execution.outcome", "post");
  if (last.length > 0 && layout.agent.agent === "none") throw needsAgent("post");
  const finallySteps = Object.fromEntries(
    last.map(({ id, step }) => [
      id,
      { ...step, ...("workflow" in step ? {} : placement(layout.agent, layout.workspace)) },
    ]),
  );
  const spec = {
    input: options.input,
    env: options.environment,
    timeout: undefined,
    steps: layout.steps,
    finally: last.length > 0 ? finallySteps : undefined,
    output: options.output,
  };
  const document = {
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name, version, description, labels },
    spec: { ...spec, timeout: options.timeout },
  };
  return { name, version, document: plain(document) as WorkflowDocument };
}

type Layout = {
  steps: Record<string, JsonObject>;
  /** Where the next stage hooks on: the last steps of each branch. */
  frontier: string[];
  /** Every step before the next stage. */
  ancestors: string[];
  /** Whether any ancestor may be skipped by a `when`. */
  conditional: boolean;
  agent: Agent;
  workspace: string;
};

function place(layout: Layout, next: Stage): void {
  if (next.stage === "stage") return placeStage(layout, next);
  const start = { ...layout };
  const ends: Layout[] = [];
  for (const branch of next.stages) {
    const end = { ...start };
    place(end, branch);
    ends.push(end);
  }
  layout.frontier = [...new Set(ends.flatMap((end) => end.frontier))];
  layout.ancestors = [...new Set(ends.flatMap((end) => end.ancestors))];
  layout.conditional = ends.some((end) => end.conditional);
}

function placeStage(layout: Layout, next: Extract<Stage, { stage: "stage" }>): void {
  const agent = next.agent ?? layout.agent;
  if (agent.agent === "none") throw needsAgent(next.name);
  const slug = slugOf(next.name);
  const workspace = next.agent === undefined ? layout.workspace : slug;
  const shared = { retry: next.retry, matrix: next.matrix };
  const parts = next.matrix
    ? [{ id: slug, body: oneScript(next) }]
    : next.steps.map((command, at) => ({
        id: command.command === "workflow" ? command.id : next.steps.length === 1 ? slug : `${slug}-${at + 1}`,
        body: bodyOf(command),
      }));
  layout.conditional ||= next.when !== undefined;
  for (const { id, body } of parts) {
    if (Object.hasOwn(layout.steps, id)) {
      throw new HodeiError("INVALID_DEFINITION", `two stages or steps are called ${id}: give one another name`, {
        field: next.name,
      });
    }
    const where =
      "workflow" in body ? {} : { ...placement(agent, workspace), env: merged(next.environment, body["env"]) };
    // A step that was skipped because an earlier one failed looks like one skipped by its `when`: the guard must see
    // every ancestor, not only the frontier.
    const needs = layout.conditional ? layout.ancestors : layout.frontier;
    const when = layout.conditional ? guardOf(needs, next.when) : undefined;
    layout.steps[id] = plain({
      ...body,
      ...where,
      ...shared,
      timeout: "workflow" in body ? totalOf(next.timeout) : next.timeout,
      when,
      needs: needs.length > 0 ? needs : undefined,
    }) as JsonObject;
    layout.frontier = [id];
    layout.ancestors = [...layout.ancestors, id];
  }
  placeStagePost(
    layout,
    next,
    parts.map((part) => part.id),
    agent,
    workspace,
  );
}

function placeStagePost(
  layout: Layout,
  next: Extract<Stage, { stage: "stage" }>,
  ids: string[],
  agent: Agent,
  workspace: string,
): void {
  const slug = slugOf(next.name);
  const failed = ids.map((id) => `${pathOf(id)}.state == 'failed'`).join(" || ");
  const cancelled = ids.map((id) => `${pathOf(id)}.state == 'cancelled'`).join(" || ");
  const outcome = `(${failed} ? 'failed' : ${cancelled} ? 'cancelled' : 'succeeded')`;
  for (const { id, step } of postSteps(next.post ?? {}, outcome, `${slug}-post`)) {
    const when = step.when ?? "true";
    layout.steps[id] = plain({
      ...step,
      ...("workflow" in step ? {} : placement(agent, workspace)),
      needs: [...ids, ...(step.needs ?? [])],
      when,
    }) as JsonObject;
  }
}

function postSteps(
  post: Post,
  outcome: string,
  prefix: string,
): { id: string; step: { when?: string; needs?: string[]; run?: string } }[] {
  const found: { id: string; step: { when?: string; needs?: string[]; run?: string } }[] = [];
  const groups = { success: "succeeded", failure: "failed", cancelled: "cancelled", always: undefined } as const;
  for (const [group, wanted] of Object.entries(groups)) {
    const commands = post[group as keyof Post] ?? [];
    commands.forEach((command, at) => {
      const id = commands.length === 1 ? `${prefix}-${group}` : `${prefix}-${group}-${at + 1}`;
      found.push({
        id,
        step: { ...bodyOf(command), when: wanted === undefined ? undefined : `${outcome} == '${wanted}'` },
      });
    });
  }
  return found;
}

const bodyOf = (command: Command): Record<string, unknown> =>
  command.command === "sh"
    ? { run: command.script, env: command.env }
    : { workflow: command.workflow, input: command.input };

function oneScript(of: Extract<Stage, { stage: "stage" }>): Record<string, unknown> {
  const scripts = of.steps.map((command) => {
    if (command.command === "sh") return command.script;
    throw new HodeiError("INVALID_DEFINITION", `stage ${of.name} has a matrix: its steps can only be sh`, {
      field: of.name,
    });
  });
  const env = Object.assign({}, ...of.steps.map((command) => (command.command === "sh" ? command.env : {}))) as Record<
    string,
    unknown
  >;
  return { run: scripts.join("\n"), env };
}

/** No worker runs a sub-workflow, so of a stage's timeouts only the total means something to it. */
function totalOf(timeout: TimeoutSpec | undefined): TimeoutSpec | undefined {
  if (timeout === undefined || typeof timeout === "string") return timeout;
  return timeout.total === undefined ? undefined : { total: timeout.total };
}

/** Nothing before failed, and the stage's own condition. */
function guardOf(before: readonly string[], own: string | undefined): string {
  const calm = before.map((id) => `${pathOf(id)}.state in ['succeeded', 'skipped']`);
  return [...calm, ...(own === undefined ? [] : [`(${own.replace(/^\$\{\{(.*)\}\}$/s, "$1").trim()})`])].join(" && ");
}

const pathOf = (id: string): string => (/^[A-Za-z_]\w*$/.test(id) ? `steps.${id}` : `steps[${JSON.stringify(id)}]`);
const placement = (agent: Agent, workspace: string): object => ({
  agent: agent.agent === "any" ? undefined : agent.agent,
  workspace,
});

function merged(stage: Record<string, unknown> | undefined, own: unknown): object | undefined {
  const env = { ...stage, ...(own as object | undefined) };
  return Object.keys(env).length > 0 ? env : undefined;
}

function slugOf(name: string): string {
  const slug = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  return /^[a-z]/.test(slug) ? slug : `stage-${slug}`;
}

function needsAgent(where: string): HodeiError {
  return new HodeiError(
    "INVALID_DEFINITION",
    `${where} has no agent: the pipeline says none(), so every stage must name one`,
    { field: where },
  );
}
