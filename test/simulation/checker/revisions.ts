import { isDeepStrictEqual } from "node:util";
import type { ExecutionHead } from "../../../store/store.ts";
import type { FactOf } from "./facts.ts";
import type { AtRest, Invariant, Report, StoredExecution } from "./invariant.ts";
import { keyOf, type Known, type World } from "./world.ts";

type Commits = { at: number; revision: number; events: string[] }[];

export const eachCommitOnce: Invariant = {
  name: "each commit once, in one order",
  promise:
    "Each transition of an execution applies exactly once, in one total order, and none of them is lost or changed.",
  watch(report, run) {
    const commits = new Map<string, Commits>();
    const operations = new Map<string, { revision: number; at: number }>();
    return {
      before(fact, world) {
        if (fact.kind === "commit") {
          checkOrder(fact, world, report);
          const { opId, events } = fact.request;
          const key = keyOf(fact.request);
          const own = commits.get(key) ?? [];
          commits.set(key, own);
          own.push({ at: fact.at, revision: fact.revision, events });
          operations.set(opId, { revision: fact.revision, at: fact.at });
        }
        if (fact.kind !== "repeated" || fact.revision === undefined) return;
        const first = operations.get(fact.opId);
        if (first === undefined || first.revision === fact.revision) return;
        report({
          about: `operation ${fact.opId}`,
          expected: `its first answer, revision ${first.revision}`,
          seen: `revision ${fact.revision}`,
          events: [first.at, fact.at],
        });
      },
      end(world, last) {
        if (last) checkStored(commits, world, run.rest, report);
      },
    };
  },
};

function checkOrder(fact: FactOf<"commit">, world: World, report: Report): void {
  const { request, revision } = fact;
  const known = world.executions.get(keyOf(request));
  const current = known?.revision ?? 0;
  if (request.expectedRevision === current && revision === current + 1) return;
  report({
    about: `execution ${request.id}`,
    expected: `a commit on revision ${current} that makes ${current + 1}`,
    seen: `${fact.node} committed on ${request.expectedRevision} and made ${revision}`,
    events: [...(known?.commits.slice(-1) ?? []), fact.at],
  });
}

/** What is stored is what was committed, no more, no less. */
function checkStored(commits: Map<string, Commits>, world: World, rest: AtRest, report: Report): void {
  const stored = new Map(rest.executions.map((execution) => [keyOf(execution.head), execution]));
  for (const [key, own] of commits) {
    const execution = stored.get(key);
    const about = `execution ${key}`;
    const events = own.map(({ at }) => at).slice(-2);
    if (execution === undefined) {
      report({ about, expected: "to be stored: it was committed", seen: "the store does not hold it", events });
      continue;
    }
    const expected = own.filter((commit) => commit.events.length > 0);
    const wrong = expected.find((commit, index) => !sameCommit(commit, execution.commits[index]));
    if (wrong !== undefined) {
      const found = execution.commits.find(({ revision }) => revision === wrong.revision);
      const seen = found === undefined ? "no such commit in the history" : `${found.events.length} other events`;
      report({ about, expected: `revision ${wrong.revision} as it was committed`, seen, events: [wrong.at] });
    } else if (execution.commits.length > expected.length) {
      const seen = `${execution.commits.length} commits in the history`;
      report({ about, expected: `the ${expected.length} that were made`, seen, events });
    }
    const known = world.executions.get(key);
    if (known !== undefined) checkHead(known, execution.head, report);
  }
  for (const key of stored.keys()) {
    if (commits.has(key)) continue;
    report({
      about: `execution ${key}`,
      expected: "not to be there: nobody committed it",
      seen: "it is stored",
      events: [],
    });
  }
}

function sameCommit(made: Commits[number], stored: StoredExecution["commits"][number] | undefined): boolean {
  return stored?.revision === made.revision && isDeepStrictEqual(stored.events, made.events);
}

function checkHead(known: Known, head: ExecutionHead, report: Report): void {
  const expected = { ...known.head, revision: known.revision };
  if (isDeepStrictEqual(plain(head), plain(expected))) return;
  report({
    about: `execution ${known.key}`,
    expected: `the head of its last commit, ${JSON.stringify(expected)}`,
    seen: JSON.stringify(head),
    events: known.commits.slice(-1),
  });
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
