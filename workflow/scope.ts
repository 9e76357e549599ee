import type { StepNode, Graph } from "./graph.ts";
import { own, type Execution, type StepRecord } from "./execution.ts";
import type { Scope } from "./expression.ts";
import type { Json } from "./json.ts";

/** `steps.<id>` in an expression. A plain step has the outputs of its one iteration; one with many has none of its own. */
type StepScope = {
  state: string;
  outputs: Readonly<Record<string, Json>>;
  iterations: readonly { state: string; outputs: Readonly<Record<string, Json>> }[];
};

/** Of ended steps: a retry or rerun makes a new record, so nothing here can go stale. */
const ended = new WeakMap<StepRecord, StepScope>();
const NO_OUTPUTS: Readonly<Record<string, Json>> = {};
const PENDING: StepScope = { state: "pending", outputs: NO_OUTPUTS, iterations: [] };

/** What the expressions of an execution see; `more` adds what one iteration sees. */
export function scopeOf(
  graph: Graph,
  execution: Execution,
  more: Pick<Scope, "matrix" | "item" | "index"> = {},
): Scope {
  return {
    ...more,
    input: execution.input,
    // Made when an expression asks: most steps have none.
    get steps() {
      return stepsScope(graph, execution);
    },
    get execution() {
      return facts(execution);
    },
  };
}

function facts(execution: Execution): Record<string, unknown> {
  const { id, uid, namespace, workflow, version, runNumber, labels, state, outcome } = execution;
  return {
    id,
    uid,
    namespace,
    workflow,
    version,
    runNumber,
    labels,
    state,
    ...(outcome === undefined ? {} : { outcome }),
  };
}

/** Once per loaded execution; each step is looked at only when an expression asks for it: some have 10,000 iterations. */
const scopes = new WeakMap<Execution, Readonly<Record<string, StepScope>>>();

function stepsScope(graph: Graph, execution: Execution): Readonly<Record<string, StepScope>> {
  let scope = scopes.get(execution);
  if (scope !== undefined) return scope;
  const getters: PropertyDescriptorMap = {};
  for (const [id, node] of graph.nodes) {
    getters[id] = { enumerable: true, get: () => stepScope(node, own(execution.steps, id)) };
  }
  scope = Object.defineProperties<Record<string, StepScope>>({}, getters);
  scopes.set(execution, scope);
  return scope;
}

function stepScope(node: StepNode, record: StepRecord | undefined): StepScope {
  if (record === undefined) return PENDING;
  const known = ended.get(record);
  if (known !== undefined) return known;
  const many = node.step.matrix !== undefined || node.step.forEach !== undefined;
  const scope: StepScope = {
    state: record.state,
    outputs: many ? NO_OUTPUTS : (record.iterations[iterationKey(record, 0)]?.outputs ?? NO_OUTPUTS),
    iterations: iterationsScope(record),
  };
  if (record.endedAtMs !== undefined) ended.set(record, scope);
  return scope;
}

function iterationsScope(record: StepRecord): StepScope["iterations"] {
  const total = record.items?.length ?? 1;
  const list: { state: string; outputs: Readonly<Record<string, Json>> }[] = [];
  // In item order; one that was never opened, because another failed first, counts as cancelled.
  for (let index = 0; index < total; index++) {
    const iteration = record.iterations[iterationKey(record, index)];
    if (iteration === undefined) {
      if (record.items !== undefined) list.push({ state: "cancelled", outputs: NO_OUTPUTS });
    } else list.push({ state: iteration.state, outputs: iteration.outputs ?? NO_OUTPUTS });
  }
  return list;
}

/** "3", or "3.1" after the step began anew in a fresh workspace. */
export function iterationKey(record: Pick<StepRecord, "generation">, index: number): string {
  return record.generation === 0 ? String(index) : `${index}.${record.generation}`;
}
