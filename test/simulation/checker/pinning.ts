import { own } from "../../../workflow/execution.ts";
import { digestOf, parseNormalForm } from "../../../workflow/load.ts";
import { lockKey } from "../../../workflow/lock.ts";
import { pickVersion } from "../../../workflow/version.ts";
import type { RegistryRecord } from "../../../store/store.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report, Run } from "./invariant.ts";
import { pastOf } from "./past.ts";
import type { World } from "./world.ts";

export const pinned: Invariant = {
  name: "an execution runs what it was started with",
  promise:
    "Version and digest of an execution never change; its children run what its own lock holds, whatever was published since.",
  watch(report) {
    const first = new Map<string, { words: string; at: number }>();
    return {
      before(fact, world) {
        if (fact.kind !== "commit") return;
        const { head, id, expectedRevision } = fact.request;
        const words = `${head.workflow}@${head.version} ${head.digest}`;
        const known = first.get(head.uid) ?? { words, at: fact.at };
        first.set(head.uid, known);
        if (known.words !== words) {
          report({ about: `execution ${id}`, expected: known.words, seen: words, events: [known.at, fact.at] });
        }
        if (expectedRevision !== 0) return;
        checkBodies(fact, report);
        checkLock(fact, world, report);
      },
    };
  },
};

const digests = new Map<string, string>();

function digestOfBody(body: string): string {
  let digest = digests.get(body);
  if (digest === undefined) {
    digest = digestOf(parseNormalForm(body));
    if (digests.size > 500) digests.clear();
    digests.set(body, digest);
  }
  return digest;
}

function checkBodies({ request, events, at }: FactOf<"commit">, report: Report): void {
  const about = `execution ${request.id}`;
  const definitions = request.definitions ?? {};
  const start = events.find((event) => event.type === "executionStarted");
  const locked = Object.values(start?.start.lock.entries ?? {}).map(({ digest }) => digest);
  for (const digest of [request.head.digest, ...locked]) {
    const body = definitions[digest];
    if (body === undefined) report({ about, expected: `its own copy of ${digest}`, seen: "none", events: [at] });
    else if (digestOfBody(body) !== digest) {
      report({ about, expected: `the definition of digest ${digest}`, seen: digestOfBody(body), events: [at] });
    }
  }
}

function checkLock({ request, events, at }: FactOf<"commit">, world: World, report: Report): void {
  const { head, id, namespace } = request;
  const parent =
    head.parent === undefined ? undefined : world.executions.get(`${namespace}/${head.parent.executionId}`);
  const start = events.find((event) => event.type === "executionStarted");
  if (head.parent === undefined || parent === undefined || start === undefined) return;
  const about = `child ${id}`;
  const since = [...parent.commits.slice(0, 1), at];
  const step = parent.definition?.steps[head.parent.step] ?? parent.definition?.finally[head.parent.step];
  const locks = parent.state.lock.entries;
  if (step?.kind === "workflow") {
    const entry = own(locks, lockKey(step.workflow, step.range));
    const seen = `${head.workflow}@${head.version} ${head.digest}`;
    const expected =
      entry === undefined ? "an entry in its parent's lock" : `${entry.name}@${entry.version} ${entry.digest}`;
    if (seen !== expected) report({ about, expected, seen, events: since });
  }
  for (const [key, entry] of Object.entries(start.start.lock.entries)) {
    const above = own(locks, key);
    if (above?.digest === entry.digest && above.version === entry.version) continue;
    const expected = `${key} to be ${above?.version ?? "in its parent's lock"}`;
    report({ about, expected, seen: `${entry.name}@${entry.version}`, events: since });
  }
}

/** An orchestrator may resolve by what it read so long ago (FRESH_MS of its catalog), when the hint of a change was lost. */
const STALE_MS = 2_100;

export const promoted: Invariant = {
  name: "a start gets a version that its range meant",
  promise: "A range, a channel or nothing at all resolves to a version that it meant at some moment of the call.",
  watch: (report, run) => ({
    before(fact) {
      if (fact.kind !== "commit" || fact.request.expectedRevision !== 0) return;
      if (fact.request.head.parent === undefined) checkResolved(fact, run, report);
    },
  }),
};

function checkResolved(fact: FactOf<"commit">, run: Run, report: Report): void {
  const { calls, registries } = pastOf(run);
  const { head, id } = fact.request;
  const starts = calls.filter((call) => {
    return call.method === "execution.start" && (call.request as { id: string }).id === id && call.asked < fact.at;
  });
  const [first] = starts;
  if (first === undefined) return;
  const { range, workflow } = first.request as { range: string; workflow: string };
  const askedMs = fact.nowMs - ((run.trace[fact.at]?.atMs ?? 0) - (run.trace[first.asked]?.atMs ?? 0));
  const fromMs = askedMs - STALE_MS;
  // Each registry held until the next one; those that were over before the call began are no candidates.
  const until = registries.filter(({ at }) => at < fact.at);
  const during = until.filter((_, index) => (until[index + 1]?.nowMs ?? Infinity) >= fromMs);
  const meant = new Set(during.map(({ record }) => versionIn(record, workflow, range)));
  if (meant.has(head.version) && head.workflow === workflow) return;
  report({
    about: `execution ${id}`,
    expected: `${workflow} "${range}" to be ${[...meant].map((version) => version ?? "nothing").join(" or ")}`,
    seen: `${head.workflow}@${head.version}`,
    events: [first.asked, ...during.map(({ at }) => at), fact.at].sort((a, b) => a - b),
  });
}

function versionIn({ definitions, channels }: RegistryRecord, name: string, range: string): string | undefined {
  const versions = definitions.filter((one) => one.name === name).map(({ version }) => version);
  return pickVersion({ versions, channels: own(channels, name) ?? {} }, range);
}
