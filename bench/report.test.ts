import { describe, expect, it } from "vitest";
import { type Figure, inFlight, median, percentile } from "./measure.ts";
import { linesOf, rounded, tableOf } from "./report.ts";

const faster: Figure = {
  key: "speed",
  what: "speed",
  unit: "/s",
  goal: 20,
  stretch: 30,
  better: "more",
  floor: "bare",
};
const shorter: Figure = { key: "wait", what: "wait", unit: "ms", goal: 2, better: "less" };
const bare: Figure = { key: "bare", what: "bare", unit: "/s", better: "more" };

describe("the lines of a bench", () => {
  it("are medians of the rounds, with what they lay between", () => {
    const samples = [{ wait: 9 }, { wait: 1 }, { wait: 2 }];
    expect(linesOf("x", [shorter], samples)).toEqual([
      {
        bench: "x",
        figure: "wait",
        what: "wait",
        unit: "ms",
        value: 2,
        least: 1,
        most: 9,
        rounds: 3,
        goal: 2,
        met: "goal",
      },
    ]);
  });

  it("compare each round with the floor of the same round", () => {
    // The ratio of the medians would be 0.2: the machine was slow in one round, for both.
    const samples = [
      { speed: 20, bare: 40 },
      { speed: 5, bare: 100 },
      { speed: 50, bare: 100 },
    ];
    expect(linesOf("x", [faster], samples)[0]).toMatchObject({ value: 20, floor: 100, ratio: 0.5 });
  });

  it.each([
    [faster, 19.9, "no"],
    [faster, 20, "goal"],
    [faster, 30, "stretch"],
    [shorter, 2.1, "no"],
    [shorter, 2, "goal"],
  ])("%# know whether a goal is met", (figure, value, met) => {
    expect(linesOf("x", [figure], [{ [figure.key]: value, bare: 1 }])[0]?.met).toBe(met);
  });

  it("judge what was measured, not what is printed", () => {
    const [line] = linesOf("x", [shorter], [{ wait: 2.001 }]);
    expect(line).toMatchObject({ value: 2, met: "no" });
  });

  it("refuse a round that did not give a figure", () => {
    expect(() => linesOf("x", [shorter], [{ speed: 1 }])).toThrow("a round gave no wait");
  });

  it("are a table that Markdown reads", () => {
    const lines = linesOf("x", [faster, bare], [{ speed: 31, bare: 62 }]);
    expect(tableOf(lines).split("\n")).toEqual([
      "| what  | value | unit | goal | stretch | met     | : floor | least … most |",
      "|-------|-------|------|------|---------|---------|---------|--------------|",
      "| speed | 31    | /s   | 20   | 30      | stretch | 0.5     |              |",
      "| bare  | 62    | /s   |      |         |         |         |              |",
    ]);
  });
});

describe("measures", () => {
  it("median and percentile", () => {
    expect([median([5]), median([1, 9]), median([9, 1, 4])]).toEqual([5, 5, 4]);
    const hundred = Array.from({ length: 100 }, (_, at) => at);
    expect([percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7], 0.99)]).toEqual([50, 99, 7]);
    expect([rounded(12.345), rounded(0.012_345), rounded(12_345)]).toEqual([12.3, 0.0123, 12_350]);
  });

  it("keeps `width` in flight until `count` are done", async () => {
    let open = 0;
    let most = 0;
    const seen: number[] = [];
    const { count, durationsMs } = await inFlight({ count: 10, width: 3, mostMs: 60_000 }, async (at) => {
      most = Math.max(most, (open += 1));
      await Promise.resolve();
      seen.push(at);
      open -= 1;
    });
    expect([count, durationsMs.length, most, seen.toSorted((a, b) => a - b)]).toEqual([
      10,
      10,
      3,
      Array.from({ length: 10 }, (_, at) => at),
    ]);
  });

  it("starts nothing more when the time is over", async () => {
    const { count } = await inFlight({ count: 10, width: 2, mostMs: 0 }, async () => undefined);
    expect(count).toBe(0);
  });
});
