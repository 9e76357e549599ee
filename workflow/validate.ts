import type { Definition, Step } from "./definition.ts";
import type { Json } from "./json.ts";
import type { Path } from "./path.ts";
import { isJsonList } from "./schema.ts";
import { written } from "./source.ts";
import { suggestion } from "./suggest.ts";
import { checkExpressions } from "./validate-expressions.ts";
import type { Violations } from "./violations.ts";

/**
 * What no single field shows: needs that name no step, cycles, expressions that look at what they may not see.
 * `document` is what was read, to tell what a step wrote itself from what it took from the defaults.
 */
export function validateDefinition(definition: Definition, document: Json, violations: Violations): void {
  const refuseNeed = (path: Path, need: string, hint: string): void => {
    const needs = written(document, [...path, "needs"]);
    const index = isJsonList(needs) ? [needs.indexOf(need)] : [];
    violations.add([...path, "needs", ...index], `unknown step ${JSON.stringify(need)}${hint}`);
  };
  const ids = { steps: Object.keys(definition.steps), finally: Object.keys(definition.finally) };
  for (const id of ids.steps) {
    for (const need of unknownNeeds(definition.steps, id)) {
      const near = violations.full ? "" : suggestion(need, ids.steps);
      const hint = Object.hasOwn(definition.finally, need)
        ? "; it stands under finally, which runs after all steps"
        : "";
      refuseNeed(["spec", "steps", id], need, hint || near);
    }
  }
  for (const id of ids.finally) {
    for (const need of unknownNeeds(definition.finally, id)) {
      const near = violations.full ? "" : suggestion(need, ids.finally);
      const hint = Object.hasOwn(definition.steps, need)
        ? "; a step of finally needs only others there, since all steps have ended before"
        : near;
      refuseNeed(["spec", "finally", id], need, hint);
    }
  }
  for (const group of ["steps", "finally"] as const) {
    const cycle = cycleIn(definition[group]);
    if (cycle === undefined) continue;
    const path = ["spec", group, cycle[0] ?? "", "needs"];
    violations.add(path, `the steps wait for each other: ${cycle.join(" → ")}`);
  }
  checkExpressions(definition, document, violations);
}

function unknownNeeds(steps: Record<string, Step>, id: string): string[] {
  return steps[id]?.needs.filter((need) => !Object.hasOwn(steps, need)) ?? [];
}

/** One cycle as it is walked, its first step repeated at the end; undefined when there is none. */
export function cycleIn(steps: Record<string, Step>): string[] | undefined {
  const done = new Set<string>();
  for (const start of Object.keys(steps)) {
    // A trail of (step, next need to try) instead of recursion: a chain may have a thousand steps.
    const trail: { id: string; next: number }[] = [{ id: start, next: 0 }];
    const open = new Set([start]);
    while (trail.length > 0) {
      const top = trail.at(-1);
      if (top === undefined) break;
      const need = steps[top.id]?.needs[top.next];
      top.next += 1;
      if (need === undefined) {
        done.add(top.id);
        open.delete(top.id);
        trail.pop();
      } else if (open.has(need)) {
        const ids = trail.map(({ id }) => id);
        return [...ids.slice(ids.indexOf(need)), need];
      } else if (!done.has(need) && Object.hasOwn(steps, need)) {
        open.add(need);
        trail.push({ id: need, next: 0 });
      }
    }
  }
  return undefined;
}
