import { beforeAll, describe, expect, it } from "vitest";
import type { Assignment, TurnRequest } from "../../../store/store.ts";
import type { TraceEvent } from "../trace.ts";
import { check, wordsOf } from "./check.ts";
import type { Run } from "./invariant.ts";
import { INVARIANTS } from "./invariants.ts";
import { only, playDay } from "./played.fixture.ts";

let day: Run;
beforeAll(async () => {
  day = await (await playDay()).end();
});

type StoreEvent = Extract<TraceEvent, { kind: "store" }>;
type Call = { at: number; request: TurnRequest & Record<string, unknown>; answer: Given; event: StoreEvent };
type Given = {
  status: string;
  nowMs: number;
  assignments: Assignment[];
  adopted: string[];
  acquired: { nonce: string }[];
};

/** A day that is spoilt in one place; what is taken out or put in moves what comes after it. */
class Spoilt {
  readonly run: Run;

  constructor(from: Run) {
    this.run = structuredClone(from);
  }

  get trace(): TraceEvent[] {
    return this.run.trace as TraceEvent[];
  }

  calls(method: string, has: (call: Call) => boolean = () => true): Call[] {
    return this.trace.flatMap((event, at) => {
      if (event.kind !== "store" || event.method !== method) return [];
      const call = { at, request: event.request, answer: event.answer, event } as Call;
      return has(call) ? [call] : [];
    });
  }

  /** The commits of one execution. */
  turn(id: string, number: number): Call {
    return only(this.calls("turn", ({ request }) => request.id === id)[number]);
  }

  /** The commit in which an event of this kind stands. */
  commit(id: string, type: string): Call {
    const has = ({ request }: Call): boolean =>
      request.id === id && request.events.some((text) => text.includes(`"${type}"`));
    return only(this.calls("turn", has)[0]);
  }

  events(call: Call, change: (text: string) => string): void {
    call.request.events = call.request.events.map(change);
  }

  drop(at: number): void {
    this.trace.splice(at, 1);
  }

  /** Puts it there as if it had happened at that time. */
  insert(at: number, event: object): void {
    this.trace.splice(at, 0, { atMs: this.trace[at]?.atMs ?? 0, ...event } as TraceEvent);
  }

  repeat(at: number, change: (event: StoreEvent & { request: Record<string, unknown>; answer: Given }) => void): void {
    const copy = structuredClone(this.trace[at]) as Parameters<typeof change>[0];
    change(copy);
    this.trace.splice(at + 1, 0, copy);
  }

  answered(method: string, number = 0): { at: number; event: Extract<TraceEvent, { kind: "answered" }> } {
    const asked = this.trace.filter((event) => event.kind === "asked" && event.method === method)[number];
    const at = this.trace.findIndex((event) => {
      return event.kind === "answered" && asked?.kind === "asked" && event.call === asked.call;
    });
    return { at, event: this.trace[at] as Extract<TraceEvent, { kind: "answered" }> };
  }

  stored(id: string): Run["rest"]["executions"][number] {
    return only(this.run.rest.executions.find(({ head }) => head.id === id));
  }
}

function violations(run: Run, ...names: string[]): string[] {
  const some = INVARIANTS.filter(({ name }) => names.length === 0 || names.includes(name));
  return check(run, some).map((violation) => `${violation.invariant}: ${wordsOf(violation)}`);
}

function spoil(change: (day: Spoilt) => void): Run {
  const spoilt = new Spoilt(day);
  change(spoilt);
  return spoilt.run;
}

describe("a life in which everything goes as promised", () => {
  it("violates nothing", () => expect(violations(day)).toEqual([]));

  it("every invariant has a name and a promise of its own", () => {
    expect(new Set(INVARIANTS.map(({ name }) => name)).size).toBe(INVARIANTS.length);
    expect(new Set(INVARIANTS.map(({ promise }) => promise)).size).toBe(INVARIANTS.length);
  });
});

