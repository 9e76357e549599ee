import { afterEach, describe, expect, it } from "vitest";
import { HodeiError } from "../workflow/errors.ts";
import type { LogUpload } from "./api/worker.ts";
import type { CallContext, Channel, Duplex, ServiceHandlers, Services, Transport } from "./transport.ts";
import { ANONYMOUS, CALL_DEADLINE_MS, STREAM_BUFFER } from "./transport.ts";

/**
 * What every adapter of the port promises (the header of transport.ts), as tests. `create` makes a transport with real
 * time; `freeAddress` is one where nothing listens.
 */
export function transportConformance(
  name: string,
  create: () => { transport: Transport; freeAddress: () => Promise<string> },
): void {
  describe(`${name} transport`, () => {
    const { transport, freeAddress } = create();
    const cleanups: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    });

    const serve = async (services: Services, options: Partial<Parameters<Transport["serve"]>[0]> = {}) => {
      const server = await transport.serve({ address: "127.0.0.1:0", services, ...options });
      cleanups.push(() => server.stop(0));
      return server;
    };
    const connect = (address: string, token?: string): Channel => {
      const channel = transport.connect({ address, token });
      cleanups.push(() => channel.close());
      return channel;
    };
    const open = async (services: Services): Promise<Channel> => connect((await serve(services)).address);

    describe("calls", () => {
      it("carry request and answer as they are", async () => {
        const channel = await open({
          engine: engine({ assign: async ({ shards }) => ({ owned: shards.toReversed() }) }),
        });
        const answer = await channel.call("engine", "assign", { generation: 2 ** 40, shards: [3, 1, 2] });
        expect(answer).toEqual({ owned: [2, 1, 3] });
      });

      it("run many at once on one channel", async () => {
        const channel = await open({ engine: engine({ assign: async ({ shards }) => ({ owned: shards }) }) });
        const numbers = Array.from({ length: 200 }, (_, index) => index);
        const answers = await Promise.all(
          numbers.map((shard) => channel.call("engine", "assign", { generation: 1, shards: [shard] })),
        );
        expect(answers.map((answer) => answer.owned[0])).toEqual(numbers);
      });

      it("give a handler its own copy", async () => {
        const seen: number[][] = [];
        const channel = await open({
          engine: engine({
            assign: async ({ shards }) => {
              shards.push(99);
              seen.push(shards);
              return { owned: shards };
            },
          }),
        });
        const shards = [1];
        const { owned } = await channel.call("engine", "assign", { generation: 1, shards });
        owned.push(100);
        expect(shards).toEqual([1]);
        expect(seen).toEqual([[1, 99]]);
      });
    });

    describe("errors", () => {
      it("cross whole: code, message, field, hint, facts and violations", async () => {
        const sent = new HodeiError("INVALID_DEFINITION", "2 violations – naïve", {
          field: "spec.steps",
          hint: "rename the step",
          facts: { owner: "10.0.0.7:50052", field: "a fact of a reserved name" },
          violations: [
            { path: "spec.a", message: "not: a [step]", file: "ci/a]b:c.yaml", line: 3, column: 7 },
            { path: "spec.b", message: "[odd] message" },
            { path: "", message: "", file: "x.yaml" },
          ],
        });
        const channel = await open({ engine: engine({ drain: () => Promise.reject(sent) }) });
        const got = await failure(channel.call("engine", "drain", {}));
        expect(got).toBeInstanceOf(HodeiError);
        expect(shape(got)).toEqual(shape(sent));
      });

      it("that are not ours arrive as INTERNAL with their message", async () => {
        const channel = await open({ engine: engine({ drain: () => Promise.reject(new TypeError("x is not y")) }) });
        const got = await failure(channel.call("engine", "drain", {}));
        expect(got).toMatchObject({ code: "INTERNAL", message: "x is not y" });
      });

      it("name the service and method that a server does not offer", async () => {
        const channel = await open({ engine: engine({}) });
        expect(await failure(channel.call("cluster", "info", {}))).toMatchObject({ code: "UNIMPLEMENTED" });
        expect(await failure(first(channel.stream("cluster", "watchEvents", EVENTS)))).toMatchObject({
          code: "UNIMPLEMENTED",
        });
        const logs = channel.duplex("worker", "logs");
        expect(await failure(first(logs.messages))).toMatchObject({ code: "UNIMPLEMENTED" });
      });

      it("say that nothing listens: UNAVAILABLE with the evidence `refused`", async () => {
        const address = await freeAddress();
        const channel = connect(address);
        const refused = { code: "UNAVAILABLE", facts: { evidence: "refused", address } };
        expect(await failure(channel.call("engine", "drain", {}))).toMatchObject(refused);
        expect(await failure(first(channel.stream("engine", "events", {})))).toMatchObject(refused);
        const logs = channel.duplex("worker", "logs");
        expect(await failure(first(logs.messages))).toMatchObject(refused);
        expect(await failure(logs.send(upload(0)))).toMatchObject(refused);
      });
    });

    describe("deadlines and aborts", () => {
      it("end a call that is not answered, and tell the handler", async () => {
        const handler = waitingHandler();
        const channel = await open({ engine: engine({ drain: handler.handle }) });
        const got = await failure(channel.call("engine", "drain", {}, { deadlineMs: 100 }));
        expect(got).toMatchObject({ code: "DEADLINE_EXCEEDED" });
        const context = await handler.called;
        await aborted(context);
        expect(context.deadlineMs).toBeGreaterThan(0);
        expect(context.deadlineMs).toBeLessThanOrEqual(100);
      });

      it("have a default", async () => {
        const contexts: CallContext[] = [];
        const channel = await open({
          engine: engine({
            drain: async (_, context) => {
              contexts.push(context);
              return {};
            },
          }),
        });
        await channel.call("engine", "drain", {});
        expect(contexts[0]?.deadlineMs).toBeGreaterThan(CALL_DEADLINE_MS / 2);
        expect(contexts[0]?.deadlineMs).toBeLessThanOrEqual(CALL_DEADLINE_MS);
        expect(contexts[0]?.signal.aborted).toBe(false);
      });

      it("of the caller's own give CANCELLED, and tell the handler", async () => {
        const handler = waitingHandler();
        const channel = await open({ engine: engine({ drain: handler.handle }) });
        const controller = new AbortController();
        const call = failure(channel.call("engine", "drain", {}, { signal: controller.signal }));
        const context = await handler.called;
        controller.abort(new Error("enough"));
        expect(await call).toMatchObject({ code: "CANCELLED" });
        await aborted(context);
        expect(context.signal.reason).toMatchObject({ code: "CANCELLED" });
      });

      it("that came before the call prevent it", async () => {
        let calls = 0;
        const channel = await open({
          engine: engine({
            drain: async () => {
              calls += 1;
              return {};
            },
          }),
        });
        const signal = AbortSignal.abort();
        expect(await failure(channel.call("engine", "drain", {}, { signal }))).toMatchObject({ code: "CANCELLED" });
        await channel.call("engine", "drain", {});
        expect(calls).toBe(1);
      });

      it("end streams too", async () => {
        const handler = waitingHandler();
        const channel = await open({
          engine: engine({
            events: async function* (request, context) {
              yield event(0);
              await handler.handle(request, context);
            },
          }),
        });
        const controller = new AbortController();
        const stream = channel.stream("engine", "events", {}, { signal: controller.signal });
        const reader = stream[Symbol.asyncIterator]();
        expect((await reader.next()).done).toBe(false);
        const context = await handler.called;
        controller.abort();
        expect(await failure(reader.next())).toMatchObject({ code: "CANCELLED" });
        await aborted(context);
      });
    });

    describe("server streams", () => {
      it("arrive in order and end", async () => {
        const channel = await open({ engine: engine({ events: () => events(500) }) });
        const got: number[] = [];
        for await (const item of channel.stream("engine", "events", {})) got.push(item.atMs);
        expect(got).toEqual(Array.from({ length: 500 }, (_, index) => index));
      });

      it("give the handler's error after what came before it", async () => {
        const channel = await open({
          engine: engine({
            events: async function* () {
              yield* events(3);
              throw new HodeiError("NOT_OWNER", "moved", { facts: { owner: "b" } });
            },
          }),
        });
        const got: number[] = [];
        const reading = async (): Promise<void> => {
          for await (const item of channel.stream("engine", "events", {})) got.push(item.atMs);
        };
        expect(await failure(reading())).toMatchObject({ code: "NOT_OWNER", facts: { owner: "b" } });
        // What was still on its way may be lost; what arrives is a beginning, in order.
        expect(got).toEqual([0, 1, 2].slice(0, got.length));
      });

      it("are cancelled by leaving the loop", async () => {
        const called = Promise.withResolvers<void>();
        const left = Promise.withResolvers<void>();
        const channel = await open({
          engine: engine({
            events: async function* (_, context) {
              try {
                yield event(0);
                called.resolve();
                await aborted(context);
              } finally {
                left.resolve();
              }
            },
          }),
        });
        for await (const item of channel.stream("engine", "events", {})) {
          expect(item.atMs).toBe(0);
          await called.promise;
          break;
        }
        await left.promise;
      });

      it("begin with the first read", async () => {
        let calls = 0;
        const channel = await open({
          engine: engine({
            drain: async () => ({}),
            events: () => {
              calls += 1;
              return events(1);
            },
          }),
        });
        const stream = channel.stream("engine", "events", {});
        await channel.call("engine", "drain", {});
        expect(calls).toBe(0);
        await first(stream);
        expect(calls).toBe(1);
      });

      it("stop the writer while nobody reads, and go on", async () => {
        let produced = 0;
        const total = 1600;
        const bulk = "x".repeat(64 * 1024);
        const channel = await open({
          engine: engine({
            drain: async () => ({}),
            events: async function* () {
              for (; produced < total; produced++) yield { ...event(produced), message: bulk };
            },
          }),
        });
        const reader = channel.stream("engine", "events", {})[Symbol.asyncIterator]();
        await reader.next();
        for (let ping = 0; ping < 100; ping++) await channel.call("engine", "drain", {});
        expect(produced).toBeLessThan(400);
        let read = 1;
        while (!(await reader.next()).done) read += 1;
        expect(read).toBe(total);
      });
    });

    describe("two-way streams", () => {
      it("carry messages both ways in order, and end from either side", async () => {
        const channel = await open({ worker: worker({ logs: echo }) });
        const logs = channel.duplex("worker", "logs");
        const total = 1000;
        const sending = (async () => {
          for (let index = 0; index < total; index++) await logs.send(upload(index));
          logs.end();
        })();
        const got: number[] = [];
        for await (const ack of logs.messages) got.push(ack.heldTo);
        await sending;
        expect(got).toEqual(Array.from({ length: total }, (_, index) => index));
        expect(await failure(logs.send(upload(0)))).toMatchObject({ code: "UNAVAILABLE" });
      });

      it("let a second loop go on where the first one left", async () => {
        const channel = await open({
          worker: worker({
            logs: async (stream) => {
              const got: number[] = [];
              for await (const message of stream.messages) {
                got.push(message.offset);
                break;
              }
              for await (const message of stream.messages) got.push(message.offset);
              for (const heldTo of got) await stream.send(ack(heldTo));
            },
          }),
        });
        const logs = channel.duplex("worker", "logs");
        for (const index of [1, 2, 3]) await logs.send(upload(index));
        logs.end();
        const got: number[] = [];
        for await (const { heldTo } of logs.messages) got.push(heldTo);
        expect(got).toEqual([1, 2, 3]);
      });

      it("keep the order of sends that were not awaited", async () => {
        const channel = await open({ worker: worker({ logs: echo }) });
        const logs = channel.duplex("worker", "logs");
        const total = STREAM_BUFFER * 5;
        const sends = Array.from({ length: total }, (_, index) => logs.send(upload(index)));
        logs.end();
        const got: number[] = [];
        for await (const { heldTo } of logs.messages) got.push(heldTo);
        await Promise.all(sends);
        expect(got).toEqual(Array.from({ length: total }, (_, index) => index));
      });

      it("end when the handler returns or ends", async () => {
        const channel = await open({
          worker: worker({
            logs: async (stream) => {
              await stream.send(ack(1));
              stream.end();
              await new Promise<never>(() => undefined);
            },
            connect: async (stream) => await stream.send({ kind: "drain", redirect: [] }),
          }),
        });
        expect(await all(channel.duplex("worker", "logs").messages)).toHaveLength(1);
        expect(await all(channel.duplex("worker", "connect").messages)).toHaveLength(1);
      });

      it("break at both sides by the client's cancel", async () => {
        const ended = Promise.withResolvers<unknown>();
        const got = Promise.withResolvers<void>();
        const channel = await open({
          worker: worker({
            logs: async (stream, context) => {
              context.signal.addEventListener("abort", () => ended.resolve(context.signal.reason));
              await stream.messages[Symbol.asyncIterator]().next();
              got.resolve();
              await first(stream.messages);
            },
          }),
        });
        const logs = channel.duplex("worker", "logs");
        await logs.send(upload(0));
        await got.promise;
        logs.cancel();
        expect(await failure(first(logs.messages))).toMatchObject({ code: "CANCELLED" });
        expect(await failure(logs.send(upload(1)))).toMatchObject({ code: "CANCELLED" });
        expect(await ended.promise).toMatchObject({ code: "CANCELLED" });
      });

      it("break at both sides by the server's cancel", async () => {
        const ended = Promise.withResolvers<HodeiError>();
        const channel = await open({
          worker: worker({
            logs: async (stream) => {
              stream.cancel();
              ended.resolve(await failure(first(stream.messages)));
            },
          }),
        });
        const logs = channel.duplex("worker", "logs");
        expect(await failure(first(logs.messages))).toMatchObject({ code: "CANCELLED" });
        expect(await ended.promise).toMatchObject({ code: "CANCELLED" });
        expect(await failure(logs.send(upload(1)))).toMatchObject({ code: "CANCELLED" });
      });

      it("give the handler's error to the client, and its sends reject", async () => {
        const channel = await open({
          worker: worker({
            connect: async (stream) => {
              await first(stream.messages);
              throw new HodeiError("STALE", "unknown worker", { facts: { worker: "w1" } });
            },
          }),
        });
        const stream = channel.duplex("worker", "connect");
        await stream.send({ kind: "goodbye", reason: "x" });
        const error = { code: "STALE", message: "unknown worker", facts: { worker: "w1" } };
        expect(await failure(first(stream.messages))).toMatchObject(error);
        expect(await failure(stream.send({ kind: "goodbye", reason: "x" }))).toMatchObject(error);
      });

      it("stop the writer while nobody reads, and lose nothing", async () => {
        const release = Promise.withResolvers<void>();
        const received: number[] = [];
        const total = 1600;
        const channel = await open({
          engine: engine({ drain: async () => ({}) }),
          worker: worker({
            logs: async (stream) => {
              await release.promise;
              for await (const { offset } of stream.messages) received.push(offset);
            },
          }),
        });
        const logs = channel.duplex("worker", "logs");
        let taken = 0;
        const data = new Uint8Array(64 * 1024);
        const sending = (async () => {
          for (; taken < total; taken++) await logs.send({ ...upload(taken), data });
          logs.end();
        })();
        for (let ping = 0; ping < 100; ping++) await channel.call("engine", "drain", {});
        expect(taken).toBeLessThan(400);
        release.resolve();
        await sending;
        await all(logs.messages);
        expect(received).toEqual(Array.from({ length: total }, (_, index) => index));
      });

      it("reject a send that waits when the stream breaks", async () => {
        const channel = await open({ worker: worker({ logs: async (_, context) => await aborted(context) }) });
        const logs = channel.duplex("worker", "logs");
        const data = new Uint8Array(256 * 1024);
        const sends = Array.from({ length: 100 }, () => failureOf(logs.send({ ...upload(0), data })));
        await sends[0];
        logs.cancel();
        const outcomes = await Promise.all(sends);
        expect(outcomes[99]).toMatchObject({ code: "CANCELLED" });
      });
    });

    describe("identity", () => {
      it("comes from the token alone and reaches the handler", async () => {
        const server = await serve(
          { engine: engine({ status: async (_, { identity }) => Promise.reject(said(identity.subject)) }) },
          {
            authenticate: ({ token, service }) => ({
              namespace: `of ${token}`,
              subject: `${service}:${token}`,
              role: "client",
            }),
          },
        );
        expect(await failure(connect(server.address, "t1").call("engine", "status", {}))).toMatchObject(
          said("engine:t1"),
        );
        expect(await failure(connect(server.address).call("engine", "status", {}))).toMatchObject(
          said("engine:undefined"),
        );
      });

      it("is anonymous where nobody asks", async () => {
        const identities: unknown[] = [];
        const channel = await open({
          engine: engine({
            drain: async (_, { identity }) => {
              identities.push(identity);
              return {};
            },
          }),
        });
        await channel.call("engine", "drain", {});
        expect(identities).toEqual([ANONYMOUS]);
      });

      it("that is refused refuses every kind of call", async () => {
        const server = await serve(
          { engine: engine({}), worker: worker({}) },
          {
            authenticate: () => {
              throw new HodeiError("UNAUTHENTICATED", "who are you?");
            },
          },
        );
        const channel = connect(server.address, "wrong");
        const refused = { code: "UNAUTHENTICATED", message: "who are you?" };
        expect(await failure(channel.call("engine", "drain", {}))).toMatchObject(refused);
        expect(await failure(first(channel.stream("engine", "events", {})))).toMatchObject(refused);
        expect(await failure(first(channel.duplex("worker", "logs").messages))).toMatchObject(refused);
      });
    });

    describe("servers and channels", () => {
      it("refuse an address that is taken or is none", async () => {
        const server = await serve({ engine: engine({}) });
        const again = transport.serve({ address: server.address, services: {} });
        expect(await failure(again)).toMatchObject({ code: "ADDRESS_IN_USE", facts: { address: server.address } });
        const none = transport.serve({ address: "nowhere", services: {} });
        expect(await failure(none)).toMatchObject({ code: "INVALID_ARGUMENT", field: "address" });
      });

      it("stop after the calls in progress, and take no new ones", async () => {
        const handler = waitingHandler();
        const server = await serve({ engine: engine({ drain: handler.handle }) });
        const channel = connect(server.address);
        const call = channel.call("engine", "drain", {});
        const context = await handler.called;
        const stopping = server.stop(60_000);
        expect(await failure(connect(server.address).call("engine", "drain", {}))).toMatchObject({
          code: "UNAVAILABLE",
          facts: { evidence: "refused" },
        });
        handler.answer();
        expect(await call).toEqual({});
        await channel.close();
        await stopping;
        expect(context.signal.aborted).toBe(false);
        await server.stop();
      });

      it("cut what is still in progress after the grace", async () => {
        const handler = waitingHandler();
        const server = await serve({
          engine: engine({ drain: handler.handle }),
          worker: worker({ logs: waitForEver }),
        });
        const channel = connect(server.address);
        const call = failure(channel.call("engine", "drain", {}));
        const logs = channel.duplex("worker", "logs");
        await logs.send(upload(0));
        const context = await handler.called;
        await server.stop(10);
        const cut = await call;
        expect(cut).toMatchObject({ code: "UNAVAILABLE" });
        expect(cut.facts["evidence"]).toBeUndefined();
        expect(await failure(first(logs.messages))).toMatchObject({ code: "UNAVAILABLE" });
        await aborted(context);
      });

      it("connect again when the server is back at its address", async () => {
        const services = { engine: engine({ drain: async () => ({}) }) };
        const one = await serve(services);
        const channel = connect(one.address);
        await channel.call("engine", "drain", {});
        await one.stop(0);
        expect(await failure(channel.call("engine", "drain", {}))).toMatchObject({ code: "UNAVAILABLE" });
        await serve(services, { address: one.address });
        for (let attempt = 0; ; attempt++) {
          const outcome = await failureOf(channel.call("engine", "drain", {}));
          if (outcome === undefined) break;
          expect(outcome).toMatchObject({ code: "UNAVAILABLE" });
          expect(attempt).toBeLessThan(10_000);
        }
      });

      it("closed by the client cancel its calls and take no more", async () => {
        const handler = waitingHandler();
        const channel = await open({
          engine: engine({ drain: handler.handle }),
          worker: worker({ logs: waitForEver }),
        });
        const call = failure(channel.call("engine", "drain", {}));
        const logs = channel.duplex("worker", "logs");
        const context = await handler.called;
        await channel.close();
        await channel.close();
        expect(await call).toMatchObject({ code: "CANCELLED" });
        expect(await failure(first(logs.messages))).toMatchObject({ code: "CANCELLED" });
        expect(await failure(channel.call("engine", "drain", {}))).toMatchObject({ code: "CANCELLED" });
        await aborted(context);
      });
    });
  });
}

