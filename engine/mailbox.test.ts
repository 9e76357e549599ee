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
