import { describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../base/clock.ts";
import { giveBackWhenIdle, thisProcess } from "./idle-memory.ts";

function setUp() {
  const clock = new ManualClock();
  const used = { cpuMs: 0, bytes: 30e6, collections: 0 };
  const collect = (): void => {
    used.collections += 1;
    used.cpuMs += 60;
  };
  const timer = giveBackWhenIdle({ clock, cpuMs: () => used.cpuMs, usedBytes: () => used.bytes, collect });
  /** Each second with so much CPU. */
  const seconds = async (count: number, cpuMs: number): Promise<void> => {
    for (let second = 0; second < count; second += 1) {
      used.cpuMs += cpuMs;
      await clock.advance(1_000);
    }
  };
  return { clock, used, seconds, timer };
}

describe("memory", () => {
  it("is given back once when the process comes to rest, and again after the next busy time", async () => {
    const { used, seconds } = setUp();
    await seconds(10, 900);
    expect(used.collections).toBe(0);
    await seconds(2, 20);
    expect(used.collections).toBe(1);
    await seconds(60, 20);
    expect(used.collections).toBe(1);
    await seconds(3, 900);
    await seconds(60, 20);
    expect(used.collections).toBe(2);
  });

  it("is left alone where so much is held that the pause would be felt", async () => {
    const { used, seconds } = setUp();
    used.bytes = 700e6;
    await seconds(10, 5);
    expect(used.collections).toBe(0);
    used.bytes = 30e6;
    await seconds(1, 900);
    await seconds(10, 5);
    expect(used.collections).toBe(1);
  });

  it("is left alone between the commands of a person", async () => {
    const { used, seconds } = setUp();
    for (let round = 0; round < 10; round += 1) {
      await seconds(1, 100);
      await seconds(1, 5);
    }
    expect(used.collections).toBe(0);
  });

  it("is not looked at any more once cancelled", async () => {
    const { clock, timer, seconds, used } = setUp();
    timer.cancel();
    await seconds(10, 0);
    expect(used.collections).toBe(0);
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("of this process can really be given back: what a busy time left in the young generation", () => {
    const { collect, cpuMs } = thisProcess(systemClock);
    let kept: unknown[] = [];
    for (let round = 0; round < 40; round += 1) kept = Array.from({ length: 50_000 }, (_, at) => ({ at }));
    kept = [];
    const before = process.memoryUsage().heapTotal;
    collect();
    expect(kept).toEqual([]);
    expect(process.memoryUsage().heapTotal).toBeLessThan(before);
    expect(cpuMs()).toBeGreaterThan(0);
  });
});
