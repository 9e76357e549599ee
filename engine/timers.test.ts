import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { DeadlineHeap } from "./heap.ts";
import { createStoreTime } from "./store-time.ts";
import { Timers } from "./timers.ts";

const of = (timer: string, shard = 0) => ({ namespace: "n", id: "x", shard, timer });

function timers() {
  const clock = new ManualClock(1_000_000);
  const time = createStoreTime(clock);
  const fired: string[] = [];
  return { clock, time, fired, timers: new Timers({ clock, time, fire: (due) => fired.push(due.timer) }) };
}

describe("Timers", () => {
  it("fires each once, in order of time", async () => {
    const { clock, fired, timers: subject } = timers();
    subject.set(of("b"), clock.now() + 200);
    subject.set(of("a"), clock.now() + 100);
    await clock.advance(99);
    expect(fired).toEqual([]);
    await clock.advance(1);
    expect(fired).toEqual(["a"]);
    await clock.advance(10_000);
    expect(fired).toEqual(["a", "b"]);
  });

  it("fires what is long due at once, and a moved one at its new time only", async () => {
    const { clock, fired, timers: subject } = timers();
    subject.set(of("due"), 1);
    subject.set(of("moved"), clock.now() + 100);
    subject.set(of("moved"), clock.now() + 300);
    await clock.advance(299);
    expect(fired).toEqual(["due"]);
    await clock.advance(1);
    expect(fired).toEqual(["due", "moved"]);
  });

  it("forgets what is cleared, and all of a shard that is dropped", async () => {
    const { clock, fired, timers: subject } = timers();
    subject.set(of("cleared"), clock.now() + 10);
    subject.set(of("dropped", 1), clock.now() + 10);
    subject.set(of("kept", 2), clock.now() + 10);
    subject.clear(of("cleared"));
    subject.dropShard(1);
    await clock.advance(10);
    expect(fired).toEqual(["kept"]);
    expect(subject.size).toBe(0);
  });

  it("goes by the store's clock, not by its own", async () => {
    const { clock, time, fired, timers: subject } = timers();
    time.observe(clock.now() - 500);
    subject.set(of("a"), clock.now());
    await clock.advance(499);
    expect(fired).toEqual([]);
    await clock.advance(1);
    expect(fired).toEqual(["a"]);
  });
});

describe("DeadlineHeap", () => {
  it("gives items by time, equal ones in the order they came", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 })), fc.nat(), (times, cut) => {
        const heap = new DeadlineHeap<{ atMs: number; index: number }>();
        for (const [index, atMs] of times.entries()) heap.push({ atMs, index });
        heap.keep((item) => item.index >= cut % 5);
        const expected = times
          .map((atMs, index) => ({ atMs, index }))
          .filter((item) => item.index >= cut % 5)
          .toSorted((a, b) => a.atMs - b.atMs || a.index - b.index);
        const given = Array.from({ length: heap.size }, () => heap.pop());
        expect(given).toEqual(expected);
      }),
    );
  });
});
