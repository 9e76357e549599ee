import type { HistoryEvent } from "../../../workflow/event.ts";
import { own } from "../../../workflow/execution.ts";
import { jobId } from "../../../workflow/job.ts";
import type { OutboxMessage } from "../../../workflow/message.ts";
import { iterationTimer } from "../../../workflow/timer-id.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report } from "./invariant.ts";
import { keyOf, type Known, type World } from "./world.ts";

/**
 * What a commit records and what it sets going must agree: a queued iteration has its job, one that waits its timer or
 * its child's start, an end of a child its message. Nothing is set going that is not recorded.
 */
export const eventsAndEffects: Invariant = {
  name: "a commit does what it records",
  promise:
    "Intent is recorded with what follows from it, in one commit: no job, message or timer without its event or the other way round.",
  watch: (report) => ({
    after(fact, world) {
      if (fact.kind !== "commit") return;
      const known = world.executions.get(keyOf(fact.request));
      if (known === undefined || known.broken !== undefined) return;
      checkJobs(fact, report);
      checkMessages(fact, known, report);
      checkOpen(fact, known, world, report);
    },
  }),
};

type Queued = Extract<HistoryEvent, { type: "iterationQueued" }>;

function checkJobs(fact: FactOf<"commit">, report: Report): void {
  const { request, events } = fact;
  const { namespace, id: executionId } = request;
  const queued = events.filter((event): event is Queued => event.type === "iterationQueued");
  const recorded = new Set(
    queued.map(({ step, iteration, attempt }) => jobId({ namespace, executionId, step, iteration, attempt })),
  );
  for (const job of request.enqueue) {
    if (recorded.has(job.id)) continue;
    const seen = `${job.id} was enqueued without`;
    report({ about: `execution ${request.id}`, expected: "iterationQueued for each job", seen, events: [fact.at] });
  }
}

function checkMessages(fact: FactOf<"commit">, known: Known, report: Report): void {
  const { request, events } = fact;
  const sent = request.outbox.map((entry) => JSON.parse(entry.text) as OutboxMessage);
  const about = `execution ${request.id}`;
  const ends = events.filter((event) => event.type === "executionEnded");
  const told = sent.filter(({ kind }) => kind === "childEnded");
  const expected = known.state.parent === undefined ? 0 : ends.length;
  // One that has ended may say so again, as often as its parent has asked.
  const again =
    ends.length === 0 && told.length > 0 && known.state.parent !== undefined && known.state.state !== "running";
  if (told.length !== expected && !again) {
    const seen = `${told.length} messages`;
    report({ about, expected: `${expected} messages to its parent about its end`, seen, events: [fact.at] });
  }
  for (const message of sent) {
    if (message.kind !== "startChild") continue;
    const { step, iteration, target } = message;
    const recorded = events.some(
      (event) =>
        event.type === "iterationWaiting" &&
        event.step === step &&
        event.iteration === iteration &&
        "childId" in event.on &&
        event.on.childId === target,
    );
    if (recorded) continue;
    report({
      about,
      expected: `a record that ${step}/${iteration} waits for ${target}`,
      seen: "its start alone",
      events: [fact.at],
    });
  }
}

/** Where the iterations that this commit touched stand now, and what keeps them going. */
function checkOpen(fact: FactOf<"commit">, known: Known, world: World, report: Report): void {
  const { request, events } = fact;
  const { state } = known;
  if (state.state !== "running" || state.gate !== "open") return;
  const touched = new Set(events.flatMap((event) => ("iteration" in event ? `${event.step}/${event.iteration}` : [])));
  for (const place of touched) {
    const [step = "", key = ""] = place.split("/");
    const record = own(state.steps, step);
    const iteration = record?.iterations[key];
    if (record === undefined || iteration === undefined || record.stoppingAtMs !== undefined) continue;
    const timer = (kind: "retry" | "sleep" | "queue"): boolean => known.timers.has(iterationTimer(kind, step, key));
    const complain = (expected: string): void =>
      report({ about: `execution ${request.id}, ${place}`, expected, seen: "none", events: [fact.at] });
    if (iteration.state === "backoff" && !timer("retry")) complain("a timer for its next attempt");
    if (iteration.state === "queued") {
      const of = {
        namespace: request.namespace,
        executionId: request.id,
        step,
        iteration: key,
        attempt: iteration.attempt,
      };
      if (!world.jobs.has(jobId(of))) complain(`a job for attempt ${iteration.attempt}`);
    }
    if (iteration.state !== "waiting") continue;
    if (iteration.untilMs !== undefined && !timer("sleep")) complain("a timer for the end of its sleep");
    const { childId } = iteration;
    if (childId === undefined || world.executions.has(`${request.namespace}/${childId}`)) continue;
    if (![...known.outbox.values()].some(({ target }) => target === childId))
      complain(`a message that starts ${childId}`);
  }
}
