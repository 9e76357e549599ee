import { afterAll } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { transportConformance } from "../../transport/conformance.ts";
import { Timeline } from "./clock.ts";
import { Life } from "./life.ts";
import { Network } from "./network.ts";
import { namedRandom } from "./random.ts";
import { simulatedTransport } from "./transport.ts";

/** The suite lives in real time: virtual time follows it, a step a millisecond. */
let over = false;
afterAll(() => void (over = true));

transportConformance("simulated", () => {
  const timeline = new Timeline();
  const random = namedRandom(1, "network");
  const network = new Network(timeline, random, () => undefined);
  network.weather = { ...network.weather, fromMs: 0, toMs: 0.5 };
  const skew = { rate: 1, aheadMs: 0 };
  const life = new Life({ node: "127.0.0.1", number: 1, pid: 1, timeline, random, skew });
  const beganMs = systemClock.monotonic();
  const follow = async (): Promise<void> => {
    while (!over) {
      await timeline.run(systemClock.monotonic() - beganMs, () => false);
      await systemClock.sleep(1);
    }
  };
  void follow();
  return { transport: simulatedTransport(network, life), freeAddress: async () => "127.0.0.1:9" };
});
