import { evaluate as evaluateCel } from "@marcbachmann/cel-js";
import type { Template } from "./definition.ts";
import { HodeiError, type Violation } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";

/** What an expression sees. */
export type Scope = {
  input: Json;
  steps: Readonly<Record<string, unknown>>;
  execution: Readonly<Record<string, unknown>>;
  matrix?: Readonly<Record<string, Json>>;
  item?: Json;
  index?: number;
};

export type Names = { steps: string[]; has: { matrix?: boolean; item?: boolean }; input?: JsonObject };
export type CheckOptions = { path?: string };

export function evaluate(expression: string, scope: Scope): Json {
  try {
    return JSON.parse(
      JSON.stringify(evaluateCel(expression, JSON.parse(JSON.stringify(scope))), (_key, value: unknown) =>
        typeof value === "bigint" ? Number(value) : value,
      ),
    ) as Json;
  } catch (error) {
    throw new HodeiError("INVALID_EXPRESSION", `${expression}: ${String(error)}`, { cause: error });
  }
}

export function render(template: Template, scope: Scope): Json {
  if (typeof template === "string") {
    const whole = /^\$\{\{((?:(?!\}\}).)*)\}\}$/s.exec(template);
    if (whole !== null) return evaluate(whole[1] ?? "", scope);
    return template.replace(/\$\{\{(.*?)\}\}/gs, (_match, expression: string) => {
      const value = evaluate(expression, scope);
      return typeof value === "string" ? value : JSON.stringify(value);
    });
  }
  if (Array.isArray(template)) return template.map((element) => render(element as Json, scope));
  if (template === null || typeof template !== "object") return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, render(value as Json, scope)]));
}

export function checkExpression(_expression: string, _names: Names, _options: CheckOptions = {}): Violation[] {
  return [];
}

export function checkTemplate(_template: Template, _names: Names, _options: CheckOptions = {}): Violation[] {
  return [];
}
