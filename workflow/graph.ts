import type { Definition, Step } from "./definition.ts";
import type { Execution } from "./execution.ts";
import { requirementOf } from "./matching.ts";
import type { Requirement } from "./requirement.ts";

/** What `transition` looks up in a definition, derived once: definitions are immutable. */
export type Graph = {
  nodes: ReadonlyMap<string, StepNode>;
  /** In the order they were written. */
  steps: readonly StepNode[];
  finally: readonly StepNode[];
  /** Wait steps by the signal they take. */
  waits: ReadonlyMap<string, readonly Extract<Step, { kind: "wait" }>[]>;
  /** Steps by the workspace they share. */
  workspaces: ReadonlyMap<string, readonly StepNode[]>;
};

export type StepNode = {
  step: Step;
  inFinally: boolean;
  /** Who needs it, in the order they were written. */
  dependents: readonly string[];
  requirement: (execution: Execution) => Requirement;
};

const graphs = new WeakMap<Definition, Graph>();

export function graphOf(definition: Definition): Graph {
  let graph = graphs.get(definition);
  if (graph === undefined) graphs.set(definition, (graph = build(definition)));
  return graph;
}

function build(definition: Definition): Graph {
  const dependents = new Map<string, string[]>();
  const waits = new Map<string, Extract<Step, { kind: "wait" }>[]>();
  const workspaces = new Map<string, StepNode[]>();
  const nodes = new Map<string, StepNode>();
  const add = (step: Step, inFinally: boolean): StepNode => {
    const node = { step, inFinally, dependents: listIn(dependents, step.id), requirement: requirementFor(step) };
    nodes.set(step.id, node);
    for (const need of step.needs) listIn(dependents, need).push(step.id);
    if (step.kind === "wait") listIn(waits, step.signal).push(step);
    if (step.workspace !== undefined) listIn(workspaces, step.workspace).push(node);
    return node;
  };
  const steps = Object.values(definition.steps).map((step) => add(step, false));
  const after = Object.values(definition.finally).map((step) => add(step, true));
  return { nodes, steps, finally: after, waits, workspaces };
}

function listIn<T>(lists: Map<string, T[]>, key: string): T[] {
  let list = lists.get(key);
  if (list === undefined) lists.set(key, (list = []));
  return list;
}

/** Once per step: parsing labels and quantities takes 2 to 5 µs, as long as all the rest of a transition. */
function requirementFor(step: Step): (execution: Execution) => Requirement {
  const handler = step.kind === "task" ? { handler: step.handler } : {};
  const isolated = step.agent.isolation === "loose" || step.agent.isolation === "strict";
  let shared: Requirement | undefined;
  return (execution) => {
    // Tenants are isolated from each other; a label can tell customers within one tenant apart.
    if (isolated) {
      return requirementOf(step.agent, { ...handler, customer: execution.labels.customer ?? execution.namespace });
    }
    return (shared ??= requirementOf(step.agent, handler));
  };
}
