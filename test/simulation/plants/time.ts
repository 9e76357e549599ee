import type { Clock } from "../../../base/clock.ts";
import type { Plant } from "../run.ts";

/** Bugs in time. */
export const TIME_BUGS: readonly Plant[] = [
  {
    name: "a timer fires early",
    store: (store) => ({
      ...store,
      turn: async (request) => {
        const answer = await store.turn(request);
        if (answer.status !== "EARLY") return answer;
        const clearTimers = [...request.clearTimers, ...request.fire];
        return await store.turn({ ...request, fire: [], clearTimers });
      },
    }),
    node: (ports, node) => (node.role === "engine" ? { ...ports, clock: hasty(ports.clock) } : ports),
  },
];

/** Waits a little less than it should. */
function hasty(clock: Clock): Clock {
  return { ...clock, after: (delayMs, action) => clock.after(delayMs * 0.9, action) };
}
