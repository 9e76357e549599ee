import { isDeepStrictEqual } from "node:util";
import { ADOPTION_MS } from "../../../store/store.ts";
import { own } from "../../../workflow/execution.ts";
import type { Outcome } from "../../../workflow/job.ts";
import type { HistoryEvent } from "../../../workflow/event.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report } from "./invariant.ts";
import { keyOf, type KnownJob, takenBy, type World } from "./world.ts";

type Accepted = Map<string, { kind: Outcome["kind"]; at: number }>;

export const firstOutcomeWins: Invariant = {
  name: "the first outcome of an attempt wins",
  promise:
    "At most one outcome of an attempt is accepted, under its own token, and whoever is told that it was may forget it.",
  watch(report) {
    const accepted: Accepted = new Map();
    return {
      before(fact, world) {
        if (fact.kind === "reported") return judgeReport(fact, world, accepted, report);
        if (fact.kind !== "commit") return;
        for (const { jobId, token } of fact.request.settle) {
          const known = world.jobs.get(jobId);
          if (known?.claim?.token !== token) {
            const seen = `${fact.node} settled it under ${token.slice(0, 8)}`;
            const expected = `only the token it is held under (${words(known)}) to be settled`;
            report({ about: `job ${jobId}`, expected, seen, events: [...placesOf(known), fact.at] });
          }
          accepted.set(token, { kind: "succeeded", at: fact.at });
        }
      },
    };
  },
};

function judgeReport(fact: FactOf<"reported">, world: World, accepted: Accepted, report: Report): void {
  const { request, status, at } = fact;
  const { jobId, token, outcome } = request;
  const known = world.jobs.get(jobId);
  const current = known?.claim?.token === token;
  const complain = (expected: string, events: number[]): void =>
    report({
      about: `job ${jobId}`,
      expected,
      seen: `${fact.node} reported ${outcome.kind}: ${status}`,
      events: [...events, at],
    });
  const before = accepted.get(token);
  switch (status) {
    case "OK":
      if (!current) complain(`no outcome to be taken (${words(known)})`, placesOf(known));
      else if (outcome.kind === "lost" && !mayLose(fact, known, world)) {
        complain("only its holder to report it lost, or its owner once it is abandoned", placesOf(known));
      }
      accepted.set(token, { kind: outcome.kind, at });
      return;
    case "DUPLICATE":
      if (before === undefined) complain("an outcome that was taken before", placesOf(known));
      else if (before.kind === "lost" && outcome.kind !== "lost") {
        complain("STALE: the attempt was declared lost, this result does not count", [before.at]);
      }
      return;
    case "STALE":
      if (current && outcome.kind !== "lost") complain("its result to be taken: the token is good", placesOf(known));
      return;
    default:
      status satisfies never;
  }
}

function mayLose({ request }: FactOf<"reported">, known: KnownJob | undefined, world: World): boolean {
  const holder = known?.claim?.session;
  if (known === undefined || holder === undefined) return false;
  if (holder === request.session) return true;
  const session = world.sessions.get(holder);
  const abandoned = session === undefined || (session.endedAtMs ?? Infinity) + ADOPTION_MS <= world.nowMs;
  return abandoned && world.shards.get(known.job.shard)?.fence.session === request.session;
}

export const outcomesAreFolded: Invariant = {
  name: "an accepted outcome is what history tells",
  promise:
    "The outcome that was accepted for an attempt is recorded as it was: no cancel, timeout or second report replaces it.",
  watch: (report) => ({
    before(fact, world) {
      if (fact.kind !== "commit") return;
      const { request } = fact;
      const taken = new Set(takenBy(world, request));
      for (const jobId of [...request.cancel, ...(request.revoke ?? []), ...(request.withdraw ?? [])]) {
        const known = world.jobs.get(jobId);
        if (known?.outcome === undefined || taken.has(jobId)) continue;
        const seen = "a commit threw the job away";
        const expected = `its outcome (${known.outcome.outcome.kind}), which waits in the inbox, to be folded first`;
        report({ about: `job ${jobId}`, expected, seen, events: [known.outcome.at, fact.at] });
      }
      for (const jobId of request.withdraw ?? []) {
        const known = world.jobs.get(jobId);
        if (known?.claim === undefined) continue;
        const expected = "a queue timeout to spare a job that a worker has";
        report({ about: `job ${jobId}`, expected, seen: "it was withdrawn", events: [known.claim.at, fact.at] });
      }
      for (const jobId of taken) checkFolded(world.jobs.get(jobId), fact, world, report);
    },
  }),
};

function checkFolded(known: KnownJob | undefined, fact: FactOf<"commit">, world: World, report: Report): void {
  if (known?.outcome === undefined) return;
  const { step, iteration, attempt, executionUid } = known.job;
  const execution = world.executions.get(keyOf(fact.request))?.state;
  const record = execution === undefined ? undefined : own(execution.steps, step)?.iterations[iteration];
  // Of an attempt that history has left behind already, nothing is told any more.
  if (execution?.uid !== executionUid || record?.state !== "queued" || record.attempt !== attempt) return;
  const end = fact.events.find(
    (event) =>
      event.type === "attemptEnded" &&
      event.step === step &&
      event.iteration === iteration &&
      event.attempt === attempt,
  );
  const { outcome, at } = known.outcome;
  const superseded = fact.events.some((event) => event.type === "workspaceLost" && event.remedy === "rerun");
  if (end === undefined ? superseded : sameOutcome(end, outcome)) return;
  report({
    about: `job ${known.job.id}`,
    expected: `its accepted outcome, ${shown(outcome)}, in its history`,
    seen: end === undefined ? "it left the inbox without a word" : shown((end as { outcome: Outcome }).outcome),
    events: [at, fact.at],
  });
}

/** Outputs beyond the bound are recorded as a failure; the store adds to a loss which workspace went with it. */
function sameOutcome(end: HistoryEvent, outcome: Outcome): boolean {
  if (end.type !== "attemptEnded") return false;
  const recorded = end.outcome;
  if (recorded.kind === "lost" && outcome.kind === "lost") return true;
  if (recorded.kind === "failed" && recorded.failure.type === "TOO_LARGE" && outcome.kind === "succeeded") return true;
  return isDeepStrictEqual(JSON.parse(JSON.stringify(recorded)), JSON.parse(JSON.stringify(outcome)));
}

function shown(outcome: Outcome): string {
  return JSON.stringify(outcome).slice(0, 200);
}

function words(known: KnownJob | undefined): string {
  if (known === undefined) return "there is no such open job";
  if (known.outcome !== undefined) return `it has the outcome ${known.outcome.outcome.kind}`;
  return known.claim === undefined ? "nobody holds it" : `${known.claim.token.slice(0, 8)} holds it`;
}

function placesOf(known: KnownJob | undefined): number[] {
  const at = known?.outcome?.at ?? known?.claim?.at ?? known?.enqueuedAt;
  return at === undefined ? [] : [at];
}
