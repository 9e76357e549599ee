import type { HistoryEvent } from "../../../workflow/event.ts";
import { idempotencyKey } from "../../../workflow/job.ts";
import type { JobSeen } from "../trace.ts";
import type { Invariant, Report, Run } from "./invariant.ts";
import { type Moment, type Past, pastOf } from "./past.ts";

/** A handler that began, and the claim under which it did. */
type Ran = { at: number; worker: string; job: JobSeen; claimedAt: number | undefined };

function runsOf(run: Run): Ran[] {
  const { claims } = pastOf(run);
  return run.trace.flatMap((event, at): Ran[] => {
    if (event.kind !== "ran") return [];
    const { worker, job } = event;
    const claim = claims.findLast(
      (one) => one.at < at && one.assignment.job.id === job.jobId && one.assignment.worker === worker,
    );
    return [{ at, worker, job, claimedAt: claim?.at }];
  });
}

/** As they were given out: a worker that was frozen may begin what has long been given to another. */
function inOrder(runs: readonly Ran[]): Ran[] {
  return runs.toSorted((one, other) => (one.claimedAt ?? one.at) - (other.claimedAt ?? other.at));
}

/** What the store lost before `later` was given out is no reason to hold that back: nobody could know of it any more. */
function forgotten(past: Past, earlier: Ran, later: Ran): boolean {
  if (earlier.claimedAt === undefined || later.claimedAt === undefined) return false;
  return past.lostAt(earlier.claimedAt) < later.claimedAt;
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

export const oneRunPerAttempt: Invariant = {
  name: "an attempt runs once, where it was given",
  promise: "A handler runs only for a claim of its worker, and once for each attempt.",
  check(run, report) {
    const past = pastOf(run);
    const runs = runsOf(run);
    for (const { at, worker, job, claimedAt } of runs) {
      if (claimedAt !== undefined) continue;
      report({
        about: `job ${job.jobId}`,
        expected: `a claim for ${worker} before it runs there`,
        seen: "none",
        events: [at],
      });
    }
    for (const group of grouped(inOrder(runs), ({ job }) => job.jobId)) {
      for (const [index, later] of group.entries()) {
        const earlier = group.slice(0, index).find((one) => !forgotten(past, one, later));
        if (earlier === undefined) continue;
        const seen = `on ${earlier.worker}, and again on ${later.worker}`;
        report({ about: `job ${later.job.jobId}`, expected: "to run once", seen, events: [earlier.at, later.at] });
      }
    }
  },
};

export const atMostOnce: Invariant = {
  name: "onLost: fail runs at most once",
  promise:
    "A step with onLost: fail is not run again when it is not known how its run ended; an attempt that was refused never ran.",
  check(run, report) {
    const past = pastOf(run);
    const ends = endsOf(past);
    const runs = runsOf(run);
    for (const group of grouped(inOrder(runs), ({ job }) => job.idempotencyKey)) {
      for (const [index, later] of group.entries()) {
        const earlier = group.slice(0, index).findLast((one) => one.job.jobId !== later.job.jobId);
        if (earlier === undefined || forgotten(past, earlier, later)) continue;
        checkAgain({ earlier, later, past, ends }, report);
      }
    }
    for (const ran of runs) {
      const end = (ends.get(attemptKey(ran.job)) ?? []).find(({ event }) => event.outcome.kind === "rejected");
      if (end === undefined || ran.claimedAt === undefined) continue;
      // One of the two was lost before the other came: they are of different histories.
      if (past.lostAt(ran.claimedAt) < end.at || past.lostAt(end.at) < ran.claimedAt) continue;
      const seen = "it was recorded as refused";
      report({
        about: `job ${ran.job.jobId}`,
        expected: "an end that says that it ran",
        seen,
        events: [ran.at, end.at],
      });
    }
  },
};

type AttemptEnded = Extract<HistoryEvent, { type: "attemptEnded" }>;
type Ends = Map<string, { at: number; event: AttemptEnded }[]>;

function uidOf(job: JobSeen): string {
  return job.idempotencyKey.split("/")[0] ?? "";
}

function attemptKey(job: Pick<JobSeen, "idempotencyKey" | "attempt">): string {
  return `${job.idempotencyKey}#${job.attempt}`;
}

function endsOf(past: Past): Ends {
  const ends: Ends = new Map();
  for (const moments of past.moments.values()) {
    for (const { events, uid: executionUid, at } of moments) {
      for (const event of events) {
        if (event.type !== "attemptEnded") continue;
        const { step, iteration, attempt } = event;
        const key = attemptKey({ idempotencyKey: idempotencyKey({ executionUid, step, iteration }), attempt });
        ends.set(key, [...(ends.get(key) ?? []), { at, event }]);
      }
    }
  }
  return ends;
}

function checkAgain(of: { earlier: Ran; later: Ran; past: Past; ends: Ends }, report: Report): void {
  const { earlier, later, past, ends } = of;
  const { step } = later.job;
  const definition = past.definitions.get(uidOf(later.job));
  const written = definition?.steps[step] ?? definition?.finally[step];
  if (written?.onLost !== "fail") return;
  const known = (ends.get(attemptKey(earlier.job)) ?? []).filter(({ at }) => at <= (later.claimedAt ?? later.at));
  if (known.some(({ event: { outcome } }) => isKnownEnd(outcome)) || retriedBetween(past, earlier, later)) return;
  const ended = known.map(({ event }) => event.outcome.kind).join(", ") || "no recorded end";
  report({
    about: `step ${later.job.idempotencyKey}`,
    expected: `not to run again after attempt ${earlier.job.attempt}: how that ended is not known`,
    seen: `attempt ${later.job.attempt} ran on ${later.worker}; the one before had ${ended}`,
    events: [earlier.at, ...known.map(({ at }) => at), later.at].sort((a, b) => a - b),
  });
}

/** Whoever ran it said how it ended. */
function isKnownEnd(outcome: AttemptEnded["outcome"]): boolean {
  if (outcome.kind === "failed") return outcome.failure.class !== "infrastructure";
  return outcome.kind === "timeout" && outcome.timeout === "run";
}

function retriedBetween(past: Past, earlier: Ran, later: Ran): boolean {
  const [from, to] = [earlier.claimedAt ?? earlier.at, later.claimedAt ?? later.at];
  return [...past.moments.values()].some((moments) =>
    moments.some(
      ({ at, uid, events }: Moment) =>
        uid === uidOf(later.job) && at > from && at <= to && events.some(({ type }) => type === "retried"),
    ),
  );
}

export const stableKeys: Invariant = {
  name: "idempotency keys are stable and unique",
  promise:
    "HODEI_IDEMPOTENCY_KEY is execution uid, step and iteration: the same over attempts, and nothing else ever has it.",
  check(run, report) {
    const { moments } = pastOf(run);
    const owners = new Map<string, { words: string; at: number }>();
    for (const [at, event] of run.trace.entries()) {
      if (event.kind !== "ran") continue;
      const { executionId, step, iteration, idempotencyKey: key } = event.job;
      const words = `${executionId} ${step}/${iteration}`;
      const owner = owners.get(key);
      if (owner !== undefined && owner.words !== words) {
        report({
          about: `key ${key}`,
          expected: `only ${owner.words} to have it`,
          seen: words,
          events: [owner.at, at],
        });
      }
      owners.set(key, owner ?? { words, at });
      const uids = [...moments]
        .filter(([id]) => id.endsWith(`/${executionId}`))
        .flatMap(([, all]) => all.map(({ uid }) => uid));
      const expected = [...new Set(uids)].map((executionUid) => idempotencyKey({ executionUid, step, iteration }));
      if (expected.includes(key)) continue;
      report({
        about: `job ${event.job.jobId}`,
        expected: `the key ${expected.join(" or ")}`,
        seen: key,
        events: [at],
      });
    }
  },
};
