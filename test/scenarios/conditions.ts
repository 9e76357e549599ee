import { isDeepStrictEqual } from "node:util";
import { displayState, type Execution } from "../../workflow/execution.ts";
import { fold } from "../../workflow/fold.ts";
import { msOf, rule, timesOf } from "./language.ts";
import { type Sight, stepOf } from "./sight.ts";
import type { Stage } from "./stage.ts";

/** What is seen instead; undefined: it holds. */
export type Condition = (sight: Sight, node: (words: string) => string) => string | undefined;
export type Expectation = (stage: Stage) => Promise<string | undefined>;

function inState(id: string, wanted: string): Condition {
  return (sight) => {
    const execution = sight.execution(id);
    const state = execution === undefined ? "not there" : displayState(execution);
    return state === wanted ? undefined : `it is ${state}${reasonOf(execution)}`;
  };
}

function reasonOf(execution: Execution | undefined): string {
  return execution?.error === undefined ? "" : ` (${execution.error.code}: ${execution.error.message})`;
}

function stepIs(step: string, id: string, wanted: string): Condition {
  return (sight) => {
    const state = stateOf(sight, step, id);
    return state === wanted ? undefined : `it is ${state}`;
  };
}

function stateOf(sight: Sight, step: string, id: string): string {
  const { name, iteration } = stepOf(step);
  const record = sight.execution(id)?.steps[name];
  if (record === undefined || record.state === "pending") return "pending";
  if (sight.runsOf(step, id).some(({ ended }) => ended === undefined)) return "running";
  const state = iteration === undefined && record.state !== "open" ? record.state : undefined;
  return state ?? record.iterations[iteration ?? "0"]?.state ?? record.state;
}

function ran(step: string, id: string, times: number): Condition {
  return (sight) => {
    const runs = sight.runsOf(step, id);
    if (runs.length === times) return undefined;
    const words = runs.map(({ worker, job, ended }) => `attempt ${job.attempt} on ${worker}: ${ended ?? "runs"}`);
    return `it ran ${runs.length} times${words.length === 0 ? "" : ` (${words.join("; ")})`}`;
  };
}

/** What `until` can wait for, and `expect` too: seen from what has happened. */
export const CONDITIONS = [
  rule("{id} is running", ({ id }) => inState(id, "running")),
  rule("{id} is paused", ({ id }) => inState(id, "paused")),
  rule("{id} is cancelling", ({ id }) => inState(id, "cancelling")),
  rule("{id} succeeded", ({ id }) => inState(id, "succeeded")),
  rule("{id} failed", ({ id }) => inState(id, "failed")),
  rule("{id} was cancelled", ({ id }) => inState(id, "cancelled")),
  rule("{id} is not there", ({ id }) => inState(id, "not there")),
  rule("{id} failed with {code}", ({ id, code }): Condition => (sight) => {
    const execution = sight.execution(id);
    if (execution?.state === "failed" && execution.error?.code === code) return undefined;
    return `it is ${execution?.state ?? "not there"}${reasonOf(execution)}`;
  }),
  rule("{id} runs version {version}", ({ id, version }): Condition => (sight) => {
    const seen = sight.execution(id)?.version ?? "not there";
    return seen === version ? undefined : `it is ${seen}`;
  }),
  rule("output of {id} is {json}", ({ id, json }): Condition => {
    const wanted: unknown = JSON.parse(json);
    return (sight) => {
      const output = sight.execution(id)?.output;
      return isDeepStrictEqual(output, wanted) ? undefined : `it is ${JSON.stringify(output) ?? "not there"}`;
    };
  }),
  rule("{step} of {id} is running", ({ step, id }) => stepIs(step, id, "running")),
  rule("{step} of {id} is queued", ({ step, id }) => stepIs(step, id, "queued")),
  rule("{step} of {id} waits", ({ step, id }) => stepIs(step, id, "waiting")),
  rule("{step} of {id} waits to try again", ({ step, id }) => stepIs(step, id, "backoff")),
  rule("{step} of {id} has not begun", ({ step, id }) => stepIs(step, id, "pending")),
  rule("{step} of {id} succeeded", ({ step, id }) => stepIs(step, id, "succeeded")),
  rule("{step} of {id} failed", ({ step, id }) => stepIs(step, id, "failed")),
  rule("{step} of {id} was skipped", ({ step, id }) => stepIs(step, id, "skipped")),
  rule("{step} of {id} was cancelled", ({ step, id }) => stepIs(step, id, "cancelled")),
  rule("{step} of {id} ran {times}", ({ step, id, times }) => ran(step, id, timesOf(times))),
  rule("{step} of {id} lasted at least {time}", ({ step, id, time }): Condition => {
    const wantedMs = msOf(time);
    return (sight) => {
      const { startedAtMs, endedAtMs } = sight.execution(id)?.steps[step] ?? {};
      if (startedAtMs === undefined || endedAtMs === undefined) return "it has not ended";
      return endedAtMs - startedAtMs >= wantedMs ? undefined : `it lasted ${endedAtMs - startedAtMs} ms`;
    };
  }),
  rule("{node} was answered {status} to {call}", ({ node, status, call }): Condition => (sight, named) => {
    const of = sight.answers.filter((answer) => answer.node === named(node) && answer.method === call);
    if (of.some((answer) => answer.status === status)) return undefined;
    return `the store answered ${[...new Set(of.map((answer) => answer.status))].join(", ") || "no such call"}`;
  }),
];

