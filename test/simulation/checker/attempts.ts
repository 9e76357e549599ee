import { jobId } from "../../../workflow/job.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report } from "./invariant.ts";
import { pastOf } from "./past.ts";
import { keyOf, type World } from "./world.ts";

type Attempts = Map<string, { attempt: number; at: number; ended?: number }>;

export const attemptsCount: Invariant = {
  name: "attempts count up by one",
  promise:
    "Attempts of an iteration are numbered from 1 without a gap, over retries of the execution too, and each ends once.",
  watch(report) {
    const executions = new Map<string, Attempts>();
    return {
      before(fact) {
        if (fact.kind !== "commit") return;
        const key = keyOf(fact.request);
        const attempts: Attempts = executions.get(key) ?? new Map();
        executions.set(key, attempts);
        follow(attempts, fact, report);
      },
    };
  },
};

function follow(attempts: Attempts, { events, request, at }: FactOf<"commit">, report: Report): void {
  for (const event of events) {
    if (!("attempt" in event) || event.attempt === undefined) continue;
    const place = `${event.step}/${event.iteration}`;
    const last = attempts.get(place);
    const about = `execution ${request.id}, ${place}`;
    const since = last === undefined ? [] : [last.at];
    if (event.type === "attemptEnded") {
      if (last?.attempt === event.attempt && last.ended === undefined) last.ended = at;
      else {
        const expected =
          last?.ended === undefined ? `only attempt ${last?.attempt ?? "0"} to end` : "one end of an attempt";
        report({ about, expected, seen: `attempt ${event.attempt} ended`, events: [...since, at] });
      }
      continue;
    }
    const next = (last?.attempt ?? 0) + 1;
    if (event.attempt !== next) {
      report({ about, expected: `attempt ${next}`, seen: `attempt ${event.attempt}`, events: [...since, at] });
    }
    attempts.set(place, { attempt: event.attempt, at });
  }
}

export const fencedBeforeNext: Invariant = {
  name: "an attempt is fenced before the next one",
  promise: "Attempt n+1 is never queued while a result of attempt n could still be accepted.",
  watch(report) {
    const enqueued = new Map<string, number>();
    return {
      before(fact, world) {
        if (fact.kind !== "commit") return;
        for (const job of fact.request.enqueue) {
          const about = `job ${job.id}`;
          const first = enqueued.get(job.id);
          const open = world.jobs.get(job.id);
          if (first !== undefined || open !== undefined) {
            const events = [first ?? open?.enqueuedAt ?? fact.at, fact.at];
            report({ about, expected: "to be enqueued once", seen: "it was enqueued again", events });
          }
          if (job.id !== jobId(job))
            report({ about, expected: `the id ${jobId(job)}`, seen: job.id, events: [fact.at] });
          enqueued.set(job.id, fact.at);
        }
      },
      after(fact, world) {
        if (fact.kind !== "commit" || fact.request.head.state !== "running") return;
        for (const job of fact.request.enqueue) {
          for (let attempt = job.attempt - 1; attempt > 0; attempt--)
            checkOver(jobId({ ...job, attempt }), fact, world, report);
        }
      },
    };
  },
};

function checkOver(id: string, fact: FactOf<"commit">, world: World, report: Report): void {
  const open = world.jobs.get(id);
  if (open === undefined) return;
  const how =
    open.outcome === undefined
      ? open.claim === undefined
        ? "queued"
        : `held by ${open.claim.worker}`
      : "in the inbox";
  report({
    about: `job ${id}`,
    expected: "to be over before the next attempt is queued",
    seen: `it is still open, ${how}`,
    events: [open.claim?.at ?? open.enqueuedAt, fact.at],
  });
}

export const freshTokens: Invariant = {
  name: "tokens are never used twice",
  promise: "Each claim has a token of its own, whatever the store forgets.",
  check(run, report) {
    const tokens = new Map<string, { at: number; jobId: string }>();
    for (const { at, assignment } of pastOf(run).claims) {
      const { token, job } = assignment;
      const twin = tokens.get(token);
      if (twin !== undefined) {
        const seen = `the token of ${twin.jobId}`;
        report({ about: `job ${job.id}`, expected: "a token that nobody has had", seen, events: [twin.at, at] });
      }
      tokens.set(token, { at, jobId: job.id });
    }
  },
};
