import { describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../base/clock.ts";
import { engine, failure, transportConformance } from "./conformance.ts";
import { createLocalNetwork, createLocalTransport } from "./local.ts";
import { CALL_DEADLINE_MS } from "./transport.ts";

transportConformance("local", () => ({
  transport: createLocalTransport({ clock: systemClock, network: createLocalNetwork() }),
  freeAddress: async () => "127.0.0.1:9",
}));

describe("local transport", () => {
  it("keeps its deadlines by the injected clock alone", async () => {
    const clock = new ManualClock();
    const transport = createLocalTransport({ clock, network: createLocalNetwork() });
    const called = Promise.withResolvers<void>();
    const server = await transport.serve({
      address: "engine-1:0",
      services: {
        engine: engine({
          drain: () => {
            called.resolve();
            return new Promise(() => undefined);
          },
        }),
      },
    });
    const call = failure(transport.connect({ address: server.address }).call("engine", "drain", {}));
    await called.promise;
    await clock.advance(CALL_DEADLINE_MS - 1);
    expect(clock.nextDueMs()).toBeDefined();
    await clock.advance(1);
    expect(await call).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(clock.nextDueMs()).toBeUndefined();
    await server.stop();
  });

  it("reaches servers of other transports of the same process", async () => {
    const one = createLocalTransport({ clock: systemClock });
    const other = createLocalTransport({ clock: systemClock });
    const server = await one.serve({
      address: "shared:0",
      services: { engine: engine({ drain: async () => ({}) }) },
    });
    expect(await other.connect({ address: server.address }).call("engine", "drain", {})).toEqual({});
    await server.stop();
  });
});
