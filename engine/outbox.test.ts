import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import { seededRandom } from "../base/random.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { OutboxMessage } from "../workflow/message.ts";
import type { Envelope } from "./mailbox.ts";
import { noMetrics } from "./metrics.ts";
import { Outbox } from "./outbox.ts";

const source = { namespace: "n", id: "p", shard: 0 };
const parent = { executionId: "p", uid: "u", step: "s", iteration: "0", depth: 0 };

function entry(id: string, message: OutboxMessage) {
  return { id, target: message.target, namespace: "n", text: JSON.stringify(message) };
}
const start = (id: string, target: string) =>
  entry(id, {
    kind: "startChild",
    target,
    step: "s",
    iteration: "0",
    workflow: "w",
    version: "1.0.0",
    digest: "d",
    input: {},
    parent,
  });
const cancel = (id: string, target: string) =>
  entry(id, { kind: "cancelChild", target, step: "s", iteration: "0", reason: "enough" });

function outbox(answer: (call: string) => Promise<void> | void) {
  const clock = new ManualClock();
  const calls: string[] = [];
  const posted: Envelope[] = [];
  const gateway = {
    startChild: async ({ id }: { id: string }) => {
      calls.push(`start ${id}`);
      await answer(`start ${id}`);
    },
    deliver: async ({ id, messageJson }: { id: string; messageJson: string }) => {
      const { kind } = JSON.parse(messageJson) as { kind: string };
      calls.push(`${kind} ${id}`);
      await answer(`${kind} ${id}`);
    },
  };
  const subject = new Outbox({
    gateway,
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    emit: () => {},
    metrics: noMetrics,
    post: (_of, envelope) => posted.push(envelope),
  });
  return { clock, calls, posted, subject };
}

describe("Outbox", () => {
  it("sends the cancel of a child only after its start was taken", async () => {
    const taken = Promise.withResolvers<void>();
    const { clock, calls, posted, subject } = outbox((call) => (call === "start c" ? taken.promise : undefined));
    subject.push(source, [start("1", "c"), cancel("2", "c"), start("3", "other")]);
    await clock.advance(0);
    expect(calls).toEqual(["start c", "start other"]);
    taken.resolve();
    await clock.advance(0);
    expect(calls).toEqual(["start c", "start other", "cancel c"]);
    expect(posted.map((envelope) => envelope.outboxDone)).toEqual(["3", "1", "2"]);
  });

  it("tries again after a transient refusal, and keeps the order", async () => {
    let refusals = 2;
    const { clock, calls, posted, subject } = outbox(() => {
      if (refusals-- > 0) throw new HodeiError("UNAVAILABLE", "later");
    });
    subject.push(source, [start("1", "c"), cancel("2", "c")]);
    for (let n = 0; n < 3; n++) await clock.advance(20_000);
    expect(calls).toEqual(["start c", "start c", "start c", "cancel c"]);
    expect(posted.every((envelope) => envelope.message === undefined)).toBe(true);
  });

  it("tells the parent of a child that is refused for good", async () => {
    const { clock, posted, subject } = outbox(() => {
      throw new HodeiError("DEPTH_EXCEEDED", "too deep");
    });
    subject.push(source, [start("1", "c")]);
    await clock.advance(0);
    expect(posted).toMatchObject([
      { outboxDone: "1", message: { kind: "childRefused", childId: "c", error: { code: "DEPTH_EXCEEDED" } } },
    ]);
  });

  it("counts a message to an execution that is gone as delivered", async () => {
    const { clock, posted, subject } = outbox(() => {
      throw new HodeiError("NOT_FOUND", "gone");
    });
    subject.push(source, [cancel("1", "c")]);
    await clock.advance(0);
    expect(posted).toMatchObject([{ outboxDone: "1" }]);
    expect(posted[0]?.message).toBeUndefined();
  });

  it("acknowledges nothing of a shard that went while a message was under way", async () => {
    const taken = Promise.withResolvers<void>();
    const { clock, posted, subject } = outbox(() => taken.promise);
    subject.push(source, [start("1", "c")]);
    await clock.advance(0);
    subject.dropShard(0);
    taken.resolve();
    await clock.advance(0);
    expect(posted).toEqual([]);
  });
});
