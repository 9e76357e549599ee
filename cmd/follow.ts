import { styleText } from "node:util";
import { systemClock, type Timer } from "../base/clock.ts";
import type { ExecutionView, StepView } from "../transport/api/execution.ts";
import { isHodeiError } from "../workflow/errors.ts";
import type { HistoryEvent } from "../workflow/event.ts";
import { firstLine, outcomeWords, stepNames } from "./execution-view.ts";
import { say, shortDuration } from "./output.ts";
import type { Session } from "./session.ts";

/**
 * Shows an execution while it runs, on stderr: on a terminal a tree of steps that is redrawn, elsewhere one line per
 * change. Logs are interleaved as whole lines. Resolves with the final view.
 */
export async function follow(session: Session, id: string, options: { logs: boolean }): Promise<ExecutionView> {
  const screen = process.stderr.isTTY ? liveTree(session.now) : plainLines();
  const stop = new AbortController();
  const logs = options.logs ? streamLogs(session, id, (line) => screen.line(line), stop.signal) : Promise.resolve();
  try {
    await eachChange(session, id, async (event) => screen.change(event, await session.client.get(id)));
    const view = await session.client.wait(id);
    await logs;
    screen.end(view);
    return view;
  } finally {
    stop.abort();
    screen.close();
  }
}

/** Events from the start, across lost connections: the revision reached so far is where it goes on. */
async function eachChange(
  session: Session,
  id: string,
  onEvent: (event: HistoryEvent) => Promise<void>,
): Promise<void> {
  let revision = 0;
  for (;;) {
    try {
      for await (const entry of session.client.watch(id, revision)) {
        revision = entry.revision;
        const event = JSON.parse(entry.eventJson) as HistoryEvent;
        await onEvent(event);
        if (event.type === "executionEnded") return;
      }
      return;
    } catch (error) {
      if (!isHodeiError(error, "UNAVAILABLE")) throw error;
      await session.client.get(id);
    }
  }
}

async function streamLogs(
  session: Session,
  id: string,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const partial = new Map<string, { decoder: InstanceType<typeof TextDecoder>; text: string }>();
  try {
    for await (const chunk of session.client.logs(id, { follow: true, signal })) {
      const key = chunk.iteration === "0" ? chunk.step : `${chunk.step}[${chunk.iteration}]`;
      const held = partial.get(key) ?? { decoder: new TextDecoder(), text: "" };
      partial.set(key, held);
      if (chunk.dropped > 0) onLine(`${key} | DROPPED(${chunk.dropped})`);
      const lines = (held.text + held.decoder.decode(chunk.data, { stream: true })).split("\n");
      held.text = lines.pop() ?? "";
      for (const line of lines) onLine(`${key} | ${line}`);
    }
  } catch (error) {
    if (!signal.aborted && !isHodeiError(error, "CANCELLED")) throw error;
  }
  for (const [key, { text }] of partial) if (text !== "") onLine(`${key} | ${text}`);
}

type Screen = {
  change(event: HistoryEvent, view: ExecutionView): void;
  line(text: string): void;
  end(view: ExecutionView): void;
  /** However the following ended. */
  close(): void;
};

function plainLines(): Screen {
  const told = new Map<string, string>();
  const tell = (view: ExecutionView): void => {
    const nameOf = stepNames(view.steps);
    for (const step of view.steps) {
      const key = nameOf(step);
      if (told.get(key) === step.state || step.state === "pending") continue;
      told.set(key, step.state);
      say(
        `${key}: ${step.state}${tookOf(step)}${step.error === undefined ? "" : ` (${firstLine(step.error.message)})`}`,
      );
    }
  };
  return {
    change(event, view) {
      if (event.type === "attemptEnded" && event.outcome.kind !== "succeeded")
        say(`${event.step}: attempt ${event.attempt} ${outcomeWords(event.outcome)}`);
      tell(view);
    },
    line: say,
    end(view) {
      tell(view);
      const took = view.endedAtMs === undefined ? "" : ` in ${shortDuration(view.endedAtMs - view.startedAtMs)}`;
      say(`${view.workflow}@${view.version} ${view.id}: ${view.state}${took}`);
    },
    close: () => undefined,
  };
}

