/**
 * The timers of one execution, by id. Each has one meaning and at most one date, so setting it again moves it:
 * `execution` and `grace` (the whole), `grace/<step>`, and for one iteration `queue|retry|sleep|total/<step>/<iteration>`.
 */
export const EXECUTION_TIMER = "execution";
export const GRACE_TIMER = "grace";

export type IterationTimer = "queue" | "retry" | "sleep" | "total";

export function iterationTimer(kind: IterationTimer, step: string, iteration: string): string {
  return `${kind}/${step}/${iteration}`;
}

export function stepGraceTimer(step: string): string {
  return `${GRACE_TIMER}/${step}`;
}

export type ParsedTimer =
  | { kind: "execution" }
  | { kind: "grace"; step?: string }
  | { kind: IterationTimer; step: string; iteration: string };

/** Undefined for an id of a later version of Hodei. */
export function parseTimer(id: string): ParsedTimer | undefined {
  const [kind, step, iteration] = id.split("/");
  switch (kind) {
    case "execution":
      return { kind };
    case "grace":
      return step === undefined ? { kind } : { kind, step };
    case "queue":
    case "retry":
    case "sleep":
    case "total":
      return step === undefined || iteration === undefined ? undefined : { kind, step, iteration };
    default:
      return undefined;
  }
}
