import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { isHodeiError } from "../workflow/errors.ts";

const BOUNDS = { initialMs: 20, maxMs: 2_000 };

export type RetryScope = {
  clock: Clock;
  random: Random;
  /** Asked before each repeat; false gives the last error to the caller. */
  goOn: () => boolean;
  signal?: AbortSignal;
};

/**
 * Repeats a store call that may or may not have happened (UNAVAILABLE, DEADLINE_EXCEEDED) until it answers. The caller
 * builds the request once, with its `opId`, so that the repeat is the same operation to the store.
 */
export async function untilAnswered<Answer>(scope: RetryScope, call: () => Promise<Answer>): Promise<Answer> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!isHodeiError(error, "UNAVAILABLE", "DEADLINE_EXCEEDED") || !scope.goOn()) throw error;
      await scope.clock.sleep(fullJitterMs(attempt, scope.random.float(), BOUNDS), scope.signal);
    }
  }
}
