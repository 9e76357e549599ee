import type { Definition, Lock, Step } from "./definition.ts";
import { digestOf } from "./load.ts";
import { HodeiError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

/** Answers with the published version that a range means now, or undefined when there is none. */
export type Resolve = (
  name: string,
  range: string,
) => { version: string; digest: string; definition: Definition } | undefined;

/** The sub-workflows a definition starts itself, in the order of its steps; `range` as written ("" = the default). */
export function directDependencies(definition: Definition): { name: string; range: string; step: string }[] {
  return [...Object.values(definition.steps), ...Object.values(definition.finally)]
    .filter((step): step is Extract<Step, { kind: "workflow" }> => step.kind === "workflow")
    .map((step) => ({ name: step.workflow, range: step.range, step: step.id }));
}

/** How a lock names what a step asks for. */
export function lockKey(name: string, range: string): string {
  return `${name} ${range}`;
}

/**
 * Pins every sub-workflow that `root` can reach, each `name range` once: one resolution for the whole tree, so that two
 * steps that ask for the same get the same. A definition may reach itself, directly or around a cycle: whether that ends
 * is decided by its `when` at run time and bounded by depth. `definitions` holds every distinct definition of the tree,
 * `root` first. Throws NO_SUCH_VERSION naming the step and the range, TOO_LARGE past LIMITS.closure.
 */
export function closureLock(root: Definition, resolve: Resolve): { lock: Lock; definitions: Definition[] } {
  const entries: Lock["entries"] = {};
  const definitions = new Map<string, Definition>([[digestOf(root), root]]);
  // Breadth first; a Map is walked in the order of insertion, including what is added on the way.
  for (const definition of definitions.values()) {
    for (const { name, range, step } of directDependencies(definition)) {
      const key = lockKey(name, range);
      if (Object.hasOwn(entries, key)) continue;
      const found = resolve(name, range);
      if (found === undefined) throw noSuchVersion(definition, step, name, range);
      entries[key] = { name, version: found.version, digest: found.digest };
      if (!definitions.has(found.digest)) definitions.set(found.digest, found.definition);
      if (definitions.size > LIMITS.closure) {
        throw new HodeiError("TOO_LARGE", `${root.name} reaches more than ${LIMITS.closure} definitions`, {
          field: `spec.steps.${step}.workflow`,
        });
      }
    }
  }
  return { lock: { entries }, definitions: [...definitions.values()] };
}

function noSuchVersion(definition: Definition, step: string, name: string, range: string): HodeiError {
  const wanted = range === "" ? name : `${name}@${range}`;
  const group = Object.hasOwn(definition.steps, step) ? "steps" : "finally";
  return new HodeiError(
    "NO_SUCH_VERSION",
    `step "${step}" of ${definition.name}@${definition.version} needs ${wanted}, and no published version is that`,
    {
      field: `spec.${group}.${step}.workflow`,
      hint: `publish ${name} first, or change the range`,
      facts: { workflow: definition.name, version: definition.version, step, name, range },
    },
  );
}