/** By invariant: what goes wrong, and the spoilt place. */
const CASES: [invariant: string, what: string, change: (day: Spoilt) => void][] = [
  [
    "what was acknowledged was committed before",
    "a start is answered before its commit",
    (of) => {
      const { at, event } = of.answered("execution.start");
      of.drop(at);
      of.trace.splice(of.turn("x", 0).at, 0, event);
    },
  ],
  [
    "what was acknowledged was committed before",
    "a client is told another version",
    (of) => {
      (of.answered("execution.start").event.response as { version: string }).version = "2.0.0";
    },
  ],
  [
    "what was acknowledged was committed before",
    "the commit of a cancel is missing",
    (of) => of.drop(of.commit("y", "cancelRequested").at),
  ],
  [
    "what was acknowledged was committed before",
    "the commit of a pause is missing",
    (of) => of.drop(of.commit("x", "paused").at),
  ],
  [
    "what was acknowledged was committed before",
    "the commit of a signal is missing",
    (of) => of.drop(of.commit("x", "signalReceived").at),
  ],
  [
    "what was acknowledged was committed before",
    "a registration is not written",
    (of) => of.drop(only(of.calls("registry.write")[1]).at),
  ],
  [
    "each commit once, in one order",
    "a commit is missing from the stored history",
    (of) => void of.stored("x").commits.splice(2, 1),
  ],
  [
    "each commit once, in one order",
    "a stored event is not the one that was committed",
    (of) => {
      const commit = only(of.stored("x").commits[1]);
      commit.events = commit.events.map((text) => text.replace('"no"', '"other"'));
    },
  ],
  [
    "each commit once, in one order",
    "two commits on one revision",
    (of) => {
      of.repeat(of.turn("x", 2).at, ({ request }) => void (request["opId"] = "another"));
    },
  ],
  [
    "each commit once, in one order",
    "a repeat makes another revision",
    (of) => {
      of.repeat(of.turn("x", 2).at, ({ answer }) => Object.assign(answer, { status: "DUPLICATE", revision: 9 }));
    },
  ],
  [
    "each commit once, in one order",
    "the store has lost an execution",
    (of) => void of.run.rest.executions.splice(0, 1),
  ],
  [
    "each commit once, in one order",
    "the stored head is an older one",
    (of) => void (of.stored("y").head.gate = "open"),
  ],
  [
    "the history is the state",
    "the head says another state",
    (of) => void (of.turn("x", 1).request.head.gate = "paused"),
  ],
  [
    "the history is the state",
    "a snapshot is not the fold",
    (of) => {
      const { request } = of.commit("x", "executionEnded");
      request.snapshot = request.snapshot?.replace('"gate":"open"', '"gate":"paused"') ?? "";
    },
  ],
  [
    "the history is the state",
    "a stored snapshot is not the fold",
    (of) => {
      const { snapshot } = of.stored("x");
      if (snapshot !== undefined) snapshot.text = snapshot.text.replace('"gate":"open"', '"gate":"paused"');
    },
  ],
  [
    "the history is the state",
    "a second start",
    (of) => {
      const first = only(of.turn("x", 0).request.events[0]);
      of.turn("x", 1).request.events.push(first);
    },
  ],
  [
    "a commit does what it records",
    "the start of a child is forgotten",
    (of) => void (of.commit("x", "childId").request.outbox = []),
  ],
  [
    "a commit does what it records",
    "a queued iteration has no job",
    (of) => {
      const { request, answer } = of.turn("x", 0);
      request.enqueue = [];
      answer.assignments = [];
    },
  ],
  [
    "a commit does what it records",
    "a job that nobody recorded",
    (of) => {
      of.turn("x", 1).request.enqueue.push(only(of.turn("x", 0).request.enqueue[0]));
    },
  ],
  [
    "a commit does what it records",
    "a wait between attempts has no timer",
    (of) => void (of.turn("x", 1).request.timers = []),
  ],
  [
    "a commit does what it records",
    "the end of a child is not told",
    (of) => void (of.commit("x/c/0", "executionEnded").request.outbox = []),
  ],
  ["one owner per shard", "a commit under another nonce", (of) => void (of.turn("x", 3).request.fence.nonce = "stale")],
  [
    "one owner per shard",
    "a commit after the shard went to another",
    (of) => {
      const { shard } = of.turn("x", 3).request.fence;
      const fence = { session: of.calls("openSession")[1]?.event.answer, shard, epoch: 2, nonce: "next" };
      const { session } = fence.session as { session: string };
      const at = of.turn("x", 3).at;
      of.insert(at, {
        kind: "store",
        node: "e2",
        method: "acquireShards",
        request: { opId: "s", session, shards: [shard] },
        answer: { acquired: [{ ...fence, session }] },
      });
    },
  ],
  [
    "one owner per shard",
    "a stale owner loads the shard",
    (of) => {
      const { fence } = of.turn("x", 3).request;
      const request = { fence: { ...fence, epoch: fence.epoch - 1 }, limit: 1 };
      of.insert(of.turn("x", 3).at, {
        kind: "store",
        node: "e1",
        method: "loadShard",
        request,
        answer: { status: "OK", executions: [], nowMs: 0 },
      });
    },
  ],
  [
    "one owner per shard",
    "a stale owner deletes what has ended",
    (of) => {
      const fence = { ...of.turn("x", 3).request.fence, nonce: "stale" };
      const request = { fence, endedBeforeMs: 0, limit: 1 };
      of.insert(of.turn("x", 3).at, { kind: "store", node: "e1", method: "expire", request, answer: { expired: 1 } });
    },
  ],
  [
    "fences are never used twice",
    "a shard is granted while it is held",
    (of) => {
      of.repeat(only(of.calls("acquireShards")[0]).at, ({ request, answer }) => {
        request["opId"] = "again";
        const { session } = only(of.calls("openSession")[1]).event.answer as { session: string };
        answer.acquired = answer.acquired.map((fence) => ({ ...fence, session, epoch: 2, nonce: `${fence.nonce}2` }));
      });
    },
  ],
  [
    "fences are never used twice",
    "a nonce is granted again",
    (of) => {
      of.repeat(only(of.calls("acquireShards")[0]).at, ({ request, answer }) => {
        request["opId"] = "again";
        answer.acquired = answer.acquired.map((fence) => ({ ...fence, epoch: 2 }));
      });
      const { at, request } = only(of.calls("acquireShards")[0]);
      of.insert(at + 1, {
        kind: "store",
        node: "e1",
        method: "endSession",
        request: { session: request["session"] },
        answer: null,
      });
    },
  ],
  [
    "only living sessions act",
    "a commit after the session's end",
    (of) => {
      const { at, request } = of.turn("x", 3);
      of.insert(at, {
        kind: "store",
        node: "e1",
        method: "endSession",
        request: { session: request.fence.session },
        answer: null,
      });
    },
  ],
  [
    "only living sessions act",
    "a claim after the lease is over",
    (of) => {
      for (const { at } of of.calls("renewSession").reverse()) of.drop(at);
      for (const { answer } of of.calls("claim")) answer.nowMs += 60_000;
    },
  ],
  ["only living sessions act", "somebody acts in another's session", (of) => void (of.turn("x", 3).event.node = "e2")],
  [
    "an end is one, and stands",
    "an iteration ends twice",
    (of) => {
      const ended = only(
        of.commit("x", "iterationEnded").request.events.find((text) => text.includes("iterationEnded")),
      );
      of.commit("x", "paused").request.events.push(ended);
    },
  ],
  [
    "an end is one, and stands",
    "something happens after the end",
    (of) => {
      const { request } = of.commit("x", "executionEnded");
      request.events.push(only(of.commit("x", "paused").request.events[0]));
    },
  ],
  [
    "attempts count up by one",
    "an attempt is left out",
    (of) => {
      of.events(of.turn("x", 2), (text) => text.replace('"attempt":2', '"attempt":3'));
    },
  ],
  [
    "attempts count up by one",
    "an attempt ends twice",
    (of) => {
      const ended = only(of.turn("x", 1).request.events.find((text) => text.includes("attemptEnded")));
      of.turn("x", 1).request.events.push(ended);
    },
  ],
  [
    "an attempt is fenced before the next one",
    "the next is queued while the one before is held",
    (of) => {
      of.turn("x", 1).request.settle = [];
    },
  ],
  [
    "an attempt is fenced before the next one",
    "a job is enqueued twice",
    (of) => {
      of.turn("x", 4).request.enqueue.push(only(of.turn("x", 0).request.enqueue[0]));
    },
  ],
  [
    "tokens are never used twice",
    "a token is minted again",
    (of) => {
      only(only(of.calls("claim")[0]).answer.assignments[0]).token = only(of.turn("x", 0).answer.assignments[0]).token;
    },
  ],
  [
    "the first outcome of an attempt wins",
    "two outcomes are taken",
    (of) => {
      of.repeat(only(of.calls("reportAndClaim")[0]).at, ({ request }) => void (request["opId"] = "another"));
    },
  ],
  [
    "the first outcome of an attempt wins",
    "an outcome under an old token is taken",
    (of) => {
      only(of.calls("reportAndClaim")[0]).request["token"] = "old";
    },
  ],
  [
    "the first outcome of an attempt wins",
    "a result that nobody took is called a repeat",
    (of) => {
      only(of.calls("reportAndClaim")[0]).answer.status = "DUPLICATE";
    },
  ],
  [
    "the first outcome of an attempt wins",
    "a good result is refused",
    (of) => {
      only(of.calls("reportAndClaim")[0]).answer.status = "STALE";
    },
  ],
  [
    "the first outcome of an attempt wins",
    "somebody who does not hold the job reports it lost",
    (of) => {
      const { request, event } = only(of.calls("reportAndClaim")[0]);
      const other = only(of.calls("openSession")[1]).event.answer as { session: string };
      Object.assign(request, { outcome: { kind: "lost", reason: "gone" }, session: other.session });
      event.node = "e2";
    },
  ],
  [
    "the first outcome of an attempt wins",
    "a settled token is not the one that holds the job",
    (of) => {
      only(of.turn("x", 1).request.settle[0]).token = "old";
    },
  ],
  [
    "an accepted outcome is what history tells",
    "history tells another outcome",
    (of) => {
      const [call] = of.calls("turn", ({ request }) => request.take.length > 0);
      of.events(only(call), (text) =>
        text.replace(/"outcome":\{"kind":"succeeded","outputs":\{[^}]*\}\}/, '"outcome":{"kind":"cancelled"}'),
      );
    },
  ],
  [
    "an accepted outcome is what history tells",
    "a cancel throws it away",
    (of) => {
      const { request } = only(of.calls("turn", (call) => call.request.take.length > 0)[0]);
      request.take = [];
      request.cancel = ["default/x/a/0#2"];
    },
  ],
  [
    "a job goes to a worker that can have it",
    "a label is missing",
    (of) => {
      for (const slot of only(of.calls("claim")[0]).request["workers"] as { offer: { labels: string[] } }[])
        slot.offer.labels = [];
    },
  ],
  [
    "a job goes to a worker that can have it",
    "a worker of another tenant",
    (of) => {
      for (const slot of only(of.calls("claim")[0]).request["workers"] as { offer: { namespace: string } }[])
        slot.offer.namespace = "other";
    },
  ],
  [
    "a job goes to a worker that can have it",
    "no slot is free",
    (of) => {
      for (const slot of only(of.calls("claim")[0]).request["workers"] as { free: { slots: number } }[])
        slot.free.slots = 0;
    },
  ],
  [
    "a job goes to a worker that can have it",
    "no memory is free",
    (of) => {
      for (const slot of only(of.calls("claim")[0]).request["workers"] as { free: { memoryBytes: number } }[])
        slot.free.memoryBytes = 1;
    },
  ],
  [
    "a job goes to a worker that can have it",
    "another worker holds the workspace",
    (of) => {
      const { request, answer } = only(of.calls("claim").at(-1));
      for (const slot of request["workers"] as { worker: string }[]) slot.worker = "w9";
      for (const assignment of answer.assignments) assignment.worker = "w9";
    },
  ],
  [
    "nothing is given out behind a closed gate",
    "a claim while it is paused",
    (of) => {
      of.turn("x", 2).request.events.push(only(of.commit("x", "paused").request.events[0]));
    },
  ],
  [
    "nothing is given out behind a closed gate",
    "a claim after a cancel",
    (of) => {
      of.turn("x", 2).request.events.push(only(of.commit("y", "cancelRequested").request.events[0]));
    },
  ],
  [
    "nothing is given out behind a closed gate",
    "a job is given out twice",
    (of) => {
      of.repeat(only(of.calls("claim")[0]).at, ({ request, answer }) => {
        request["opId"] = "another";
        only(answer.assignments[0]).token = "another";
      });
    },
  ],
  [
    "a repeated operation has its first answer",
    "the repeat of a claim brings nothing back",
    (of) => {
      of.repeat(only(of.calls("claim")[0]).at, ({ answer }) => void (answer.assignments = []));
    },
  ],
  [
    "only running attempts are adopted",
    "under another token",
    (of) => {
      const call = only(of.calls("adopt")[0]);
      for (const job of call.request["jobs"] as { token: string }[]) job.token = "old";
      call.answer.adopted = ["old"];
    },
  ],
  [
    "an attempt runs once, where it was given",
    "an attempt runs twice",
    (of) => {
      const at = of.trace.findIndex(({ kind }) => kind === "ran");
      of.insert(at + 1, only(of.trace[at]));
    },
  ],
  [
    "an attempt runs once, where it was given",
    "on a worker that was not given it",
    (of) => {
      const ran = of.trace.find((event) => event.kind === "ran");
      if (ran?.kind === "ran") ran.worker = "w9";
    },
  ],
  [
    "onLost: fail runs at most once",
    "it runs again after it was lost",
    (of) => {
      const { definitions, head } = of.turn("x", 0).request;
      if (definitions !== undefined)
        definitions[head.digest] = only(definitions[head.digest]).replaceAll('"onLost":"retry"', '"onLost":"fail"');
      of.events(of.turn("x", 1), (text) =>
        text.replace(/"outcome":\{"kind":"failed".*?\}\}/, '"outcome":{"kind":"lost","reason":"gone"}'),
      );
    },
  ],
  [
    "onLost: fail runs at most once",
    "what ran is recorded as refused",
    (of) => {
      of.events(of.turn("x", 1), (text) =>
        text.replace(/"outcome":\{"kind":"failed".*?\}\}/, '"outcome":{"kind":"rejected","reason":"full"}'),
      );
    },
  ],
  [
    "idempotency keys are stable and unique",
    "a key changes between attempts",
    (of) => {
      const ran = of.trace.find((event) => event.kind === "ran");
      if (ran?.kind === "ran") ran.job.idempotencyKey += "#1";
    },
  ],
  [
    "a child starts once, for a parent that asked",
    "nobody asked for it",
    (of) => void (of.commit("x", "childId").request.outbox = []),
  ],
  [
    "a child starts once, for a parent that asked",
    "its parent is another execution",
    (of) => {
      const { head } = of.turn("x/c/0", 0).request;
      if (head.parent !== undefined) head.parent.uid = "another";
    },
  ],
  [
    "a child starts once, for a parent that asked",
    "its name is not the one of its place",
    (of) => {
      const definition = of.turn("x", 0).request;
      definition.definitions = Object.fromEntries(
        Object.entries(definition.definitions ?? {}).map(([digest, body]) => [
          digest,
          body.replace('"workflow":"sub"', '"affinity":"parent","workflow":"sub"'),
        ]),
      );
    },
  ],
  [
    "a message is forgotten when it has arrived",
    "a start is let go before the child is there",
    (of) => {
      const done = only(of.calls("turn", ({ request }) => request.id === "x" && request.outboxDone.length > 0)[0]);
      const { at } = of.turn("x/c/0", 0);
      of.drop(done.at);
      of.trace.splice(at, 0, done.event);
    },
  ],
  [
    "a message is forgotten when it has arrived",
    "a cancel is let go and the child knows nothing",
    (of) => of.drop(of.commit("y/c/0", "cancelRequested").at),
  ],
  [
    "a message is forgotten when it has arrived",
    "an end is let go and the parent waits on",
    (of) => {
      const [taken] = of.calls(
        "turn",
        ({ request }) =>
          request.id === "x" &&
          request.events.some((text) => text.includes('"step":"c"') && text.includes("iterationEnded")),
      );
      of.drop(only(taken).at);
    },
  ],
  [
    "a parent tells what its child came to",
    "another output",
    (of) => {
      of.events(of.commit("x/c/0", "executionEnded"), (text) => text.replace('"output":{"v":1}', '"output":{"v":2}'));
    },
  ],
  [
    "a parent tells what its child came to",
    "a failed child is a success",
    (of) => {
      of.events(of.commit("x/c/0", "executionEnded"), (text) =>
        text.replace('"type":"executionEnded","state":"succeeded"', '"type":"executionEnded","state":"failed"'),
      );
    },
  ],
  ["timers fire once and never early", "a timer fires early", (of) => void (of.turn("x", 2).answer.nowMs -= 2_900)],
  [
    "timers fire once and never early",
    "a timer fires twice",
    (of) => void of.turn("x", 3).request.fire.push("retry/a/0"),
  ],
  [
    "timers fire once and never early",
    "a sleep ends early without its timer",
    (of) => {
      const [slept] = of.calls("turn", ({ request }) => request.fire.includes("sleep/n/0"));
      only(slept).request.fire = [];
      only(slept).answer.nowMs -= 4_000;
    },
  ],
  [
    "an execution runs what it was started with",
    "its version changes",
    (of) => void (of.turn("x", 3).request.head.version = "1.0.1"),
  ],
  [
    "an execution runs what it was started with",
    "a child runs a version that the lock does not hold",
    (of) => {
      for (const { request } of of.calls("turn", (call) => call.request.id === "x/c/0")) request.head.version = "1.1.0";
    },
  ],
  [
    "an execution runs what it was started with",
    "its own copy is another definition",
    (of) => {
      const { definitions, head } = of.turn("x", 0).request;
      if (definitions !== undefined)
        definitions[head.digest] = only(definitions[head.digest]).replace('"onLost":"fail"', '"onLost":"retry"');
    },
  ],
  [
    "a start gets a version that its range meant",
    "a version that was never published",
    (of) => {
      for (const { request } of of.calls("turn", (call) => call.request.id === "x")) request.head.version = "9.9.9";
    },
  ],
  [
    "clients see what history tells",
    "a wait is answered with another end",
    (of) => {
      (of.answered("execution.wait").event.response as { state: string }).state = "failed";
    },
  ],
  [
    "clients see what history tells",
    "a wait is answered with another output",
    (of) => {
      (of.answered("execution.wait").event.response as { outputJson: string }).outputJson = '{"v":2}';
    },
  ],
  [
    "clients see what history tells",
    "an old state is shown",
    (of) => {
      Object.assign(of.answered("execution.get").event.response as object, { state: "running", revision: 2 });
    },
  ],
  [
    "clients see what history tells",
    "a list leaves one out",
    (of) => {
      (of.answered("execution.list").event.response as { executions: unknown[] }).executions.pop();
    },
  ],
  [
    "clients see what history tells",
    "a history that was not committed",
    (of) => {
      const { entries } = of.answered("execution.history").event.response as { entries: { revision: number }[] };
      only(entries[0]).revision = 7;
    },
  ],
  [
    "clients see what history tells",
    "a defect reaches a client",
    (of) => {
      const { event } = of.answered("execution.get");
      event.error = "INTERNAL: oops";
    },
  ],
  [
    "clients see what history tells",
    "a committed execution is not found",
    (of) => {
      const { event } = of.answered("execution.get");
      event.error = "NOT_FOUND: no execution x";
    },
  ],
  [
    "run numbers are unique",
    "a number is given twice",
    (of) => {
      of.events(of.turn("y/c/0", 0), (text) => text.replace('"runNumber":2', '"runNumber":1'));
    },
  ],
  [
    "a result is that of its own attempt",
    "another attempt's result",
    (of) => {
      const [call] = of.calls("turn", ({ request }) => request.take.length > 0);
      of.events(only(call), (text) => text.replace('"attempt":2,"key"', '"attempt":1,"key"'));
    },
  ],
  [
    "a result is that of its own attempt",
    "another iteration's result",
    (of) => {
      const [call] = of.calls("turn", ({ request }) => request.take.length > 0);
      of.events(only(call), (text) => text.replace('"key":"uid-x/a/0"', '"key":"uid-x/a/1"'));
    },
  ],
  [
    "a result is that of its own attempt",
    "the end of its log is missing",
    (of) => {
      of.stored("x").logs.pop();
    },
  ],
  ["logs have no silent gap", "a chunk is missing", (of) => void of.stored("x").logs.shift()],
  [
    "logs have no silent gap",
    "a chunk stands twice",
    (of) => {
      const { logs } = of.stored("x");
      logs.push(only(logs[1]));
    },
  ],
  [
    "nothing is left behind",
    "a job stays open",
    (of) => {
      const job = only(of.turn("x", 0).request.enqueue[0]);
      of.run.rest.jobs.push({ job, state: "queued", classKey: "", facts: { enqueuedAtMs: 0 } });
    },
  ],
  [
    "nothing is left behind",
    "a timer stays set",
    (of) => void of.stored("x").timers.push({ id: "execution", atMs: 0 }),
  ],
  [
    "nothing is left behind",
    "a message is not sent",
    (of) => {
      of.stored("x").outbox.push({ id: "m", target: "y", namespace: "default", text: "{}" });
    },
  ],
  [
    "nothing is left behind",
    "a session outlives its lease",
    (of) => void (only(of.run.rest.sessions[0]).expiresAtMs = 0),
  ],
  ["nothing is left behind", "a claim stays", (of) => void (only(of.run.rest.sessions[0]).claims = 1)],
  ["everything ends", "an execution runs for ever", (of) => void (of.stored("x").head.state = "running")],
  ["everything ends", "an execution is lost", (of) => void of.run.rest.executions.splice(0, 1)],
  ["everything ends", "the cluster does not come to rest", (of) => void (of.run.healed = false)],
];

