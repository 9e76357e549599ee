import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import type { Discovery, EngineAddress } from "../transport/discovery/discovery.ts";
import { HodeiError } from "../workflow/errors.ts";
import { Membership } from "./membership.ts";

const JOIN_MS = 2_000;
const RESYNC_MS = 30_000;

/** A discovery in the test's hand; `fail` makes it throw, `quiet` makes its watch say nothing. */
function rig(names: string[]) {
  const state = { names, fail: false, ports: new Map<string, number>(), changed: () => {} };
  const discovery: Discovery = {
    current() {
      if (state.fail) throw new HodeiError("UNAVAILABLE", "the API server is down");
      return state.names.map((name): EngineAddress => ({ name, address: `${name}:${state.ports.get(name) ?? 1}` }));
    },
    watch(onChange) {
      state.changed = onChange;
      return () => (state.changed = () => {});
    },
  };
  const clock = new ManualClock();
  const membership = new Membership({
    discovery,
    clock,
    logger: silentLogger,
    joinDebounceMs: JOIN_MS,
    resyncMs: RESYNC_MS,
  });
  const changes: string[] = [];
  const known = (): string =>
    membership
      .engines()
      .map(({ name }) => name)
      .join(" ");
  membership.onChange(() => changes.push(known()));
  const see = (...next: string[]): void => {
    state.names = next;
    state.changed();
  };
  return { state, clock, membership, changes, known, see };
}

describe("membership", () => {
  let stop: () => Promise<void> = async () => {};
  afterEach(() => stop());

  const started = async (...names: string[]) => {
    const made = rig(names);
    stop = () => made.membership.stop();
    await made.membership.start();
    return made;
  };

  it("takes what is there at the start at once", async () => {
    const { known } = await started("b", "a");
    expect(known()).toBe("a b");
  });

  it("takes joins together, after a pause, however many there are", async () => {
    const { known, see, clock, changes } = await started("a");
    see("a", "b");
    await clock.advance(JOIN_MS - 1);
    see("a", "b", "c");
    expect(known()).toBe("a");
    await clock.advance(1);
    expect(known()).toBe("a b c");
    expect(changes).toEqual(["a", "a b c"]);
  });

  it("takes leaving at once, also while joins wait", async () => {
    const { known, see, clock } = await started("a", "b");
    see("a", "c");
    expect(known()).toBe("a");
    await clock.advance(JOIN_MS);
    expect(known()).toBe("a c");
  });

  it("takes a changed address at once: it is another process", async () => {
    const { membership, state, see } = await started("a");
    state.ports.set("a", 2);
    see("a");
    expect(membership.engines()).toEqual([{ name: "a", address: "a:2" }]);
  });

  it("keeps the last known engines when discovery fails or finds none at all", async () => {
    const { known, see, state, changes } = await started("a", "b");
    see();
    expect(known()).toBe("a b");
    state.fail = true;
    see("a");
    expect(known()).toBe("a b");
    state.fail = false;
    see("b");
    expect(known()).toBe("b");
    expect(changes).toEqual(["a b", "b"]);
  });

  it("looks again by itself when the watch has gone quiet, and no more once it is stopped", async () => {
    const { known, state, clock, membership } = await started("a", "b");
    state.names = ["a"];
    await clock.advance(RESYNC_MS);
    expect(known()).toBe("a");
    await membership.stop();
    expect(clock.nextDueMs()).toBeUndefined();
  });
});
