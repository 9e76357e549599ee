import { describe, expect, it } from "vitest";
import { ENGINE_EVENTS } from "../../engine/events.ts";
import { ORCHESTRATOR_EVENTS } from "../../orchestrator/events.ts";
import { SEVERITIES } from "../../transport/api/cluster.ts";
import type { HistoryEventType } from "../../workflow/event.ts";
import { schemaOf } from "../schema.ts";
import { read, table } from "./pages.ts";

const page = read("docs/events.md");
const known: Record<string, string> = { ...ORCHESTRATOR_EVENTS, ...ENGINE_EVENTS };

/** Complete by its type: one kind more or less does not compile. */
const HISTORY: Record<HistoryEventType, true> = {
  executionStarted: true,
  stepOpened: true,
  iterationQueued: true,
  attemptEnded: true,
  iterationBackoff: true,
  iterationWaiting: true,
  stepStopping: true,
  workspaceLost: true,
  iterationEnded: true,
  stepEnded: true,
  signalReceived: true,
  signalConsumed: true,
  paused: true,
  resumed: true,
  cancelRequested: true,
  executionTimedOut: true,
  retried: true,
  finallyStarted: true,
  executionEnded: true,
};

describe("docs/events.md", () => {
  it("lists every kind of cluster event with its severity", () => {
    const listed = table(page, "Cluster events").map(([kind, severity]) => [kind, severity]);
    expect(Object.fromEntries(listed)).toEqual(known);
    expect(listed).toHaveLength(Object.keys(known).length);
  });

  it("lists every event of a history", () => {
    expect(table(page, "History").map(([type]) => type)).toEqual(Object.keys(HISTORY));
  });
});

describe("the schemas", () => {
  it("of events knows the same kinds and severities", () => {
    const { properties } = schemaOf("events");
    expect(properties?.["kind"]).toEqual({ enum: Object.keys(known) });
    expect(properties?.["severity"]).toEqual({ enum: [...SEVERITIES] });
  });

  it("of a history knows the same events", () => {
    expect(schemaOf("history").items).toMatchObject({ properties: { type: { enum: Object.keys(HISTORY) } } });
  });
});
