import type { Definition, Step } from "./definition.ts";
import { checkExpression, checkTemplate } from "./expression.ts";
import type { Names } from "./expression.ts";
import type { Json } from "./json.ts";
import type { Path } from "./path.ts";
import { isJsonList, isJsonObject } from "./schema.ts";
import { written } from "./source.ts";
import type { Violations } from "./violations.ts";

/**
 * Checks every expression against what it may see: a step those steps that it needs, directly or not (others may not
 * have ended, so what it saw would depend on timing); the output all steps; a step of finally all steps and the steps
 * of finally that it needs.
 */
export function checkExpressions(definition: Definition, document: Json, violations: Violations): void {
  const all = Object.keys(definition.steps);
  const everything = [...all, ...Object.keys(definition.finally)];
  const check = (visible: string[], has: Names["has"]): Checker =>
    new Checker(violations, visible, everything, { steps: [], has, input: definition.input });
  for (const group of ["steps", "finally"] as const) {
    const needed = transitiveNeeds(definition[group]);
    for (const step of Object.values(definition[group])) {
      const visible = [...(group === "finally" ? all : []), ...(needed.get(step.id) ?? [])];
      checkStep(step, ["spec", group, step.id], document, (has) => check(visible, has));
    }
  }
  check(all, {}).template(definition.output, ["spec", "output"]);
}

function checkStep(step: Step, path: Path, document: Json, check: (has: Names["has"]) => Checker): void {
  // The step as a whole: `when`, and what makes the iterations.
  const outer = check({});
  if (step.when !== undefined) outer.condition(step.when, [...path, "when"]);
  if (step.forEach !== undefined) outer.items(step.forEach, [...path, "forEach"]);
  for (const [axis, values] of Object.entries(step.matrix?.axes ?? {})) {
    outer.items(values, [...path, "matrix", axis]);
  }
  const inner = check({ matrix: step.matrix !== undefined, item: step.forEach !== undefined });
  for (const [name, value] of Object.entries(step.env)) {
    const own = [...path, "env", name];
    if (written(document, own) !== undefined) inner.template(value, own);
    else inner.template(value, ["spec", "env", name], ` (in step "${step.id}")`);
  }
  if (step.kind === "run" && step.container !== undefined) inner.template(step.container, [...path, "container"]);
  if (step.kind === "task" || step.kind === "workflow") inner.template(step.input, [...path, "input"]);
  if (step.kind === "sleep") inner.template(step.duration, [...path, "sleep"]);
}

class Checker {
  readonly #violations: Violations;
  readonly #seen: Names;
  /** As if every step could be seen: tells "that step is not needed" from "that is no step". */
  readonly #unbound: Names;

  constructor(violations: Violations, visible: string[], everything: string[], names: Names) {
    this.#violations = violations;
    this.#seen = { ...names, steps: visible };
    this.#unbound = { ...names, steps: everything };
  }

  condition(text: string, path: Path): void {
    const found = checkExpression(text, this.#seen, { expects: "bool" });
    if (found.length === 0) return;
    this.#report(found, () => checkExpression(text, this.#unbound), text, path, "");
  }

  /** The items of a forEach or an axis: a list, or one whole expression that gives one. */
  items(text: Json[] | string, path: Path): void {
    if (typeof text !== "string") return this.template(text, path);
    const found = checkTemplate(text, this.#seen, { expects: "list" });
    if (found.length === 0) return;
    this.#report(found, () => checkTemplate(text, this.#unbound), text, path, "");
  }

  /** Every string within. */
  template(value: Json, path: Path, where = ""): void {
    // Each that is wrong is looked at for near names among a thousand steps: 15,000 of them took 2 s.
    if (this.#violations.full) return;
    if (isJsonList(value)) {
      for (const [index, item] of value.entries()) this.template(item, [...path, index], where);
    } else if (isJsonObject(value)) {
      for (const [key, item] of Object.entries(value)) this.template(item, [...path, key], where);
    } else if (typeof value === "string" && value.includes("${{")) {
      const found = checkTemplate(value, this.#seen);
      if (found.length > 0) this.#report(found, () => checkTemplate(value, this.#unbound), value, path, where);
    }
  }

  #report(found: { message: string }[], unbound: () => unknown[], text: string, path: Path, where: string): void {
    const visible = new Set(this.#seen.steps);
    const onlyHidden = !this.#violations.full && unbound().length === 0;
    const hidden = onlyHidden ? this.#unbound.steps.filter((id) => !visible.has(id) && mentions(text, id)) : [];
    if (hidden.length === 0) {
      for (const { message } of found) this.#violations.add(path, `${message}${where}`);
      return;
    }
    for (const id of hidden) {
      const message = `refers to step "${id}", which it does not need and which may not have ended; add it to needs`;
      this.#violations.add(path, `${message}${where}`);
    }
  }
}

/** For a message only, after the check has failed: good enough to name the step. */
function mentions(text: string, id: string): boolean {
  return text.includes(`steps.${id}.`) || text.includes(`steps["${id}"]`) || text.includes(`steps['${id}']`);
}

/** Every step that a step needs, directly or by way of others. Cycles are told elsewhere; here they only must end. */
export function transitiveNeeds(steps: Record<string, Step>): Map<string, Set<string>> {
  const needed = new Map<string, Set<string>>();
  for (const id of Object.keys(steps)) {
    const found = new Set<string>();
    const open = [...(steps[id]?.needs ?? [])];
    for (let need = open.pop(); need !== undefined; need = open.pop()) {
      if (found.has(need) || !Object.hasOwn(steps, need)) continue;
      found.add(need);
      const known = needed.get(need);
      if (known === undefined) open.push(...(steps[need]?.needs ?? []));
      else for (const one of known) found.add(one);
    }
    needed.set(id, found);
  }
  return needed;
}
