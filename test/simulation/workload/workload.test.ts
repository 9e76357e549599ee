import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../base/random.ts";
import { judge } from "../../../orchestrator/publishing.ts";
import type { RegistryRecord } from "../../../store/store.ts";
import type { Definition, Step } from "../../../workflow/definition.ts";
import { definitionOf, digestOf } from "../../../workflow/load.ts";
import type { Document } from "./definitions.ts";
import { drawWorkload, makeWorkload } from "./workload.ts";

const SEEDS = 300;
const drawn = Array.from({ length: SEEDS }, (_, seed) => drawWorkload(seededRandom(seed)));

function documents({ families }: (typeof drawn)[number]): Document[] {
  const all = [...families.children, ...families.roots];
  return [...all.map(({ first }) => first), ...all.flatMap(({ next }) => next ?? [])];
}

function stepsOf(definition: Definition): Step[] {
  return [...Object.values(definition.steps), ...Object.values(definition.finally)];
}

const definitions = drawn.map((one) => documents(one).map((document) => definitionOf(document)));
const steps = definitions.map((all) => all.flatMap(stepsOf));
const actions = drawn.map(({ clients }) => clients.flatMap((client) => client.actions));

const anyStep = (has: (step: Step) => boolean): number => steps.filter((all) => all.some(has)).length;
const behaves = (name: string): number =>
  anyStep(
    (step) => step.kind === "task" && typeof step.input === "object" && step.input !== null && name in step.input,
  );
const anyAction = (name: string): number => actions.filter((all) => all.some((action) => action.do === name)).length;
const anyWorkflow = (has: (definition: Definition) => boolean): number =>
  definitions.filter((all) => all.some(has)).length;

describe("generated workloads", () => {
  it("are the same for the same seed", () => {
    expect(makeWorkload(seededRandom(5)).words).toEqual(makeWorkload(seededRandom(5)).words);
    expect(makeWorkload(seededRandom(5)).words).not.toEqual(makeWorkload(seededRandom(6)).words);
  });

  it("hold definitions that may be published, in their order", async () => {
    for (const all of definitions.slice(0, 100)) {
      const registry: RegistryRecord = { revision: 0, definitions: [], channels: {} };
      const bodies = new Map<string, Definition>();
      for (const definition of all) {
        const digest = digestOf(definition);
        const load = async (of: { digest: string }): Promise<Definition> => bodies.get(of.digest) ?? definition;
        // What a channel would mean is decided by the registry of the run.
        const ranges = stepsOf(definition).map((step) => (step.kind === "workflow" ? step.range : ""));
        const { refusals } = await judge(registry, definition, digest, load);
        const real = ranges.includes("stable") ? [] : refusals.map(({ message }) => message);
        expect(real, `${definition.name}@${definition.version}`).toEqual([]);
        const { name, version } = definition;
        registry.definitions.push({ name, version, digest, publishedAtMs: 0, dependencies: {} });
        bodies.set(digest, definition);
      }
    }
  });

  it("stay small", () => {
    for (const [seed, all] of definitions.entries()) {
      expect(all.length, `seed ${seed}`).toBeLessThanOrEqual(10);
      expect(steps[seed]?.length).toBeLessThanOrEqual(70);
    }
  });

  // Of 300 seeds; a feature that hardly ever comes is one that hardly ever is tested.
  it.each<[string, number, number]>([
    ["sub-workflows", anyStep((step) => step.kind === "workflow"), 90],
    ["three levels of them", drawn.filter(({ families }) => families.children.length === 3).length, 20],
    ["affinity to the parent", anyStep((step) => step.kind === "workflow" && step.affinity === "parent"), 30],
    ["children in a forEach", anyStep((step) => step.kind === "workflow" && step.forEach !== undefined), 20],
    ["signals", anyStep((step) => step.kind === "wait"), 90],
    ["sleep", anyStep((step) => step.kind === "sleep"), 90],
    ["forEach", anyStep((step) => step.kind === "task" && step.forEach !== undefined), 90],
    ["matrix", anyStep((step) => step.matrix !== undefined), 60],
    ["a window", anyStep((step) => step.maxParallel !== undefined), 50],
    ["failFast off", anyStep((step) => !step.failFast), 50],
    ["when", anyStep((step) => step.when !== undefined), 60],
    ["needs", anyStep((step) => step.needs.length > 1), 60],
    ["retries", anyStep((step) => step.retry.maxAttempts > 1), 200],
    ["at most once", anyStep((step) => step.onLost === "fail"), 150],
    ["workspaces", anyStep((step) => step.workspace !== undefined), 30],
    ["rerun of a workspace", anyStep((step) => step.onLost === "rerun"), 5],
    ["a total timeout", anyStep((step) => step.timeout.totalMs !== undefined), 90],
    ["labels", anyStep((step) => step.agent.label !== undefined), 120],
    ["a label that nobody has", anyStep((step) => step.agent.label === "gpu"), 30],
    ["resources", anyStep((step) => step.agent.resources !== undefined), 100],
    ["a handler that few have", anyStep((step) => step.kind === "task" && step.handler === "rare"), 80],
    ["continueOnError", anyStep((step) => step.continueOnError), 90],
    ["finally", anyWorkflow((definition) => Object.keys(definition.finally).length > 0), 100],
    ["a timeout of the whole", anyWorkflow((definition) => definition.timeoutMs !== undefined), 30],
    ["priorities", anyWorkflow((definition) => definition.priority !== "normal"), 80],
    ["outputs of the whole", anyWorkflow((definition) => Object.keys(definition.output).length > 0), 90],
    ["first attempts that fail", behaves("failFirst"), 120],
    ["failures for good", behaves("permanent"), 60],
    ["handlers that hang", behaves("hang"), 50],
    ["deaf handlers", behaves("deaf"), 50],
    ["logs", behaves("lines"), 150],
    ["large outputs", behaves("out"), 60],
    ["values passed on", behaves("from"), 50],
    ["several clients", drawn.filter(({ clients }) => clients.length > 1).length, 150],
    ["several roots", drawn.filter(({ families }) => families.roots.length > 1).length, 60],
    ["a publish in the middle", anyAction("publish"), 120],
    ["a plan", anyAction("plan"), 30],
    ["a promotion", anyAction("promote"), 100],
    ["a deletion", anyAction("delete"), 20],
    ["signals sent", anyAction("signal"), 150],
    ["cancel", anyAction("cancel"), 100],
    ["pause", anyAction("pause"), 120],
    ["resume", anyAction("resume"), 80],
    ["retry", anyAction("retry"), 120],
    ["wait", anyAction("wait"), 150],
    ["get", anyAction("get"), 120],
    ["history", anyAction("history"), 60],
    ["list", anyAction("list"), 60],
    ["a start twice", actions.filter((all) => all.some((it) => it.do === "start" && it.twice)).length, 100],
  ])("show %s often enough", (_name, seen, least) => expect(seen).toBeGreaterThanOrEqual(least));
});
