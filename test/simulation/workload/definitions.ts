import type { Json, JsonObject } from "../../../workflow/json.ts";
import { isJsonObject } from "../../../workflow/schema.ts";
import type { Dice } from "./dice.ts";
import { drawFinally, drawSteps, type Surroundings } from "./steps.ts";

/** A Workflow document as people write it. */
export type Document = {
  apiVersion: "hodei.dev/v1";
  kind: "Workflow";
  metadata: { name: string; version: string };
  spec: { steps: Record<string, JsonObject>; finally?: Record<string, JsonObject>; [key: string]: Json | undefined };
};

/** One name: what is published before anything starts, and perhaps what is published in the middle. */
export type Family = {
  name: string;
  first: Document;
  /** Whether the channel `stable` points at the first one from the beginning. */
  stable: boolean;
  next?: Document;
};

/** Sub-workflows from the lowest level up, then the roots, so that each finds what it needs when it is published. */
export type Families = { children: Family[]; roots: [Family, ...Family[]] };

const DEPTHS = [0, 0, 0, 1, 1, 1, 2, 3] as const;

export function drawFamilies(dice: Dice, of: Omit<Surroundings, "child">): Families {
  const children: Family[] = [];
  const depth = dice.pick(DEPTHS);
  for (let level = 1; level <= depth; level++) {
    children.push(
      drawFamily(dice, `sub${level}`, dice.int(1, 3), { ...of, child: referenceTo(dice, children.at(-1)) }),
    );
  }
  const root = (number: number): Family => {
    const child = referenceTo(dice, children.at(-1));
    return drawFamily(dice, `root${number}`, Math.min(dice.int(1, 12), dice.int(1, 12)), { ...of, child });
  };
  return { children, roots: dice.chance(0.4) ? [root(1), root(2)] : [root(1)] };
}

function referenceTo(dice: Dice, family: Family | undefined): string | undefined {
  if (family === undefined) return undefined;
  const range = dice.pick(["", "@^1.0.0", "@1.0.0", family.stable ? "@stable" : "@~1.0"]);
  return `${family.name}${range}`;
}

function drawFamily(dice: Dice, name: string, size: number, of: Surroundings): Family {
  const steps = drawSteps(dice, size, of);
  // A sub-workflow that is never called shows nothing.
  if (of.child !== undefined && !Object.values(steps).some((step) => step["workflow"] !== undefined)) {
    steps["c"] = { workflow: of.child, input: { yes: dice.chance(0.5) } };
  }
  const first = documentOf(name, "1.0.0", {
    ...(dice.chance(0.3) ? { priority: dice.pick(["low", "high"]) } : {}),
    ...(dice.chance(0.12) ? { timeout: dice.pick(["3s", "15s", "60s"]) } : {}),
    steps,
    ...(dice.chance(0.3) ? { finally: drawFinally(dice, of) } : {}),
    ...(dice.chance(0.3) ? { output: { run: "${{ execution.runNumber }}", state: "${{ steps.s0.state }}" } } : {}),
  });
  const family = { name, first, stable: dice.chance(0.5) };
  return dice.chance(0.45) ? { ...family, next: drawNext(dice, first, of) } : family;
}

/** A later version that may be published: other numbers are a patch, another step is a minor change. */
function drawNext(dice: Dice, { metadata, spec }: Document, of: Surroundings): Document {
  const steps = Object.fromEntries(
    Object.entries(spec.steps).map(([id, step]) => {
      const input = step["input"];
      if (step["task"] === undefined || !isJsonObject(input)) return [id, step];
      return [id, { ...step, input: { ...input, ms: dice.pick([5, 50, 500]) } }];
    }),
  );
  if (dice.chance(0.5)) return documentOf(metadata.name, "1.0.1", { ...spec, steps: { ...steps, ...touched(steps) } });
  const [added] = Object.values(drawSteps(dice, 1, { ...of, child: undefined }));
  return documentOf(metadata.name, "1.1.0", { ...spec, steps: { ...steps, ...(added ? { more: added } : {}) } });
}

/** Without a task nothing would have changed; the same content under another version is refused by nobody, but dull. */
function touched(steps: Record<string, JsonObject>): Record<string, JsonObject> {
  const [first] = Object.entries(steps);
  return first === undefined ? {} : { [first[0]]: { ...first[1], continueOnError: true } };
}

function documentOf(name: string, version: string, spec: Document["spec"]): Document {
  return { apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name, version }, spec };
}
