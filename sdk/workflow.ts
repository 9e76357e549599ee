import type { JsonObject } from "../workflow/json.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { HandlerRef } from "./handler.ts";
import { type Ref, type Resolved, type Value, plain, reference, referredSteps } from "./reference.ts";
import type { FromSchema, Schema } from "./schema.ts";

/** A definition in code: plain data in `document`, the same that YAML gives; `Input` and `Output` live in the types alone. */
export type Workflow<Input = unknown, Output = unknown> = {
  readonly name: string;
  readonly version: string;
  readonly document: WorkflowDocument;
  /** Types only: nothing is stored here. */
  readonly types?: { input: Input; output: Output };
};

export type WorkflowDocument = {
  apiVersion: "hodei.dev/v1";
  kind: "Workflow";
  metadata: { name: string; version: string; description?: string; labels?: Record<string, string> };
  spec: JsonObject;
};

export type AgentSpec =
  | string
  | {
      label?: string;
      template?: string;
      docker?: string | { image: string; args?: string[] };
      kubernetes?: string;
      service?: string;
      hardware?: Record<string, number | string>;
      models?: string[] | Record<string, string[]>;
      custom?: Record<string, string | number | boolean>;
      isolation?: "none" | "loose" | "strict";
      resources?: { cpu?: string; memory?: string; gpu?: string; storage?: string };
      ephemeral?: boolean;
    };

export type RetrySpec =
  | number
  | { maxAttempts?: number; initialInterval?: string; maxInterval?: string; multiplier?: number; on?: string[] };
export type TimeoutSpec = string | { queue?: string; start?: string; run?: string; total?: string };

/** What every step may say beside its own kind; durations are texts such as "90s" or "1h30m". */
export type Modifiers = {
  needs?: readonly StepRef[];
  when?: Ref<boolean> | string;
  matrix?: Record<string, readonly unknown[] | Ref<unknown[]>> & {
    include?: readonly object[];
    exclude?: readonly object[];
  };
  forEach?: readonly unknown[] | Ref<unknown[]>;
  maxParallel?: number;
  failFast?: boolean;
  continueOnError?: boolean;
  retry?: RetrySpec;
  timeout?: TimeoutSpec;
  agent?: AgentSpec;
  workspace?: string;
  env?: Record<string, Value<string>>;
  onLost?: "retry" | "fail" | "rerun";
};

/** Spec-level values are the defaults of every step; `timeout` is that of the whole execution. */
export type Defaults = Pick<Modifiers, "agent" | "workspace" | "env" | "retry" | "onLost"> & { timeout?: string };

/** A step as later steps see it. */
export type StepRef<Outputs = unknown> = {
  readonly id: string;
  readonly state: Ref<"succeeded" | "failed" | "skipped" | "cancelled">;
  readonly outputs: Ref<Outputs>;
  /** Of a forEach or matrix step, in item order. */
  readonly iterations: Ref<{ outputs: Outputs; state: string }[]>;
};

type RunOptions<Names extends string> = Modifiers & {
  /** The shell text. Values reach it by `env` alone: nothing is interpolated into it. */
  script: string;
  /** Names the script writes to $HODEI_OUTPUT, for the types. */
  outputs?: readonly Names[];
  shell?: "sh" | "bash";
  container?: string;
};

/** Adds steps in order; a step needs what it refers to, and what `needs` names beside. */
export type StepBuilder = {
  run: <const Names extends string = never>(
    id: string,
    options: string | RunOptions<Names>,
  ) => StepRef<{ [K in Names]: string }>;
  task: <Input, Output>(
    id: string,
    handler: HandlerRef<Input, Output>,
    options: Modifiers & { input: Value<Input> },
  ) => StepRef<Output>;
  workflow: <Input, Output>(
    id: string,
    workflow: Workflow<Input, Output>,
    options: Modifiers & { input: Value<Input>; range?: string; affinity?: "parent" },
  ) => StepRef<Output>;
  wait: <const S extends Schema = Record<never, never>>(
    id: string,
    options: Modifiers & ({ signal: string; schema?: S } | { approval: { message?: string; roles?: string[] } }),
  ) => StepRef<FromSchema<S>>;
  sleep: (
    id: string,
    duration: string | Ref<string> | Ref<number>,
    modifiers?: Modifiers,
  ) => StepRef<Record<never, never>>;
};