describe("each invariant sees what breaks it", () => {
  it.each(CASES)("%s: %s", (name, _what, change) => {
    expect(INVARIANTS.map((invariant) => invariant.name)).toContain(name);
    expect(violations(spoil(change), name)).not.toEqual([]);
  });

  it("and none goes without such a case", () => {
    const covered = new Set(CASES.map(([name]) => name));
    expect(INVARIANTS.map(({ name }) => name).filter((name) => !covered.has(name))).toEqual([]);
  });
});

describe("a store that was rolled back", () => {
  /** The store forgets everything from this event on, right after it. */
  function forget(of: Spoilt, from: number, after: number): void {
    of.insert(after, { kind: "rolledBack", keptEvents: from });
  }

  it("excuses an acknowledged cancel that it lost, and no other", () => {
    const lost = spoil((of) => {
      const { at } = of.commit("y", "cancelRequested");
      forget(of, at, of.answered("execution.cancel").at + 1);
    });
    expect(violations(lost, "what was acknowledged was committed before")).toEqual([]);
    const never = spoil((of) => {
      const { at } = of.commit("y", "cancelRequested");
      of.drop(at);
      forget(of, at, at + 1);
    });
    expect(violations(never, "what was acknowledged was committed before")).not.toEqual([]);
  });

  it("may grant an epoch again, but no nonce", () => {
    const again = (nonce: string): Run =>
      spoil((of) => {
        const { at } = only(of.calls("acquireShards")[0]);
        of.repeat(at, ({ request, answer }) => {
          request["opId"] = "after";
          answer.acquired = answer.acquired.map((fence) => ({ ...fence, nonce: fence.nonce + nonce }));
        });
        forget(of, at, at + 1);
      });
    expect(violations(again("2"), "fences are never used twice")).toEqual([]);
    expect(violations(again(""), "fences are never used twice")).not.toEqual([]);
  });

  it("lets an attempt run again whose claim it lost, and no other", () => {
    const name = "an attempt runs once, where it was given";
    const twice = (rolledBack: boolean): Run =>
      spoil((of) => {
        const { at, event } = only(of.calls("claim")[0]);
        const ran = of.trace.findIndex((one, index) => index > at && one.kind === "ran");
        const again = structuredClone(event);
        Object.assign(again.request as object, { opId: "after" });
        const [, first] = [of.insert(ran + 1, again), only(of.trace[ran])];
        of.insert(ran + 2, first);
        if (rolledBack) forget(of, at, ran + 1);
      });
    expect(violations(twice(true), name)).toEqual([]);
    expect(violations(twice(false), name)).not.toEqual([]);
  });

  it("may forget that a child was asked for whose start is under way, but not one that nobody asked for", () => {
    const name = "a child starts once, for a parent that asked";
    const orphan = (keep: (of: Spoilt) => void): Run =>
      spoil((of) => {
        keep(of);
        const child = of.turn("x/c/0", 0);
        const { at } = of.turn("x", 4);
        forget(of, at, child.at);
      });
    expect(
      violations(
        orphan(() => {}),
        name,
      ),
    ).toEqual([]);
    expect(
      violations(
        orphan((of) => void (of.turn("x", 4).request.outbox = [])),
        name,
      ),
    ).not.toEqual([]);
  });

  it("has several histories, each of which must hold", () => {
    const broken = spoil((of) => {
      const call = of.turn("x", 3);
      call.request.fence.nonce = "stale";
      forget(of, call.at, call.at + 1);
    });
    expect(violations(broken, "one owner per shard")).not.toEqual([]);
  });
});
