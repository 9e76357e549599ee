import type { Store } from "../../store/store.ts";
import { HodeiError } from "../../workflow/errors.ts";

/** What goes wrong with one call: not made at all; made, but the answer lost; or this and all later ones never answered. */
export type Fault = "before" | "after" | "dead";

/**
 * A store that fails at the k-th call (counted from 1, over all methods that return a promise). `dead` is what an engine
 * sees that is killed there: it never hears of the store again, the store has heard of it or not.
 */
export function faultyStore(store: Store, at: number, fault: Fault): { store: Store; calls(): number } {
  let calls = 0;
  const never = new Promise<never>(() => {});
  const wrap = <Part extends object>(part: Part): Part =>
    new Proxy(part, {
      get(target, name, receiver) {
        const value: unknown = Reflect.get(target, name, receiver);
        if (typeof value === "object" && value !== null) return wrap(value);
        if (typeof value !== "function" || name === "watch" || name === "close") return value;
        return async (...args: unknown[]): Promise<unknown> => {
          calls += 1;
          const mine = calls;
          if (fault === "dead" && mine > at) return await never;
          if (mine === at && fault === "before")
            throw new HodeiError("UNAVAILABLE", `call ${mine} (${String(name)}) was not made`);
          const answer: unknown = await Reflect.apply(value, target, args);
          if (mine === at && fault === "after")
            throw new HodeiError("UNAVAILABLE", `answer ${mine} (${String(name)}) was lost`);
          if (mine === at && fault === "dead") return await never;
          return answer;
        };
      },
    });
  return { store: wrap(store), calls: () => calls };
}
