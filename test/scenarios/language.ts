import { basename } from "node:path";
import { parseDuration } from "../../workflow/duration.ts";

/** Wrong in a scenario, or not as it says: where it stands, and what is wrong. */
export class ScenarioError extends Error {
  override readonly name = "ScenarioError";

  constructor(file: string, line: number, words: string) {
    super(`${basename(file)}:${line}: ${words}`);
  }
}

/** `"crash {node} for {time}"` has the holes node and time. */
type Holes<Form extends string> = Form extends `${string}{${infer Hole}}${infer Rest}` ? Hole | Holes<Rest> : never;
export type Filled<Form extends string> = Readonly<Record<Holes<Form>, string>>;

/** One sentence that a scenario may hold, and what it means. */
export type Rule<Meaning> = { form: string; pattern: RegExp; mean: (words: Record<string, string>) => Meaning };

/** Resolved when the sentence is acted on: who owns what is decided by the cluster. */
const NODE = "(?:engine|worker|orchestrator|client)-\\w+|the store|the (?:owner|engine|worker) of \\S+(?: of \\S+)?";

/** What may stand in a hole that is named so; in any other, one word. */
const HOLES: Record<string, string> = {
  node: NODE,
  other: NODE,
  json: ".+",
  times: "never|once|twice|\\d+ times",
};

export function rule<Form extends string, Meaning>(form: Form, mean: (words: Filled<Form>) => Meaning): Rule<Meaning> {
  const pattern = form
    .replaceAll(/[.*+?^$()|[\]\\]/g, "\\$&")
    .replaceAll(/\{(\w+)\}/g, (_, hole: string) => `(?<${hole}>${HOLES[hole] ?? "\\S+"})`);
  return { form, pattern: new RegExp(`^${pattern}$`), mean: mean as Rule<Meaning>["mean"] };
}

/** Throws with words when no rule has that form; the first one that has it counts. */
export function understand<Meaning>(text: string, rules: readonly Rule<Meaning>[]): Meaning {
  for (const { pattern, mean } of rules) {
    const found = pattern.exec(text);
    if (found) return mean({ ...found.groups });
  }
  const first = text.split(" ", 1)[0] ?? "";
  const alike = rules.filter(({ form }) => form.split(" ", 1)[0] === first);
  const known = (alike.length > 0 ? alike : rules).map(({ form }) => form);
  throw new RangeError(`not understood: "${text}"; there is: ${known.join(" | ")}`);
}

export function timesOf(words: string): number {
  const known: Record<string, number> = { never: 0, once: 1, twice: 2 };
  return known[words] ?? Number.parseInt(words, 10);
}

export function msOf(words: string): number {
  return parseDuration(words);
}