// Handlers -------------------------------------------------------------------------------------------------------------

type EngineHandlers = ServiceHandlers<"engine">;
type WorkerHandlers = ServiceHandlers<"worker">;

const notExpected = (): never => {
  throw new HodeiError("INTERNAL", "this test did not expect the call");
};

export function engine(handlers: Partial<EngineHandlers>): EngineHandlers {
  return {
    start: notExpected,
    deliver: notExpected,
    status: notExpected,
    drain: notExpected,
    drainWorker: notExpected,
    events: notExpected,
    assign: notExpected,
    templates: notExpected,
    ...handlers,
  };
}

export function worker(handlers: Partial<WorkerHandlers>): WorkerHandlers {
  return { connect: notExpected, logs: notExpected, ...handlers };
}

const waitForEver = (): Promise<never> => new Promise(() => undefined);

/** Answers when told to; `called` gives its context. */
function waitingHandler() {
  const called = Promise.withResolvers<CallContext>();
  const answered = Promise.withResolvers<Record<string, never>>();
  return {
    called: called.promise,
    answer: () => answered.resolve({}),
    handle: async (_request: unknown, context: CallContext): Promise<Record<string, never>> => {
      called.resolve(context);
      return await answered.promise;
    },
  };
}

const echo: WorkerHandlers["logs"] = async (stream: Duplex<ReturnType<typeof ack>, LogUpload>) => {
  for await (const message of stream.messages) await stream.send(ack(message.offset));
};

