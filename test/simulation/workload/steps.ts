import type { Json, JsonObject } from "../../../workflow/json.ts";
import type { Dice } from "./dice.ts";

/** How the one handler of simulated workers behaves. Stands in the step's input, so that a definition tells all. */
export type Behaviour = {
  /** Virtual ms until it ends by itself. */
  ms: number;
  /** Throws a Flaky error while the attempt's number is at most this. */
  failFirst?: number;
  /** Throws an error that says that trying again is useless. */
  permanent?: boolean;
  /** Ends only when told to. */
  hang?: boolean;
  /** Does not hear that it is told to end. */
  deaf?: boolean;
  /** Lines of log, spread over its time. */
  lines?: number;
  /** Characters of an output. */
  out?: number;
};

/** What a definition may refer to. */
export type Surroundings = {
  /** A sub-workflow as a step names it, such as `sub1@^1.0.0`; none on the lowest level. */
  child: string | undefined;
  /** Labels and handlers that some worker has, and one that none has. */
  labels: readonly [string, ...string[]];
  handlers: readonly [string, ...string[]];
};

/** Signals that wait steps take; whoever ends a run sends all of them. */
export const SIGNALS = ["go", "ok"] as const;
/** Outputs are at most 64 KiB: this is refused. */
const TOO_MUCH = 70_000;

type Steps = Record<string, JsonObject>;

/** An acyclic graph: each step needs some of those before it. */
export function drawSteps(dice: Dice, count: number, of: Surroundings, prefix = "s"): Steps {
  const steps: Steps = {};
  const groups = dice.chance(0.2) ? ["src"] : [];
  for (let index = 0; index < count; index++) {
    const before = Object.keys(steps);
    const needs = dice.some(before.slice(-3), 0.4);
    const drawn = drawStep(dice, needs, steps, of, groups);
    steps[`${prefix}${index}`] = needs.length === 0 ? drawn : { needs, ...drawn };
  }
  return steps;
}

function drawStep(dice: Dice, needs: string[], steps: Steps, of: Surroundings, groups: string[]): JsonObject {
  const step: Record<string, Json> = {};
  if (dice.chance(0.08)) step["when"] = drawWhen(dice, needs, steps);
  if (dice.chance(0.12)) step["continueOnError"] = true;
  const kind = dice.int(1, 100);
  if (kind <= 14 && of.child !== undefined) {
    return { ...step, ...drawChild(dice, of.child) };
  }
  if (kind <= 23) {
    // Nobody signals what runs again after all clients have gone: a message on its way when the store lost its tail.
    step["timeout"] = { total: dice.chance(0.4) ? `${dice.int(2, 20)}s` : "2m" };
    return { ...step, wait: { signal: dice.pick(SIGNALS) } };
  }
  if (kind <= 32) return { ...step, sleep: dice.pick(["10ms", "300ms", "2s", "7s"]) };
  return { ...step, ...drawTask(dice, needs, steps, of, groups) };
}

function drawWhen(dice: Dice, needs: string[], steps: Steps): string {
  const [need] = needs;
  if (need !== undefined && dice.chance(0.5)) return `steps.${need}.state == "${dice.pick(["succeeded", "failed"])}"`;
  return steps["s0"] === undefined || dice.chance(0.5) ? "input.yes" : "!input.yes";
}

function drawChild(dice: Dice, child: string): JsonObject {
  return {
    workflow: child,
    input: { yes: dice.chance(0.5) },
    ...(dice.chance(0.3) ? { affinity: "parent" } : {}),
    ...(dice.chance(0.2) ? { forEach: [1, 2] } : {}),
    ...(dice.chance(0.3) ? { retry: drawRetry(dice) } : {}),
    ...(dice.chance(0.15) ? { timeout: { total: `${dice.int(3, 20)}s` } } : {}),
  };
}

function drawTask(dice: Dice, needs: string[], steps: Steps, of: Surroundings, groups: string[]): JsonObject {
  const [group] = groups;
  const behaviour = drawBehaviour(dice);
  const fanOut = drawFanOut(dice);
  const agent = drawAgent(dice, of);
  const task = dice.chance(0.15) ? dice.pick(of.handlers) : "work";
  const workspace = group !== undefined && dice.chance(0.6) ? group : undefined;
  const mayWait = task !== "work" || workspace !== undefined || !CERTAIN.has(agent?.["label"] ?? "linux");
  const timeout = drawTimeout(dice, behaviour, mayWait);
  const [need] = needs.filter((id) => steps[id]?.["task"] !== undefined && !fansOut(steps[id]));
  const from: JsonObject = need !== undefined && dice.chance(0.4) ? { from: `\${{ steps.${need}.outputs.v }}` } : {};
  const onLost = dice.int(1, 10);
  return {
    task,
    input: { ...(behaviour as JsonObject), ...from },
    ...fanOut,
    ...(dice.chance(0.45) || (behaviour.failFirst ?? 0) > 0 ? { retry: drawRetry(dice) } : {}),
    ...(timeout === undefined ? {} : { timeout }),
    ...(agent === undefined ? {} : { agent }),
    ...(onLost <= 3 ? { onLost: "fail" } : onLost === 4 && group !== undefined ? { onLost: "rerun" } : {}),
    ...(workspace === undefined ? {} : { workspace }),
  };
}

