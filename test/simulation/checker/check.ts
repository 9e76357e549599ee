import type { Invariant, Report, Run, Violation, Watcher } from "./invariant.ts";
import { pastOf } from "./past.ts";
import { applyFact, emptyWorld, judge } from "./world.ts";

/** All violations of the given invariants, in the order of the invariants; one that shows in two histories is told once. */
export function check(run: Run, invariants: readonly Invariant[]): Violation[] {
  const found = new Map<string, Violation>();
  const reporting =
    ({ name }: Invariant): Report =>
    (violation) => {
      const full = { invariant: name, ...violation };
      found.set(JSON.stringify(full), full);
    };
  for (const { facts, last } of pastOf(run).branches) {
    const watchers = invariants.flatMap((invariant): Watcher[] => {
      const watcher = invariant.watch?.(reporting(invariant), run);
      return watcher === undefined ? [] : [watcher];
    });
    const world = emptyWorld();
    const befores = watchers.filter((watcher) => watcher.before !== undefined);
    const afters = watchers.filter((watcher) => watcher.after !== undefined);
    for (const fact of facts) {
      // What expired while nobody asked was judged by nobody, and a store that is loaded anew lets it live once more.
      if (fact.kind !== "rolledBack") judge(world, fact.nowMs);
      for (const watcher of befores) watcher.before?.(fact, world);
      applyFact(world, fact);
      for (const watcher of afters) watcher.after?.(fact, world);
    }
    for (const watcher of watchers) watcher.end?.(world, last);
  }
  for (const invariant of invariants) invariant.check?.(run, reporting(invariant));
  const order = new Map(invariants.map(({ name }, index) => [name, index]));
  return [...found.values()].sort((a, b) => (order.get(a.invariant) ?? 0) - (order.get(b.invariant) ?? 0));
}

/** One paragraph for the story of a failing seed. */
export function wordsOf({ about, expected, seen, events }: Violation): string {
  const where = events.length === 0 ? "" : ` (events ${events.join(", ")})`;
  return `${about}: expected ${expected}; seen: ${seen}${where}`;
}
