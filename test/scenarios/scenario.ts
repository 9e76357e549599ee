import type { Shape } from "../simulation/shape.ts";
import { GIB } from "../simulation/disk.ts";
import { CONDITIONS, type Condition, EXPECTATIONS, type Expectation } from "./conditions.ts";
import { msOf, rule, ScenarioError, understand } from "./language.ts";
import { Refused, type Stage } from "./stage.ts";
import { type Act, type Block, documentOf, REQUESTS, STATEMENTS, WITH_BLOCK } from "./statements.ts";

/** A text that tells one story about a cluster, understood but not yet played. */
export type Scenario = {
  file: string;
  /** What it shows. */
  sentence: string;
  shape: Partial<Shape>;
  /** What its workers can run. */
  handlers: string[];
  sentences: { line: number; act: Act }[];
};

type Raw = { line: number; text: string; block: Block | undefined };

const SHARDS = 8;
const SLOTS = 4;

/** Throws ScenarioError, which names the file and the line, at the first thing that is not understood. */
export function parseScenario(file: string, text: string): Scenario {
  const lines = text.split("\n");
  const begins = lines.findIndex((line) => line.trim() === "");
  const sentence = lines.slice(0, Math.max(begins, 0)).join(" ");
  if (!/^[A-Z].*\.$/.test(sentence)) {
    throw new ScenarioError(file, 1, "it begins with a sentence that says what it shows, and an empty line");
  }
  const [first, ...rest] = rawsOf(file, lines, begins);
  if (first === undefined) throw new ScenarioError(file, begins + 1, "nothing happens");
  const shape = at(file, first.line, () =>
    understand(first.text.replaceAll(/\b1 (orchestrator|engine|worker)\b/g, "1 $1s"), CLUSTERS),
  );
  const handlers = rest.flatMap((raw) => at(file, raw.line, () => handlersOf(raw)));
  const sentences = rest.map((raw) => ({ line: raw.line, act: at(file, raw.line, () => actOf(raw)) }));
  return { file, sentence, shape, handlers: [...new Set(handlers)], sentences };
}

function rawsOf(file: string, lines: string[], from: number): Raw[] {
  const raws: Raw[] = [];
  for (const [index, full] of lines.entries()) {
    const line = full.trimEnd();
    const top = raws.at(-1);
    if (index < from || line === "" || line.startsWith("#")) continue;
    if (line.includes("\t")) throw new ScenarioError(file, index + 1, "a tab: indent with spaces");
    if (!line.startsWith(" ")) {
      const block = line.endsWith(":") ? { text: "", lines: [] } : undefined;
      raws.push({ line: index + 1, text: line.replace(/:$/, ""), block });
    } else if (top?.block === undefined) {
      throw new ScenarioError(file, index + 1, "indented, but the sentence before does not end with a colon");
    } else {
      top.block.lines.push(line);
      top.block.text += `${line}\n`;
    }
  }
  const empty = raws.find(({ block }) => block?.lines.length === 0);
  if (empty) throw new ScenarioError(file, empty.line, "nothing stands indented under it");
  return raws;
}

const CLUSTERS = [
  rule("cluster: {orchestrators} orchestrators, {engines} engines, {workers} workers", (sizes) =>
    shapeOf({ ...sizes, hosts: "9" }),
  ),
  rule("cluster: {orchestrators} orchestrators, {engines} engines, {workers} workers on one host", (sizes) =>
    shapeOf({ ...sizes, hosts: "1" }),
  ),
];

/** Clocks that are right, and hosts of their own: a scenario adds what it wants wrong. */
function shapeOf(sizes: { orchestrators: string; engines: string; workers: string; hosts: string }): Partial<Shape> {
  const [orchestrators, engines, workers, hosts] = [sizes.orchestrators, sizes.engines, sizes.workers, sizes.hosts].map(
    (word) => {
      if (!/^[0-9]$/.test(word)) throw new RangeError(`${word} is no number from 0 to 9`);
      return Number(word);
    },
  ) as [number, number, number, number];
  const resources = { cpuMillis: 64_000, memoryBytes: 256 * GIB, gpu: 0, storageBytes: 256 * GIB };
  const worker = { slots: SLOTS, labels: ["linux"], resources };
  return {
    orchestrators,
    engines,
    workers: Array.from({ length: workers }, () => worker),
    shards: SHARDS,
    hosts,
    loadBalancer: "consistent-hash",
    skewMs: 0,
    drift: 0,
  };
}

