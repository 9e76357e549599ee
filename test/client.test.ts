import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { seededRandom } from "../base/random.ts";
import { RUNS_IN_FLIGHT } from "../orchestrator/run.ts";
import { type ClientOptions, HodeiClient } from "../sdk/client.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { ExecutionView, RunRequest, RunResponse } from "../transport/api/execution.ts";
import { createLocalNetwork, createLocalTransport } from "../transport/local.ts";
import type { Duplex, Services, Transport } from "../transport/transport.ts";

/** A client and time of its own: nothing here waits for the real clock. */
function setUp(options: Partial<ClientOptions> = {}): {
  clock: ManualClock;
  client: HodeiClient;
  transport: Transport;
} {
  const clock = new ManualClock();
  const transport = createLocalTransport({ clock, network: createLocalNetwork() });
  const client = new HodeiClient({ addresses: ["a:1", "b:1"], transport, clock, random: seededRandom(1), ...options });
  return { clock, client, transport };
}

/** Lets time pass until the call has ended. */
async function passing<T>(clock: ManualClock, call: Promise<T>): Promise<T> {
  let open = true;
  const ended = call.finally(() => (open = false));
  // The caller sees a failure at the end; until then it is not unhandled.
  ended.catch(() => undefined);
  while (open) await clock.advance(10);
  return await ended;
}

/** How much time passes until the call is given up for want of a server. */
async function patience(clock: ManualClock, call: Promise<unknown>): Promise<number> {
  const before = clock.monotonic();
  await expect(passing(clock, call)).rejects.toMatchObject({ code: "UNAVAILABLE", facts: { evidence: "refused" } });
  return clock.monotonic() - before;
}

const templates = { templates: [], unanswered: [] };
const services: Services = {
  template: {
    list: async () => templates,
    get: async () => {
      throw new HodeiError("NOT_FOUND", "none");
    },
  },
};
const ask = (client: HodeiClient): Promise<unknown> => client.call("template", "list", {});

describe("a client that every address refuses", () => {
  it("tries until its deadline by default: a cluster may be starting", async () => {
    const { client, clock } = setUp();
    expect(await patience(clock, ask(client))).toBeGreaterThan(8_000);
  });

  it("gives up after refusedMs when nobody has ever answered", async () => {
    const { client, clock } = setUp({ refusedMs: 1_000 });
    expect(await patience(clock, ask(client))).toBeLessThanOrEqual(1_000);
  });

  it("waits a restart out once somebody has answered", async () => {
    const { client, transport, clock } = setUp({ refusedMs: 1_000 });
    const server = await transport.serve({ address: "b:1", services });
    expect(await passing(clock, ask(client))).toEqual(templates);
    await passing(clock, server.stop());
    expect(await patience(clock, ask(client))).toBeGreaterThan(8_000);
  });

  it("finds the one address that answers, however soon it gives up", async () => {
    const { client, transport, clock } = setUp({ refusedMs: 1 });
    await transport.serve({ address: "b:1", services });
    expect(await passing(clock, ask(client))).toEqual(templates);
  });
});

const head = { uid: "u", workflow: "w", version: "1.0.0", digest: "d" };
const summary = { ...head, labels: {}, shard: 0, revision: 1, startedAtMs: 0, inputJson: "{}", steps: [] };

function viewOf(id: string, outcome: Partial<ExecutionView> = {}): ExecutionView {
  return { ...summary, id, state: "succeeded", outputJson: JSON.stringify({ id }), ...outcome };
}

/** An orchestrator's execution service that does what the test says, and remembers what was asked by which way. */
function executions(
  run: (stream: Duplex<RunResponse, RunRequest>, nth: number) => Promise<void>,
  history?: () => Promise<{ entries: []; more: boolean }>,
) {
  const asked: string[] = [];
  const unexpected = (): never => {
    throw new HodeiError("INTERNAL", "this test did not expect the call");
  };
  const refuse = async (): Promise<never> => unexpected();
  let streams = 0;
  const execution: NonNullable<Services["execution"]> = {
    get: refuse,
    list: refuse,
    cancel: refuse,
    signal: refuse,
    pause: refuse,
    resume: refuse,
    retry: refuse,
    history: async ({ id }: { id: string }) => {
      asked.push(`history ${id}`);
      return await (history ?? refuse)();
    },
    watch: unexpected,
    logs: unexpected,
    start: async ({ id }: { id: string }) => {
      asked.push(`start ${id}`);
      return { ...head, id, created: true };
    },
    wait: async ({ id }: { id: string }) => {
      asked.push(`wait ${id}`);
      return viewOf(id);
    },
    run: async (stream: Duplex<RunResponse, RunRequest>) => {
      asked.push("run");
      await run(stream, streams++);
    },
  };
  return { asked, execution };
}

const started = ({ requestId, start: { id } }: RunRequest): RunResponse => ({
  requestId,
  kind: "started",
  started: { ...head, id, created: true },
});
const ended = ({ requestId, start: { id } }: RunRequest, outcome?: Partial<ExecutionView>): RunResponse => ({
  requestId,
  kind: "ended",
  ended: viewOf(id, outcome),
});
const waitForEver = (): Promise<never> => new Promise(() => undefined);

