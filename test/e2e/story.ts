import { existsSync, readFileSync } from "node:fs";
import { expect } from "vitest";
import type { ExecutionView } from "../../transport/api/execution.ts";
import type { WorkerView } from "../../transport/api/cluster.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import { type Dev, startDev, until } from "./harness.ts";

/** What an execution did, as its history and the files that its steps wrote tell it. */

export const workflow = (name: string, spec: object): { apiVersion: "hodei.dev/v1"; kind: "Workflow" } & object =>
  ({ apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name, version: "1.0.0" }, spec }) as never;

/** A step that fits on a loaded machine many times. */
export const step = (run: string, more: object = {}): object => ({
  run,
  agent: { cpu: "50m", memory: "16Mi" },
  ...more,
});

export async function register(dev: Dev, name: string, spec: object): Promise<void> {
  await dev.client.register(workflow(name, spec) as never);
}

export async function historyOf(dev: Dev, id: string): Promise<HistoryEvent[]> {
  const events: HistoryEvent[] = [];
  for await (const { eventJson } of dev.client.history(id)) events.push(JSON.parse(eventJson) as HistoryEvent);
  return events;
}

export function ofType<T extends HistoryEvent["type"]>(
  events: readonly HistoryEvent[],
  type: T,
): Extract<HistoryEvent, { type: T }>[] {
  return events.filter((event): event is Extract<HistoryEvent, { type: T }> => event.type === type);
}

/** Every start and every end stands in the history once. Answers the history. */
export async function expectOnce(dev: Dev, id: string): Promise<HistoryEvent[]> {
  const events = await historyOf(dev, id);
  const ends = events.flatMap((event) => {
    switch (event.type) {
      case "attemptEnded":
        return [`${event.step}/${event.iteration}#${event.attempt}`];
      case "iterationEnded":
        return [`${event.step}/${event.iteration}`];
      case "stepEnded":
        return [event.step];
      case "executionStarted":
      case "executionEnded":
        return [event.type];
      default:
        return [];
    }
  });
  expect(ends.filter((end, at) => ends.indexOf(end) !== at)).toEqual([]);
  expect(ends).toContain("executionEnded");
  return events;
}

/**
 * How attempts ended, leaving out those that a kill caught between the claim and the worker: they never ran, and count as
 * attempts only in the numbering.
 */
export function endsOf(events: readonly HistoryEvent[]): string[] {
  return ofType(events, "attemptEnded").flatMap(({ outcome }) => {
    const neverRan = "reason" in outcome && /never reached the worker/.test(outcome.reason);
    return neverRan ? [] : [outcome.kind];
  });
}

export async function ended(dev: Dev, id: string): Promise<ExecutionView> {
  return await dev.client.wait(id, { deadlineMs: 60_000 });
}

export async function workers(dev: Dev): Promise<WorkerView[]> {
  return (await dev.client.call("fleet", "list", { limit: 0 })).workers;
}

/** Waits until so many workers are connected. */
export async function connected(dev: Dev, count: number): Promise<WorkerView[]> {
  return await until(async () => {
    const found = await workers(dev);
    return found.length >= count && found;
  });
}

export function lines(file: string): string[] {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
}

export async function untilLines(file: string, count: number): Promise<string[]> {
  return await until(() => lines(file).length >= count && lines(file));
}

/** No warning: nothing is flushed, closed or handed over. */
export async function killNow(dev: Dev): Promise<void> {
  dev.kill("SIGKILL");
  await dev.exited;
  await dev.client.close();
}

/** The same data folder, without a port said: it remembers its own. */
export async function again(dev: Dev, args: string[] = []): Promise<Dev> {
  return await startDev({ data: dev.data, args });
}