function handlersOf({ text, block }: Raw): string[] {
  const [, name, version] = /^workflow (\S+) (\S+)$/.exec(text) ?? [];
  if (name === undefined || version === undefined || block === undefined) return [];
  const { spec } = documentOf(name, version, block);
  const steps = [...Object.values(spec.steps ?? {}), ...Object.values(spec.finally ?? {})];
  return steps.flatMap(({ task }) => task ?? []);
}

function actOf({ text, block }: Raw): Act {
  if (block) return understand(text, WITH_BLOCK)(block);
  const [verb] = text.split(" ", 1);
  const rest = text.slice(text.indexOf(" ") + 1);
  if (verb === "expect") return expectation(rest);
  if (verb === "until") return waiting(rest);
  if (verb === "meanwhile") {
    const request = understand(rest, REQUESTS);
    return async (stage) => stage.ask(request(stage));
  }
  const refused = /^(.+) is refused with ([A-Z_]+)$/.exec(text);
  if (refused?.[1] !== undefined) return refusal(refused[1], refused[2] ?? "");
  const asked = REQUESTS.some(({ pattern }) => pattern.test(text));
  if (!asked)
    return understand(text, [...STATEMENTS, ...REQUESTS.map(({ form, pattern }) => ({ form, pattern, mean: never }))]);
  const request = understand(text, REQUESTS);
  return async (stage) => await stage.answered(request(stage));
}

function never(): never {
  throw new Error("a request is no statement");
}

function refusal(text: string, code: string): Act {
  const request = understand(text, REQUESTS);
  return async (stage) => {
    try {
      await stage.answered(request(stage));
    } catch (error) {
      if (error instanceof Refused && error.code === code) return;
      throw error;
    }
    throw new Error("it was not refused");
  };
}

function expectation(text: string): Act {
  const known = CONDITIONS.find(({ pattern }) => pattern.test(text));
  const holds: Expectation = known ? seenNow(understand(text, CONDITIONS), text) : understand(text, EXPECTATIONS_TOO);
  return async (stage) => {
    stage.sight.look();
    const instead = await holds(stage);
    if (instead !== undefined) throw new Error(`expected: ${text}; but ${instead}`);
  };
}

/** So that what is not understood is answered with all that there is. */
const EXPECTATIONS_TOO = [...EXPECTATIONS, ...CONDITIONS.map(({ form, pattern }) => ({ form, pattern, mean: never }))];

function seenNow(condition: Condition, text: string): Expectation {
  return async (stage) => condition(stage.sight, await namesIn(stage, text));
}

/** Nodes that a condition names, looked up before time goes on. */
async function namesIn(stage: Stage, text: string): Promise<(words: string) => string> {
  const phrase = /^(.*?) was answered /.exec(text)?.[1];
  const name = phrase === undefined ? "" : await stage.node(phrase);
  return () => name;
}

const WITHIN_MS = 60_000;

function waiting(text: string): Act {
  const within = /^(.+) within (\S+)$/.exec(text);
  const words = within?.[1] ?? text;
  const forMs = within?.[2] === undefined ? WITHIN_MS : msOf(within[2]);
  const condition = understand(words, CONDITIONS);
  return async (stage) => {
    const named = await namesIn(stage, words);
    stage.sight.look();
    let instead = condition(stage.sight, named);
    const done = (): boolean => {
      if (stage.sight.look()) instead = condition(stage.sight, named);
      return instead === undefined;
    };
    if (!(await stage.scripted.until(done, forMs))) {
      throw new Error(`waited ${forMs} ms for: ${words}; but ${instead ?? "nothing"}`);
    }
  };
}

function at<T>(file: string, line: number, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new ScenarioError(file, line, error instanceof Error ? error.message : String(error));
  }
}
