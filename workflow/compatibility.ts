import type { Definition, Step } from "./definition.ts";
import { canonicalJson } from "./digest.ts";
import type { Json, JsonObject } from "./json.ts";
import { formatPath } from "./path.ts";
import type { Path } from "./path.ts";
import { schemaChanges } from "./schema-compatibility.ts";
import { largestBump } from "./version.ts";
import type { Bump } from "./version.ts";

/** One difference between two versions of a definition: how large a semver step it needs, where, and in plain words. */
export type Change = { bump: Exclude<Bump, "none">; path: string; message: string };

/** An input that is not described is any object. */
const ANY_OBJECT: JsonObject = { type: "object" };

/** What a step that is waited for may send when its step says nothing of it. */
const ANYTHING: JsonObject = {};

/** How a field of the normal form is called in a document, where the two differ. */
const WRITTEN: Record<string, string> = { script: "run", handler: "task", duration: "sleep", range: "workflow" };

const OF_WAIT = ["signal", "approval", "schema"];

/**
 * Everything that changed, the version itself apart. What callers stand on is the input, the output, the ids of steps
 * (retry, logs and history name them) and the signals waited for: taking from these is major, adding is minor. All
 * else (scripts, agents, retries, needs, labels) is how the work is done: patch. Equal definitions give no change.
 */
export function changesBetween(older: Definition, newer: Definition): Change[] {
  const changes = new Changes();
  if (older.name !== newer.name) changes.add("major", ["metadata", "name"], `renamed from "${older.name}"`);
  for (const change of schemaChanges(older.input ?? ANY_OBJECT, newer.input ?? ANY_OBJECT, ["spec", "input"])) {
    changes.add(change.bump, change.path, change.message);
  }
  outputChanges(older, newer, changes);
  signalChanges(older, newer, changes);
  stepChanges(older, newer, changes);
  for (const [key, path] of [
    ["priority", ["spec", "priority"]],
    ["timeoutMs", ["spec", "timeout"]],
    ["description", ["metadata", "description"]],
    ["labels", ["metadata", "labels"]],
  ] as const) {
    if (!same(older[key], newer[key])) changes.add("patch", path, "changed");
  }
  return changes.list;
}

/** The least semver step that allows all of them. */
export function requiredBump(changes: readonly Change[]): Bump {
  return largestBump(changes.map((change) => change.bump));
}

class Changes {
  readonly list: Change[] = [];

  add(bump: Change["bump"], path: Path, message: string): void {
    const change = { bump, path: formatPath(path), message };
    const told = this.list.some((one) => one.path === change.path && one.message === message && one.bump === bump);
    if (!told) this.list.push(change);
  }
}

function outputChanges(older: Definition, newer: Definition, changes: Changes): void {
  for (const [name, template] of Object.entries(older.output)) {
    const path = ["spec", "output", name];
    if (!Object.hasOwn(newer.output, name)) changes.add("major", path, `the output "${name}" is removed`);
    else if (!same(template, newer.output[name]))
      changes.add("patch", path, `the output "${name}" is computed otherwise`);
  }
  for (const name of Object.keys(newer.output)) {
    if (Object.hasOwn(older.output, name)) continue;
    changes.add("minor", ["spec", "output", name], `the output "${name}" is added`);
  }
}

function stepChanges(older: Definition, newer: Definition, changes: Changes): void {
  for (const group of ["steps", "finally"] as const) {
    for (const [id, step] of Object.entries(older[group])) {
      const path = ["spec", group, id];
      const next = Object.hasOwn(newer[group], id) ? newer[group][id] : undefined;
      const moved = Object.hasOwn(newer.steps, id) || Object.hasOwn(newer.finally, id);
      if (next !== undefined) fieldChanges(step, next, path, changes);
      else if (moved) changes.add("patch", path, `the step "${id}" moved between steps and finally`);
      else changes.add("major", path, `the step "${id}" is removed`);
    }
    for (const id of Object.keys(newer[group])) {
      if (Object.hasOwn(older.steps, id) || Object.hasOwn(older.finally, id)) continue;
      changes.add("minor", ["spec", group, id], `the step "${id}" is added`);
    }
  }
}

function fieldChanges(older: Step, newer: Step, path: Path, changes: Changes): void {
  if (older.kind !== newer.kind) {
    changes.add("patch", path, `the step is now ${newer.kind}, was ${older.kind}`);
    return;
  }
  const before = new Map<string, Json | undefined>(Object.entries(older));
  const after = new Map<string, Json | undefined>(Object.entries(newer));
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    if (same(before.get(key), after.get(key))) continue;
    // Told by signalChanges, word by word.
    if (key === "schema" && same(before.get("signal"), after.get("signal"))) continue;
    // A signal that came or went is told by name above; this is for the step.
    if (newer.kind === "wait" && OF_WAIT.includes(key)) changes.add("patch", [...path, "wait"], "waits otherwise");
    else changes.add("patch", [...path, WRITTEN[key] ?? key], "changed");
  }
}

type Wait = Extract<Step, { kind: "wait" }>;

function waitsOf(definition: Definition): { step: Wait; path: Path }[] {
  return (["steps", "finally"] as const).flatMap((group) =>
    Object.values(definition[group])
      .filter((step): step is Wait => step.kind === "wait")
      .map((step) => ({ step, path: ["spec", group, step.id, "wait"] })),
  );
}

/** A sender knows a signal by its name, not by the step: each must find a taker that accepts what was accepted before. */
function signalChanges(older: Definition, newer: Definition, changes: Changes): void {
  const before = waitsOf(older);
  const after = waitsOf(newer);
  for (const { step, path } of before) {
    if (after.some((wait) => wait.step.signal === step.signal)) continue;
    const renamed = after.find((wait) => wait.step.id === step.id)?.step.signal;
    const how = renamed === undefined ? "is no longer waited for" : `is renamed to "${renamed}"`;
    changes.add("major", path, `the signal "${step.signal}" ${how}`);
  }
  for (const { step, path } of after) {
    const same = before.filter((wait) => wait.step.signal === step.signal);
    if (same.length === 0) changes.add("minor", path, `the signal "${step.signal}" is taken`);
    // The step itself as it was, else every step that took this signal: whatever any of them accepted may be sent.
    const own = same.filter((wait) => wait.step.id === step.id);
    for (const previous of own.length > 0 ? own : same) {
      const from = previous.step.schema ?? ANYTHING;
      for (const change of schemaChanges(from, step.schema ?? ANYTHING, [...path, "schema"])) {
        changes.add(change.bump, change.path, change.message);
      }
    }
  }
}

function same(a: Json | undefined, b: Json | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return canonicalJson(a) === canonicalJson(b);
}