export type BuildContext<Input> = StepBuilder & {
  input: Ref<Input>;
  execution: Ref<{ id: string; uid: string; namespace: string; workflow: string; version: string; runNumber: number }>;
  /** The current element and its place, inside a forEach step. */
  item: Ref<Record<string, unknown>>;
  index: Ref<number>;
  matrix: Ref<Record<string, string>>;
  /** Steps that run at the end whatever happened. */
  finally: StepBuilder & { outcome: Ref<"succeeded" | "failed" | "cancelled"> };
};

export type WorkflowOptions<S extends Schema, Output> = Defaults & {
  name: string;
  version: string;
  description?: string;
  labels?: Record<string, string>;
  input?: S;
  priority?: "low" | "normal" | "high";
  /** Adds the steps; what it returns is the workflow's output. */
  steps: (context: BuildContext<FromSchema<S>>) => Output;
};

/**
 * Builds a definition. Nothing runs here but `steps`, once, to lay out the graph; its values are references.
 * Throws INVALID_DEFINITION for a repeated step id; everything else is checked when it is registered or loaded.
 */
export function defineWorkflow<const S extends Schema = { type: "object" }, Output = void>(
  options: WorkflowOptions<S, Output>,
): Workflow<FromSchema<S>, Resolved<Output>> {
  const steps: Record<string, JsonObject> = {};
  const last: Record<string, JsonObject> = {};
  const output = options.steps({
    ...stepBuilder(steps, [steps, last]),
    input: reference("input"),
    execution: reference("execution"),
    item: reference("item"),
    index: reference("index"),
    matrix: reference("matrix"),
    finally: { ...stepBuilder(last, [steps, last]), outcome: reference("execution.outcome") },
  });
  const { name, version, description, labels } = options;
  const { input, priority, agent, workspace, env, retry, timeout, onLost } = options;
  const spec = {
    input,
    priority,
    agent,
    workspace,
    env,
    retry,
    timeout,
    onLost,
    steps,
    finally: Object.keys(last).length > 0 ? last : undefined,
    output,
  };
  return {
    name,
    version,
    document: {
      apiVersion: "hodei.dev/v1",
      kind: "Workflow",
      metadata: plain({ name, version, description, labels }) as WorkflowDocument["metadata"],
      spec: plain(spec) as JsonObject,
    },
  };
}

function stepBuilder(into: Record<string, JsonObject>, taken: Record<string, JsonObject>[]): StepBuilder {
  const add = <Outputs>(id: string, body: object, modifiers: Modifiers): StepRef<Outputs> => {
    if (taken.some((steps) => Object.hasOwn(steps, id))) {
      throw new HodeiError("INVALID_DEFINITION", `step ${id} is there already: every step needs an id of its own`, {
        field: id,
      });
    }
    into[id] = plain({ ...body, ...withNeeds(into, body, modifiers) }) as JsonObject;
    const path = /^[A-Za-z_]\w*$/.test(id) ? `steps.${id}` : `steps[${JSON.stringify(id)}]`;
    return {
      id,
      state: reference(`${path}.state`),
      outputs: reference(`${path}.outputs`),
      iterations: reference(`${path}.iterations`),
    };
  };
  return {
    run(id, options) {
      const {
        script,
        shell,
        container,
        outputs: _,
        ...modifiers
      } = typeof options === "string" ? { script: options } : options;
      return add(id, { run: script, shell, container }, modifiers);
    },
    task(id, handler, { input, ...modifiers }) {
      return add(id, { task: handler.name, input }, modifiers);
    },
    workflow(id, workflow, { input, range, affinity, ...modifiers }) {
      return add(id, { workflow: `${workflow.name}@${range ?? `^${workflow.version}`}`, input, affinity }, modifiers);
    },
    wait(id, options) {
      if ("approval" in options) {
        const { approval, ...modifiers } = options;
        return add(id, { wait: { approval } }, modifiers);
      }
      const { signal, schema, ...modifiers } = options;
      return add(id, { wait: { signal, schema } }, modifiers);
    },
    sleep: (id, duration, modifiers = {}) => add(id, { sleep: duration }, modifiers),
  };
}

/** Steps that a step's values refer to are needed without saying so; those of the other phase are there anyway. */
function withNeeds(own: Record<string, JsonObject>, body: object, modifiers: Modifiers): object {
  const named = (modifiers.needs ?? []).map((step) => step.id);
  const referred = [...referredSteps([body, { ...modifiers, needs: undefined }])].filter((id) =>
    Object.hasOwn(own, id),
  );
  const needs = [...new Set([...named, ...referred])];
  return { ...modifiers, needs: needs.length > 0 ? needs : undefined };
}
