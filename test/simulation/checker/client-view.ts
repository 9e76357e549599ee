import type { Invariant, Report } from "./invariant.ts";
import { displayState } from "../../../workflow/execution.ts";
import { type Call, type Moment, momentAt, type Past, pastOf } from "./past.ts";

const NAMESPACE = "default";

type View = { id: string; uid: string; state: string; revision: number; outputJson?: string };
type Answer = { response: unknown; at: number };

export const clientsSeeHistory: Invariant = {
  name: "clients see what history tells",
  promise:
    "What get, wait, list and history answer is how the execution stood at some moment of the call, its end included.",
  check(run, report) {
    const past = pastOf(run);
    for (const call of past.calls) {
      const { answered } = call;
      if (answered === undefined) continue;
      if (answered.error !== undefined) {
        checkError(call, { response: answered.error, at: answered.at }, past, report);
        continue;
      }
      const answer = { response: answered.response, at: answered.at };
      switch (call.method) {
        case "execution.get":
        case "execution.wait":
          checkView(call, answer.response as View, answer.at, past, report);
          break;
        case "execution.list":
          checkList(call, answer, past, report);
          break;
        case "execution.history":
          checkHistory(call, answer, past, report);
          break;
        default:
      }
    }
  },
};

function checkView(call: Call, view: View, answeredAt: number, past: Past, report: Report): void {
  const moments = past.moments.get(`${NAMESPACE}/${view.id}`) ?? [];
  const about = `execution ${view.id}`;
  const complain = (expected: string, seen: string, events: number[]): void =>
    report({
      about,
      expected,
      seen: `${call.method} told ${seen}`,
      events: [...events, call.asked, answeredAt].sort((a, b) => a - b),
    });
  // The same revision may have been made more than once, in histories that were lost.
  const told = moments.filter(
    ({ revision, uid, at }) => revision === view.revision && uid === view.uid && at < answeredAt,
  );
  if (told.length === 0) return complain("a revision that was committed", `revision ${view.revision}`, []);
  const asStood = told.find((moment) => stateOf(moment) === view.state);
  if (asStood === undefined) {
    return complain(
      told.map(stateOf).join(" or "),
      `${view.state} at revision ${view.revision}`,
      told.map(({ at }) => at),
    );
  }
  const known = momentAt(moments, call.asked);
  if (known !== undefined && known.revision > view.revision && known.lostAt > answeredAt) {
    complain(`revision ${known.revision} or later`, `revision ${view.revision}`, [known.at]);
  }
  if (call.method === "execution.wait") checkEnd(view, told, complain);
}

/** Of a revision; what `displayState` makes of an execution that was ended by it. */
function stateOf({ state, gate }: Moment): string {
  return displayState({ state, gate });
}

function checkEnd(
  view: View,
  told: Moment[],
  complain: (expected: string, seen: string, events: number[]) => void,
): void {
  if (!["succeeded", "failed", "cancelled"].includes(view.state)) {
    return complain("an end", view.state, []);
  }
  if (view.state !== "succeeded") return;
  const outputs = told.flatMap(({ events }) =>
    events.flatMap((event) => (event.type === "executionEnded" ? JSON.stringify(event.output ?? {}) : [])),
  );
  if (outputs.length === 0 || outputs.includes(view.outputJson ?? "{}")) return;
  complain(
    `the output ${outputs.join(" or ")}`,
    view.outputJson ?? "none",
    told.map(({ at }) => at),
  );
}

function checkList(call: Call, { response, at }: Answer, past: Past, report: Report): void {
  const { executions, nextPage } = response as { executions: View[]; nextPage?: string };
  for (const view of executions) checkView(call, view, at, past, report);
  const { states } = call.request as { states: string[] };
  if (nextPage !== undefined || states.length > 0) return;
  const listed = new Set(executions.map(({ id }) => id));
  for (const [key, moments] of past.moments) {
    const known = momentAt(moments, call.asked);
    if (known === undefined || known.lostAt < at || listed.has(key.slice(NAMESPACE.length + 1))) continue;
    const seen = `${listed.size} others`;
    report({
      about: `execution ${key}`,
      expected: "to be in the list of all",
      seen,
      events: [known.at, call.asked, at],
    });
  }
}

function checkHistory(call: Call, { response, at }: Answer, past: Past, report: Report): void {
  const { id } = call.request as { id: string };
  const { entries } = response as { entries: { revision: number; eventJson: string }[] };
  const moments = past.moments.get(`${NAMESPACE}/${id}`) ?? [];
  const texts = new Set(
    moments.flatMap(({ revision, events }) => events.map((event) => `${revision} ${JSON.stringify(event)}`)),
  );
  const wrong = entries.find(({ revision, eventJson }) => !texts.has(`${revision} ${eventJson}`));
  if (wrong !== undefined) {
    const seen = `revision ${wrong.revision}: ${wrong.eventJson.slice(0, 120)}`;
    report({ about: `execution ${id}`, expected: "events that were committed", seen, events: [call.asked, at] });
  }
  const revisions = entries.map(({ revision }) => revision);
  if (revisions.some((revision, index) => revision < (revisions[index - 1] ?? 0))) {
    report({
      about: `execution ${id}`,
      expected: "events in their order",
      seen: revisions.join(" "),
      events: [call.asked, at],
    });
  }
}

/** Refusals that no client of ours can have earned. */
function checkError(call: Call, { response, at }: Answer, past: Past, report: Report): void {
  const error = String(response);
  const code = error.split(":")[0] ?? "";
  const id = (call.request as { id?: string }).id ?? call.method;
  const about = call.method.startsWith("execution.") ? `execution ${id}` : call.method;
  const complain = (expected: string, events: number[]): void =>
    report({
      about,
      expected,
      seen: `${call.method} was answered ${error}`,
      events: [...events, call.asked, at].sort((a, b) => a - b),
    });
  if (["INTERNAL", "DATA_CORRUPT", "FENCED", "NOT_OWNER", "STALE", "UNIMPLEMENTED"].includes(code)) {
    return complain("no defect of ours to reach a client", []);
  }
  const known = momentAt(past.moments.get(`${NAMESPACE}/${id}`) ?? [], call.asked);
  if (known === undefined || known.lostAt < at) return;
  if (code === "NOT_FOUND" && call.method.startsWith("execution."))
    complain("to be found: it was committed", [known.at]);
  if (code === "ALREADY_EXISTS" && call.method === "execution.start")
    complain("the same start to be answered again", [known.at]);
}

export const runNumbers: Invariant = {
  name: "run numbers are unique",
  promise: "No two executions of a workflow have the same BUILD_NUMBER, unless the store lost that it had given it.",
  check(run, report) {
    const past = pastOf(run);
    const given = new Map<string, { id: string; at: number }>();
    for (const [key, moments] of past.moments) {
      for (const { events, at, lostAt } of moments) {
        for (const event of events) {
          if (event.type !== "executionStarted" || lostAt !== Infinity) continue;
          const { definition, runNumber } = event.start;
          const number = `${definition.name} ${runNumber}`;
          const other = given.get(number);
          given.set(number, { id: key, at });
          if (other === undefined || other.id === key || wasForgotten(past, definition.name, runNumber)) continue;
          const seen = `number ${runNumber}, which ${other.id} has`;
          report({
            about: `execution ${key}`,
            expected: "a run number of its own",
            seen,
            events: [other.at, at].sort((a, b) => a - b),
          });
        }
      }
    }
  },
};

function wasForgotten(past: Past, name: string, value: number): boolean {
  return past.counts.some(
    (count) => count.name === name && count.value === value && past.lostAt(count.at) !== Infinity,
  );
}