async function serving(...behaviour: Parameters<typeof executions>) {
  const { client, clock, transport } = setUp();
  const { asked, execution } = executions(...behaviour);
  const server = await transport.serve({ address: "a:1", services: { execution } });
  return { client, clock, asked, server, transport };
}

const answering = async (stream: Duplex<RunResponse, RunRequest>): Promise<void> => {
  for await (const request of stream.messages) {
    await stream.send(started(request));
    await stream.send(ended(request));
  }
};

/** Says that each has started, and nothing more. */
const starting = async (stream: Duplex<RunResponse, RunRequest>): Promise<void> => {
  for await (const request of stream.messages) await stream.send(started(request));
};

describe("execute", () => {
  it("goes over one stream, however many there are, and needs no call", async () => {
    const { client, asked } = await serving(answering);
    const ids = Array.from({ length: 100 }, (_, at) => `x${at}`);
    const outputs = await Promise.all(ids.map((id) => client.execute("w", {}, { id })));
    expect(outputs).toEqual(ids.map((id) => ({ id })));
    expect(await client.execute("w", {}, { id: "after" })).toEqual({ id: "after" });
    expect(asked).toEqual(["run"]);
  });

  it("throws what an execution failed with", async () => {
    const error = { code: "JOB_FAILED", message: "exit 1", step: "build" };
    const { client } = await serving(async (stream) => {
      for await (const request of stream.messages) await stream.send(ended(request, { state: "failed", error }));
    });
    await expect(client.execute("w")).rejects.toMatchObject({ code: "JOB_FAILED", view: { state: "failed", error } });
  });

  it("asks again by a call what the stream refuses: errors cross whole there", async () => {
    const { client, asked, clock } = await serving(async (stream) => {
      for await (const { requestId } of stream.messages)
        await stream.send({ requestId, kind: "error", error: { code: "INVALID_INPUT", message: "no" } });
    });
    expect(await passing(clock, client.execute("w", {}, { id: "x" }))).toEqual({ id: "x" });
    expect(asked).toEqual(["run", "start x", "wait x"]);
  });

  it("goes on by calls when the stream breaks: with the start, if that was not answered", async () => {
    const { client, asked, clock } = await serving(async (stream, nth) => {
      if (nth > 0) return answering(stream);
      const reader = stream.messages[Symbol.asyncIterator]();
      const first = await reader.next();
      await stream.send(started(first.value as RunRequest));
      await reader.next();
      throw new HodeiError("UNAVAILABLE", "it was restarted");
    });
    const one = client.execute("w", {}, { id: "one" });
    const two = client.execute("w", {}, { id: "two" });
    expect(await passing(clock, Promise.all([one, two]))).toEqual([{ id: "one" }, { id: "two" }]);
    expect(asked.toSorted()).toEqual(["run", "start two", "wait one", "wait two"]);
    await client.execute("w", {}, { id: "three" });
    expect(asked.filter((what) => what === "run")).toHaveLength(2);
  });

  it("finds the address that answers", async () => {
    const { client, clock, transport } = setUp();
    const { asked, execution } = executions(answering);
    await transport.serve({ address: "b:1", services: { execution } });
    expect(await passing(clock, client.execute("w", {}, { id: "x" }))).toEqual({ id: "x" });
    expect(asked).toEqual(["start x", "wait x"]);
    await client.execute("w", {}, { id: "y" });
    expect(asked.at(-1)).toBe("run");
  });

  it("goes by calls for ever where the server knows no such stream", async () => {
    const { client, clock, asked } = await serving(async () => {
      throw new HodeiError("UNIMPLEMENTED", "old");
    });
    for (const id of ["x", "y"]) expect(await passing(clock, client.execute("w", {}, { id }))).toEqual({ id });
    expect(asked).toEqual(["run", "start x", "wait x", "start y", "wait y"]);
  });

  it("keeps its deadline, before and after the start", async () => {
    const silent = await serving(waitForEver);
    const before = silent.clock.monotonic();
    await expect(passing(silent.clock, silent.client.execute("w"))).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("was not answered within 10000 ms"),
    });
    expect(silent.clock.monotonic() - before).toBe(10_000);

    const slow = await serving(starting);
    const options = { id: "x", deadlineMs: 60_000 };
    await expect(passing(slow.clock, slow.client.execute("w", {}, options))).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: "x has not ended yet",
    });
    expect(slow.asked).toEqual(["run"]);
  });

  it("makes no call when the stream breaks with the deadline of the start, and says what was not answered", async () => {
    const broken = Promise.withResolvers<void>();
    const { client, clock, asked } = await serving(async () => {
      await broken.promise;
      throw new HodeiError("UNAVAILABLE", "it was restarted");
    });
    const failed = client.execute("w", {}, { id: "x" }).catch((error: unknown) => error);
    // The process was held up: the break is heard before the alarm that was due earlier.
    clock.monotonic = () => 20_000;
    broken.resolve();
    const message = "the start of x was not answered within 10000 ms";
    expect(await failed).toMatchObject({ code: "DEADLINE_EXCEEDED", message });
    expect(asked).toEqual(["run"]);
  });

  it("goes on by calls when a quiet stream has nobody behind it: one that is gone with its host never breaks it", async () => {
    const gone = { value: false };
    const other = executions(starting);
    const { client, clock, asked, transport } = await serving(starting, async () => {
      if (gone.value) throw new HodeiError("DEADLINE_EXCEEDED", "no answer within 10000 ms");
      return { entries: [], more: false };
    });
    const patient = client.execute("w", {}, { id: "x" });
    for (let second = 0; second < 3_600; second += 1) await clock.advance(1_000);
    expect(asked.every((what) => what === "run" || what === "history x")).toBe(true);
    expect(asked.length).toBeGreaterThan(100);
    gone.value = true;
    await transport.serve({ address: "b:1", services: { execution: other.execution } });
    expect(await passing(clock, patient)).toEqual({ id: "x" });
    expect(asked.at(-1)).toBe("history x");
    expect(other.asked).toEqual(["wait x"]);
  });

  it("does not ask a stream that talks", async () => {
    const { client, clock, asked } = await serving(async (stream) => {
      for await (const request of stream.messages) {
        await stream.send(started(request));
        if (request.start.id !== "long") await stream.send(ended(request));
      }
    });
    client.execute("w", {}, { id: "long" }).catch(() => undefined);
    for (let second = 0; second < 300; second += 1) {
      if (second % 10 === 0) await client.execute("w", {}, { id: `x${second}` });
      await clock.advance(1_000);
    }
    expect(asked).toEqual(["run"]);
    await client.close();
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("keeps its deadline over both ways: what is left of it is all there is for the calls", async () => {
    const broken = Promise.withResolvers<void>();
    const { client, clock } = await serving(async (stream) => {
      const first = await stream.messages[Symbol.asyncIterator]().next();
      await stream.send(started(first.value as RunRequest));
      await broken.promise;
      throw new HodeiError("UNAVAILABLE", "it was restarted");
    });
    const waits: (number | undefined)[] = [];
    client.wait = async (_id, options) => {
      waits.push(options?.deadlineMs);
      return viewOf("x");
    };
    const run = client.execute("w", {}, { id: "x", deadlineMs: 20_000 });
    await clock.advance(5_000);
    broken.resolve();
    await run;
    expect(waits).toEqual([15_000]);
  });

  it("ends by its own signal alone, and takes no notice of a late answer", async () => {
    const late = Promise.withResolvers<void>();
    const { client, clock } = await serving(async (stream) => {
      for await (const request of stream.messages) {
        if (request.start.id === "aborted") void late.promise.then(() => stream.send(ended(request)));
        if (request.start.id === "other") void late.promise.then(() => stream.send(ended(request)));
      }
    });
    const controller = new AbortController();
    const aborted = client.execute("w", {}, { id: "aborted", signal: controller.signal });
    const other = client.execute("w", {}, { id: "other" });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toMatchObject({ code: "CANCELLED" });
    late.resolve();
    expect(await passing(clock, other)).toEqual({ id: "other" });
    const gone = { signal: AbortSignal.abort(new Error("before")) };
    await expect(client.execute("w", {}, gone)).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("gives a stream up that is not used for half a second, and opens a new one", async () => {
    const ends: string[] = [];
    const { client, clock, asked } = await serving(async (stream, nth) => {
      await answering(stream);
      ends.push(`stream ${nth} ended`);
    });
    for (let round = 0; round < 10; round += 1) {
      await client.execute("w");
      await clock.advance(200);
    }
    expect(ends).toEqual([]);
    await clock.advance(500);
    expect(ends).toEqual(["stream 0 ended"]);
    await client.execute("w");
    expect(asked).toEqual(["run", "run"]);
  });

  it("takes another stream when one is full: the server reads no further", async () => {
    const held: (() => Promise<void>)[] = [];
    const { client, clock, asked } = await serving(async (stream) => {
      for await (const request of stream.messages) held.push(() => stream.send(ended(request)));
    });
    const many = Array.from({ length: RUNS_IN_FLIGHT + 1 }, () => client.execute("w"));
    while (held.length < many.length) await clock.advance(1);
    expect(asked).toEqual(["run", "run"]);
    await Promise.all(held.map((answer) => answer()));
    expect(await Promise.all(many)).toHaveLength(RUNS_IN_FLIGHT + 1);
  });

  it("is cancelled when its client is closed", async () => {
    const { client, asked } = await serving(waitForEver);
    const running = client.execute("w").catch((error: unknown) => error);
    await client.close();
    expect(await running).toMatchObject({ code: "CANCELLED" });
    await expect(client.execute("w")).rejects.toMatchObject({ code: "CANCELLED" });
    expect(asked.filter((what) => what !== "run")).toEqual([]);
  });
});
