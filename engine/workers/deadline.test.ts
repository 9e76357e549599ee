import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { Deadline } from "./deadline.ts";

function rig() {
  const clock = new ManualClock();
  const past: string[] = [];
  const tell = (what: string) => (): void => void past.push(`${what} at ${clock.monotonic()}`);
  return { clock, past, tell };
}

test("one that is moved to later comes then, and only with its new meaning", async () => {
  const { clock, past, tell } = rig();
  const deadline = new Deadline(clock, 5_000, tell("not accepted"));
  await clock.advance(1_000);
  deadline.move(60_000, tell("not done"));
  await clock.advance(59_999);
  expect(past).toEqual([]);
  await clock.advance(1);
  expect(past).toEqual(["not done at 61000"]);
  expect(clock.nextDueMs()).toBeUndefined();
});

test("one that is moved to earlier comes earlier, once", async () => {
  const { clock, past, tell } = rig();
  const deadline = new Deadline(clock, 5_000, tell("first"));
  deadline.move(100, tell("second"));
  await clock.advance(100_000);
  expect(past).toEqual(["second at 100"]);
});

test("one that was cancelled or is over may be set again", async () => {
  const { clock, past, tell } = rig();
  const deadline = new Deadline(clock, 5_000, tell("first"));
  deadline.cancel();
  deadline.move(10_000, tell("second"));
  await clock.advance(10_000);
  deadline.move(10_000, tell("third"));
  await clock.advance(10_000);
  expect(past).toEqual(["second at 10000", "third at 20000"]);
});

test("one that is cancelled never comes, moved before or not", async () => {
  const { clock, past, tell } = rig();
  for (const moved of [undefined, 1, 9_000]) {
    const deadline = new Deadline(clock, 5_000, tell("first"));
    if (moved !== undefined) deadline.move(moved, tell("second"));
    deadline.cancel();
  }
  await clock.advance(100_000);
  expect(past).toEqual([]);
  expect(clock.nextDueMs()).toBeUndefined();
});