const MARKS = {
  succeeded: "✓",
  failed: "✗",
  running: "▶",
  queued: "…",
  waiting: "…",
  backoff: "↻",
  skipped: "-",
  cancelled: "■",
  pending: " ",
} as const;
const COLOURS = { succeeded: "green", failed: "red", running: "cyan", cancelled: "yellow" } as const;
/** A tree taller than this, or than the screen, shows what moves and counts the rest: what scrolled away stays there. */
const TREE_ROWS_MAX = 30;
const treeRows = (): number => Math.max(1, Math.min(TREE_ROWS_MAX, (process.stderr.rows || 24) - 3));

/** Durations move though nothing happens. */
const TICK_MS = 1_000;

function liveTree(now: () => number): Screen {
  let drawn = 0;
  let latest: ExecutionView | undefined;
  let ticking: Timer | undefined;
  const erase = (): void => {
    if (drawn > 0) process.stderr.write(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  };
  const draw = (): void => {
    if (latest === undefined) return;
    const lines = treeLines(latest, now());
    process.stderr.write(`${lines.join("\n")}\n`);
    drawn = lines.length;
  };
  const redraw = (): void => {
    erase();
    draw();
  };
  const tick = (): void => {
    redraw();
    ticking = systemClock.after(TICK_MS, tick);
  };
  return {
    change(_, view) {
      latest = view;
      if (ticking === undefined) tick();
      else redraw();
    },
    line(text) {
      erase();
      say(text);
      draw();
    },
    end(view) {
      latest = view;
      redraw();
    },
    close: () => ticking?.cancel(),
  };
}

function treeLines(view: ExecutionView, nowMs: number): string[] {
  const depth = depths(view.steps);
  const settled = (step: StepView): boolean => ["succeeded", "skipped", "pending"].includes(step.state);
  const shown =
    view.steps.length <= treeRows() ? view.steps : view.steps.filter((step) => !settled(step)).slice(0, treeRows());
  const nameOf = stepNames(view.steps);
  const rows = shown.map((step) => {
    const colour = COLOURS[step.state as keyof typeof COLOURS];
    const text = fitting(
      `${"  ".repeat(1 + (depth.get(step.id) ?? 0))}${MARKS[step.state]} ${nameOf(step)}${tookOf(step, nowMs)}`,
    );
    return colour === undefined ? text : styleText(colour, text, { stream: process.stderr });
  });
  const hidden = view.steps.length - shown.length;
  const head = `${view.workflow}@${view.version} ${view.id} ${view.state} ${shortDuration((view.endedAtMs ?? nowMs) - view.startedAtMs)}`;
  return [fitting(head), ...rows, ...(hidden > 0 ? [`  and ${hidden} more steps`] : [])];
}

/** One row of the screen: a longer one would wrap and be erased in part. A terminal may say that it has 0 columns. */
function fitting(line: string): string {
  return line.slice(0, process.stderr.columns || 120);
}

function tookOf(step: StepView, nowMs?: number): string {
  const until = step.endedAtMs ?? nowMs;
  return step.startedAtMs === undefined || until === undefined ? "" : ` ${shortDuration(until - step.startedAtMs)}`;
}

/** How far each step stands from the start, along its longest chain of needs. */
function depths(steps: readonly StepView[]): Map<string, number> {
  const found = new Map<string, number>();
  const byId = new Map(steps.map((step) => [step.id, step]));
  const visit = (id: string): number => {
    const known = found.get(id);
    if (known !== undefined) return known;
    const needs = byId.get(id)?.needs ?? [];
    const depth = needs.length === 0 ? 0 : 1 + Math.max(...needs.map(visit));
    found.set(id, depth);
    return depth;
  };
  for (const step of steps) visit(step.id);
  return found;
}
