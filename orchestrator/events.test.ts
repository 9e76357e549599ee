import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import type { ClusterEvent } from "../transport/api/cluster.ts";
import { EventHub, SUBSCRIBER_BUFFER } from "./events.ts";

const event = (over: Partial<ClusterEvent> = {}): ClusterEvent => ({
  atMs: 0,
  kind: "WorkerConnected",
  severity: "info",
  message: "",
  facts: {},
  missed: 0,
  ...over,
});

/** Reads until `count` events are there, then lets go. */
async function take(events: AsyncIterable<ClusterEvent>, count: number): Promise<ClusterEvent[]> {
  const taken: ClusterEvent[] = [];
  for await (const one of events) {
    taken.push(one);
    if (taken.length === count) break;
  }
  return taken;
}

describe("the event hub", () => {
  it("gives a subscriber what it asked for and nothing from before", async () => {
    const hub = new EventHub(new ManualClock());
    hub.forward(event({ message: "before" }));
    const { signal } = new AbortController();
    const warnings = hub.subscribe({ minSeverity: "warning", kinds: [] }, signal);
    const joins = hub.subscribe({ minSeverity: "debug", kinds: ["EngineJoined"] }, signal);
    hub.forward(event({ severity: "error", message: "bad" }));
    hub.emit("EngineJoined", "good", { engine: "engine-1" });
    hub.forward(event({ severity: "critical", message: "worse" }));
    expect((await take(warnings, 2)).map(({ message }) => message)).toEqual(["bad", "worse"]);
    expect(await take(joins, 1)).toMatchObject([{ kind: "EngineJoined", engine: "engine-1", severity: "info" }]);
  });

  it("wakes a reader that waits", async () => {
    const hub = new EventHub(new ManualClock());
    const reading = take(hub.subscribe({ minSeverity: "debug", kinds: [] }, new AbortController().signal), 1);
    hub.forward(event({ message: "now" }));
    expect((await reading)[0]?.message).toBe("now");
  });

  it("tells a slow reader how many it missed, those that the engine's stream had lost included", async () => {
    const hub = new EventHub(new ManualClock());
    const events = hub.subscribe({ minSeverity: "debug", kinds: [] }, new AbortController().signal);
    for (let n = 0; n < SUBSCRIBER_BUFFER; n++) hub.forward(event({ message: `kept ${n}` }));
    hub.forward(event({ message: "lost" }));
    hub.forward(event({ message: "lost with 3 before it", missed: 3 }));
    const reader = events[Symbol.asyncIterator]();
    for (let n = 0; n < SUBSCRIBER_BUFFER; n++) {
      expect((await reader.next()).value).toMatchObject({ message: `kept ${n}`, missed: 0 });
    }
    hub.forward(event({ message: "after", missed: 1 }));
    expect((await reader.next()).value).toMatchObject({ message: "after", missed: 6 });
  });

  it("ends with the signal", async () => {
    const hub = new EventHub(new ManualClock());
    const abort = new AbortController();
    const reading = take(hub.subscribe({ minSeverity: "debug", kinds: [] }, abort.signal), 1);
    abort.abort();
    expect(await reading).toEqual([]);
  });
});
