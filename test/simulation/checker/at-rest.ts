import type { Invariant, Report, Run } from "./invariant.ts";
import { keyOf, type World } from "./world.ts";

export const nothingLeft: Invariant = {
  name: "nothing is left behind",
  promise:
    "At rest no job, timer, message, claim or workspace of a finished execution is left, and no session of the dead.",
  watch: (report, run) => ({
    end(world, last) {
      if (!last) return;
      compare(world, run, report);
      if (!run.healed) return;
      for (const { job, state } of run.rest.jobs) {
        report({ about: `job ${job.id}`, expected: "no open job", seen: state, events: placeOf(world, job.id) });
      }
      for (const { head, timers, outbox } of run.rest.executions) {
        const about = `execution ${head.id}`;
        const events = world.executions.get(keyOf(head))?.commits.slice(-1) ?? [];
        if (timers.length > 0)
          report({ about, expected: "no timer", seen: timers.map(({ id }) => id).join(", "), events });
        if (outbox.length > 0) {
          report({
            about,
            expected: "no message to be sent",
            seen: outbox
              .map(({ text }) => text)
              .join(", ")
              .slice(0, 300),
            events,
          });
        }
      }
      checkSessions(run, report);
    },
  }),
};

function placeOf(world: World, jobId: string): number[] {
  const known = world.jobs.get(jobId);
  const at = known?.outcome?.at ?? known?.claim?.at ?? known?.enqueuedAt;
  return at === undefined ? [] : [at];
}

function checkSessions({ rest }: Run, report: Report): void {
  const names = new Set<string>();
  for (const { engine, claims, expiresAtMs, session } of rest.sessions) {
    const about = `session ${session.slice(0, 8)} of ${engine.name}`;
    if (claims > 0) report({ about, expected: "no claim", seen: `${claims} claims`, events: [] });
    if (expiresAtMs <= rest.nowMs)
      report({ about, expected: "to be over: its lease is", seen: "listed as living", events: [] });
    if (names.has(engine.name))
      report({ about, expected: "one session of an engine", seen: "another one", events: [] });
    names.add(engine.name);
  }
}

/** What the store holds open is what it was given and not what it was told to forget. */
function compare(world: World, { rest }: Run, report: Report): void {
  const open = new Set(rest.jobs.map(({ job }) => job.id));
  for (const [id] of world.jobs) {
    if (!open.has(id))
      report({
        about: `job ${id}`,
        expected: "to be open",
        seen: "the store has forgotten it",
        events: placeOf(world, id),
      });
  }
  for (const id of open) {
    if (!world.jobs.has(id))
      report({ about: `job ${id}`, expected: "to be over", seen: "the store holds it open", events: [] });
  }
  for (const { head, timers, outbox } of rest.executions) {
    const known = world.executions.get(keyOf(head));
    if (known === undefined) continue;
    const about = `execution ${head.id}`;
    const events = known.commits.slice(-1);
    const differ = (name: string, expected: string[], seen: string[]): void => {
      if (expected.sort().join(" ") === seen.sort().join(" ")) return;
      report({ about, expected: `${name} ${expected.join(", ") || "none"}`, seen: seen.join(", ") || "none", events });
    };
    const words = (id: string, atMs: number): string => `${id} at ${atMs}`;
    differ(
      "timers",
      [...known.timers].map(([id, atMs]) => words(id, atMs)),
      timers.map(({ id, atMs }) => words(id, atMs)),
    );
    differ(
      "messages",
      [...known.outbox.keys()],
      outbox.map(({ id }) => id),
    );
  }
}