function fansOut(step: JsonObject | undefined): boolean {
  return step?.["forEach"] !== undefined || step?.["matrix"] !== undefined;
}

function drawBehaviour(dice: Dice): Behaviour {
  const behaviour: Behaviour = { ms: dice.pick([0, 1, 20, 200, 200, 1_000, 1_000, 4_000, 9_000]) };
  const kind = dice.int(1, 100);
  if (kind <= 14) behaviour.failFirst = dice.pick([1, 1, 2, 5]);
  else if (kind <= 19) behaviour.permanent = true;
  else if (kind <= 23) behaviour.hang = true;
  if (dice.chance(0.05)) behaviour.deaf = true;
  if (dice.chance(0.25)) behaviour.lines = dice.int(1, 6);
  if (dice.chance(0.06)) behaviour.out = dice.chance(0.3) ? TOO_MUCH : dice.pick([2_000, 20_000]);
  return behaviour;
}

function drawFanOut(dice: Dice): JsonObject {
  const kind = dice.int(1, 100);
  if (kind > 22) return {};
  const more = {
    ...(dice.chance(0.4) ? { maxParallel: dice.int(1, 2) } : {}),
    ...(dice.chance(0.4) ? { failFast: false } : {}),
  };
  if (kind <= 8) return { matrix: { os: ["a", "b"], ...(dice.chance(0.5) ? { arch: [1, 2] } : {}) }, ...more };
  return { forEach: dice.pick<Json[]>([[], [1, 2], [1, 2, 3], [1, 2, 3, 4]]), ...more };
}

function drawRetry(dice: Dice): JsonObject {
  return {
    maxAttempts: dice.int(2, 4),
    initialInterval: dice.pick(["0ms", "10ms", "500ms"]),
    maxInterval: "3s",
    on: dice.pick<string[]>([["user", "timeout"], ["user"], ["timeout"], ["Flaky", "CHILD_FAILED", "JOB_FAILED"]]),
  };
}

/** Labels that some worker has, whatever else is asked. */
const CERTAIN: ReadonlySet<Json> = new Set<Json>(["linux", "big", "linux && big"]);

/**
 * What hangs has a run timeout, or nothing would ever end it. What may find no worker waits for one for seconds, not for the
 * usual five minutes: those were half of all events, and told nothing.
 */
function drawTimeout(dice: Dice, behaviour: Behaviour, mayWait: boolean): JsonObject | undefined {
  const timeout: Record<string, Json> = {};
  if (behaviour.hang === true || dice.chance(0.15)) timeout["run"] = dice.pick(["500ms", "2s", "6s"]);
  if (dice.chance(0.1)) timeout["total"] = dice.pick(["1s", "5s", "20s"]);
  if (mayWait || dice.chance(0.1)) timeout["queue"] = dice.pick(["2s", "10s", "30s"]);
  if (dice.chance(0.06)) timeout["start"] = dice.pick(["1s", "4s", "10s"]);
  return Object.keys(timeout).length === 0 ? undefined : timeout;
}

function drawAgent(dice: Dice, of: Surroundings): JsonObject | undefined {
  const agent: Record<string, Json> = {};
  if (dice.chance(0.2)) agent["label"] = dice.pick(of.labels);
  if (dice.chance(0.12)) agent["cpu"] = dice.pick(["100m", "1", "2"]);
  if (dice.chance(0.05)) agent["memory"] = dice.pick(["64Mi", "2Gi"]);
  return Object.keys(agent).length === 0 ? undefined : agent;
}

/** Of `finally`: short, and without anything that waits for people. */
export function drawFinally(dice: Dice, of: Surroundings): Steps {
  const steps: Steps = {};
  for (let index = 0; index < dice.int(1, 2); index++) {
    const { hang: _never, ...behaviour } = drawBehaviour(dice);
    const task = {
      task: dice.pick(of.handlers),
      input: { ...behaviour, ms: Math.min(behaviour.ms, 1_000), outcome: "${{ execution.outcome }}" },
    };
    steps[`z${index}`] = dice.chance(0.2) ? { sleep: "200ms" } : task;
  }
  return steps;
}
