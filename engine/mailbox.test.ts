import { expect, it } from "vitest";
import { type Envelope, Mailbox } from "./mailbox.ts";

const named = (name: string, take?: string): Envelope => ({ fire: name, ...(take ? { take } : {}), done: () => {} });
const names = (envelopes: readonly Envelope[]): (string | undefined)[] => envelopes.map((envelope) => envelope.fire);

it("gives durable outcomes before what came earlier, and keeps the order of each", () => {
  const mailbox = new Mailbox();
  for (const envelope of [named("timer"), named("first", "e1"), named("cancel"), named("second", "e2")]) {
    mailbox.push(envelope);
  }
  expect(mailbox.size).toBe(4);
  const [one, ...rest] = mailbox.take(3);
  expect(names([one!, ...rest])).toEqual(["first", "second", "timer"]);
  mailbox.putBack([one!, ...rest]);
  expect(names(mailbox.take(Infinity))).toEqual(["first", "second", "timer", "cancel"]);
  expect(mailbox.size).toBe(0);
});

it("an outcome that comes after a turn was refused is folded before what the refused turn held", () => {
  const mailbox = new Mailbox();
  mailbox.push(named("timeout"));
  const refused = mailbox.take(1);
  mailbox.push(named("outcome", "e1"));
  mailbox.putBack(refused);
  expect(names(mailbox.take(64))).toEqual(["outcome", "timeout"]);
});

it("gives results before losses: the loss of a workspace would end attempts whose result was taken", () => {
  const mailbox = new Mailbox();
  const outcome = (name: string, kind: "lost" | "cancelled"): Envelope => {
    const ended = kind === "lost" ? ({ kind, reason: "gone" } as const) : ({ kind } as const);
    const about = { step: "a", iteration: "0", attempt: 1, facts: { enqueuedAtMs: 0 } };
    return { ...named(name, name), message: { kind: "outcome", ...about, outcome: ended } };
  };
  mailbox.push(outcome("loss", "lost"));
  mailbox.push(named("timer"));
  mailbox.push(outcome("result", "cancelled"));
  expect(names(mailbox.take(1))).toEqual(["result"]);
  mailbox.putBack([outcome("back", "lost"), outcome("first", "cancelled")]);
  expect(mailbox.size).toBe(4);
  expect(names(mailbox.take(3))).toEqual(["first", "back", "loss"]);
  expect(names(mailbox.take(3))).toEqual(["timer"]);
});