/** What only `expect` can look at: how things stand now. */
export const EXPECTATIONS = [
  rule("{node} is {other}", ({ node, other }): Expectation => async (stage) => {
    const [one, two] = [await stage.node(node), await stage.node(other)];
    return one === two ? undefined : `${node} is ${one}`;
  }),
  rule("{node} is not {other}", ({ node, other }): Expectation => async (stage) => {
    const [one, two] = [await stage.node(node), await stage.node(other)];
    return one === two ? `both are ${one}` : undefined;
  }),
  rule("{node} is up", ({ node }): Expectation => async (stage) => {
    const name = await stage.node(node);
    return stage.scripted.cluster.node(name).up ? undefined : `${name} is down`;
  }),
  rule("log of {step} of {id} is lines 1 to {count}", ({ step, id, count }): Expectation => {
    const wanted = Array.from({ length: Number.parseInt(count, 10) }, (_, at) => `line ${at + 1}\n`).join("");
    return async (stage) => {
      const { text, gaps } = await logOf(stage, step, id);
      if (gaps > 0) return `${gaps} bytes are missing`;
      return text === wanted ? undefined : `it is ${JSON.stringify(text.slice(0, 200))}`;
    };
  }),
  rule("store and history of {id} agree", ({ id }): Expectation => async (stage) => {
    const { store } = stage.scripted.cluster.bareStore;
    const page = await store.readHistory({ namespace: "default", id, afterRevision: 0, limit: 10_000 });
    const stored = page?.commits.flatMap(({ events }) => events.map((text): unknown => JSON.parse(text))) ?? [];
    const seen = stage.sight.history(id);
    if (isDeepStrictEqual(stored, seen) && stored.length > 0 && fold(seen).id === id) return undefined;
    return `the store holds ${stored.length} events, ${seen.length} were committed`;
  }),
];

async function logOf(stage: Stage, step: string, id: string): Promise<{ text: string; gaps: number }> {
  const { store } = stage.scripted.cluster.bareStore;
  const { chunks } = await store.logs.read({ namespace: "default", executionId: id, step, limitBytes: 1_000_000 });
  const text = chunks.map(({ data }) => Buffer.from(data).toString("utf8")).join("");
  return { text, gaps: chunks.reduce((sum, { dropped }) => sum + dropped, 0) };
}
