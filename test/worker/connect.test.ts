import { expect, it } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import type { Hello } from "../../transport/api/worker.ts";
import { createLocalNetwork, createLocalTransport } from "../../transport/local.ts";
import type { ServiceHandlers } from "../../transport/transport.ts";
import { Connection } from "../../worker/connect.ts";

it("in a hurry does not wait out the pause before the next try", async () => {
  const clock = new ManualClock();
  const transport = createLocalTransport({ clock, network: createLocalNetwork() });
  const up = Promise.withResolvers<void>();
  const tried = Promise.withResolvers<void>();
  const connection = new Connection({
    addresses: ["engine:1"],
    transport,
    clock,
    random: seededRandom(1),
    logger: { ...silentLogger, info: () => tried.resolve() },
    hello: () => ({ workerId: "w" }) as Hello,
    onUp: () => up.resolve(),
    onMessage: () => undefined,
    onDown: () => undefined,
    onRefused: () => undefined,
  });
  connection.start();
  await tried.promise;
  const worker: ServiceHandlers<"worker"> = {
    connect: async (stream) => {
      await stream.send({ kind: "welcome", engine: "e", heartbeatMs: 1_000, stale: [] });
      for await (const message of stream.messages) expect(message.kind).toBe("hello");
    },
    logs: async () => undefined,
  };
  const server = await transport.serve({ address: "engine:1", services: { worker } });
  // The clock stands still: only this ends the pause.
  connection.hurry();
  await up.promise;
  await connection.stop();
  await server.stop(0);
});
