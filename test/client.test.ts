import { describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { seededRandom } from "../base/random.ts";
import { type ClientOptions, HodeiClient } from "../sdk/client.ts";
import { HodeiError } from "../workflow/errors.ts";
import { createLocalNetwork, createLocalTransport } from "../transport/local.ts";
import type { Services, Transport } from "../transport/transport.ts";

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
