import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { Heartbeat } from "./heartbeat.ts";

function beating() {
  const clock = new ManualClock();
  const said = { beats: 0, silent: 0 };
  const heartbeat = new Heartbeat({
    clock,
    meter: { sample: () => ({ cpuPercent: 0, memoryBytes: 0 }) },
    send: () => void said.beats++,
    jobs: () => [],
    onSilent: () => void said.silent++,
  });
  heartbeat.start(1_000);
  return { clock, said, heartbeat };
}

describe("a heartbeat", () => {
  it("gives an engine up that answered once and then leaves three beats unanswered", async () => {
    const { clock, said, heartbeat } = beating();
    heartbeat.heard();
    await clock.advance(3_999);
    expect(said).toEqual({ beats: 3, silent: 0 });
    await clock.advance(1);
    expect(said).toEqual({ beats: 3, silent: 1 });
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("goes on as long as answers come", async () => {
    const { clock, said, heartbeat } = beating();
    for (let beat = 0; beat < 10; beat++) {
      heartbeat.heard();
      await clock.advance(3_000);
    }
    expect(said).toEqual({ beats: 30, silent: 0 });
  });

  it("does not judge an engine that never answers, nor the next one by the last one's silence", async () => {
    const { clock, said, heartbeat } = beating();
    await clock.advance(10_000);
    heartbeat.heard();
    await clock.advance(3_000);
    heartbeat.start(1_000);
    await clock.advance(10_000);
    expect(said.silent).toBe(0);
  });
});