// Messages -------------------------------------------------------------------------------------------------------------

const EVENTS = { minSeverity: "debug", kinds: [] } satisfies { minSeverity: "debug"; kinds: string[] };

function ack(heldTo: number) {
  return { jobId: "j", token: "t", heldTo, stale: false };
}

export function upload(offset: number): LogUpload {
  return { jobId: "j", token: "t", offset, data: new Uint8Array(0), dropped: 0 };
}

function event(atMs: number) {
  return { atMs, kind: "Test", severity: "info" as const, message: "", facts: {}, missed: 0 };
}

async function* events(count: number) {
  for (let index = 0; index < count; index++) yield event(index);
}

function said(message: string): HodeiError {
  return new HodeiError("NOT_FOUND", message);
}

// Waiting --------------------------------------------------------------------------------------------------------------

export async function failure(promise: Promise<unknown>): Promise<HodeiError> {
  const error = await failureOf(promise);
  if (error instanceof HodeiError) return error;
  throw error ?? new Error("expected a failure");
}

async function failureOf(promise: Promise<unknown>): Promise<Error | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

async function aborted(context: CallContext): Promise<void> {
  if (context.signal.aborted) return;
  await new Promise((resolve) => context.signal.addEventListener("abort", resolve, { once: true }));
}

async function first<T>(stream: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of stream) return item;
  return undefined;
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

function shape(error: HodeiError): object {
  const { code, message, field, hint, facts, violations } = error;
  return { code, message, field, hint, facts, violations };
}
