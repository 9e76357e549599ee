import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { BUFFER_BYTES, JobLog, LogBudget } from "./logs.ts";
import { Masker } from "./mask.ts";

function aLog(budget = new LogBudget()): { log: JobLog; clock: ManualClock; ready: () => number } {
  const clock = new ManualClock();
  let ready = 0;
  const log = new JobLog({
    jobId: "j",
    token: "t",
    clock,
    budget,
    masker: () => new Masker([]),
    onReady: () => void ready++,
  });
  return { log, clock, ready: () => ready };
}

describe("JobLog", () => {
  it("gathers small writes for 50 ms, and what is left at its end at once", async () => {
    const { log, clock } = aLog();
    log.write(Buffer.from("a"));
    log.write(Buffer.from("b"));
    expect(log.next()).toBeUndefined();
    await clock.advance(50);
    expect(log.next()?.data.toString()).toBe("ab");
    log.write(Buffer.from("c"));
    log.close();
    expect(log.next()).toMatchObject({ offset: 2, data: Buffer.from("c"), dropped: 0 });
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("keeps what is not acknowledged and sends it again on a new stream", () => {
    const { log } = aLog();
    log.write(Buffer.alloc(200_000));
    log.close();
    const sizes = (): number[] => {
      const found: number[] = [];
      for (let upload = log.next(); upload; upload = log.next()) found.push(upload.offset);
      return found;
    };
    expect(sizes()).toEqual([0, 65_536, 131_072, 196_608]);
    log.acknowledge(131_072, false);
    log.rewind();
    expect(sizes()).toEqual([131_072, 196_608]);
    expect(log.done).toBe(false);
    log.acknowledge(200_000, false);
    expect(log.done).toBe(true);
  });

  it("drops the newest when full, one mark, and goes on when half is free", () => {
    const budget = new LogBudget();
    const { log } = aLog(budget);
    expect(log.write(Buffer.alloc(BUFFER_BYTES))).toBe(true);
    expect(log.write(Buffer.from("lost"))).toBe(false);
    expect(log.write(Buffer.from("too"))).toBe(false);
    log.acknowledge(BUFFER_BYTES / 4, false);
    expect(log.write(Buffer.from("and"))).toBe(false);
    log.acknowledge(BUFFER_BYTES / 2, false);
    expect(log.write(Buffer.from("kept"))).toBe(true);
    log.close();
    log.acknowledge(BUFFER_BYTES, false);
    expect(log.next()).toMatchObject({ offset: BUFFER_BYTES + 10, dropped: 10, data: Buffer.from("kept") });
    log.discard();
    expect(budget.free).toBe(16 * 1024 * 1024);
  });

  it("tells a loss at its end by a chunk without data", () => {
    const { log } = aLog(new LogBudget(4));
    log.write(Buffer.from("123456"));
    log.close();
    expect(log.next()).toMatchObject({ offset: 0, data: Buffer.from("1234"), dropped: 0 });
    expect(log.next()).toMatchObject({ offset: 6, data: Buffer.alloc(0), dropped: 2 });
    log.acknowledge(6, false);
    expect(log.done).toBe(true);
  });

  it("remembers its last line", () => {
    const { log } = aLog();
    log.write(Buffer.from("one\ntwo\r\n\n"));
    expect(log.lastLine(100)).toBe("two");
    expect(log.lastLine(2)).toBe("tw");
  });
});
