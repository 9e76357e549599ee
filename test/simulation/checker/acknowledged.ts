import type { RegistryRecord } from "../../../store/store.ts";
import { own } from "../../../workflow/execution.ts";
import type { Invariant, Report, Run } from "./invariant.ts";
import { type Call, type Moment, momentAt, type Past, pastOf } from "./past.ts";

/** Clients of simulated clusters have no credential. */
const NAMESPACE = "default";

export const acknowledged: Invariant = {
  name: "what was acknowledged was committed before",
  promise:
    "An acknowledged start, signal, cancel, pause, resume, retry, registration or promotion is committed when the answer leaves.",
  check(run, report) {
    const past = pastOf(run);
    for (const call of past.calls) {
      if (call.answered === undefined || call.answered.error !== undefined) continue;
      checkAnswer({ ...call, answered: call.answered }, run, report);
    }
  },
};

type Answered = Call & { answered: NonNullable<Call["answered"]> };

function checkAnswer(call: Answered, run: Run, report: Report): void {
  const past = pastOf(run);
  switch (call.method) {
    case "execution.start":
      return checkStart(call, past, report);
    case "execution.signal":
    case "execution.cancel":
    case "execution.pause":
    case "execution.resume":
    case "execution.retry":
      return checkMessage(call, past, report);
    case "workflow.register":
    case "workflow.promote":
    case "workflow.delete":
      return checkRegistry(call, past, report);
    default:
  }
}

type Started = { id: string; uid: string; workflow: string; version: string; digest: string };

function checkStart({ answered, asked, request }: Answered, past: Past, report: Report): void {
  const { id } = request as { id: string };
  const { uid, workflow, version, digest } = answered.response as Started;
  const told = `${workflow}@${version} ${digest}`;
  const moments = past.moments.get(`${NAMESPACE}/${id}`) ?? [];
  const start = moments.find((moment) => moment.uid === uid && moment.at < answered.at);
  const about = `execution ${id}`;
  const event = start?.events.find(({ type }) => type === "executionStarted");
  if (event?.type !== "executionStarted") {
    const seen = moments.length === 0 ? "nothing" : "none of it before the answer, under this uid";
    report({ about, expected: "a committed start: it was acknowledged", seen, events: [asked, answered.at] });
    return;
  }
  const { definition } = event.start;
  const committed = `${definition.name}@${definition.version} ${definition.digest}`;
  if (committed === told) return;
  report({
    about,
    expected: committed,
    seen: `the client was told ${told}`,
    events: [start?.at ?? asked, answered.at],
  });
}

/** What a message changes, and when it changes nothing. */
const EFFECTS: Record<string, { type: string; idle: (moment: Moment) => boolean }> = {
  "execution.signal": { type: "signalReceived", idle: () => false },
  "execution.cancel": {
    type: "cancelRequested",
    idle: ({ state, gate }) => state !== "running" || gate === "cancelled",
  },
  "execution.pause": { type: "paused", idle: ({ gate }) => gate === "paused" },
  "execution.resume": { type: "resumed", idle: ({ gate }) => gate === "open" },
  "execution.retry": { type: "retried", idle: () => false },
};

function checkMessage({ method, request, asked, answered }: Answered, past: Past, report: Report): void {
  const { id, messageId } = request as { id: string; messageId: string };
  const moments = past.moments.get(`${NAMESPACE}/${id}`) ?? [];
  const effect = EFFECTS[method];
  if (effect === undefined) return;
  const done = moments.find(
    ({ at, events }) =>
      at < answered.at && events.some((event) => event.type === effect.type && "id" in event && event.id === messageId),
  );
  if (done !== undefined) return;
  // Between the question and the answer the execution may have been where the message changes nothing.
  const begun = momentAt(moments, asked);
  const during = moments.filter(({ at }) => at > asked && at < answered.at);
  const rolled = past.branches.length > 1 && moments.some(({ lostAt }) => lostAt > asked && lostAt < answered.at);
  if (rolled || [...(begun === undefined ? [] : [begun]), ...during].some(effect.idle)) return;
  const events = [...(begun === undefined ? [] : [begun.at]), asked, answered.at].sort((a, b) => a - b);
  const seen = "an answer, and no such event in the history";
  report({ about: `execution ${id}`, expected: `${effect.type} ${messageId} to be committed`, seen, events });
}

function checkRegistry(
  { method, request, response, asked, answered }: Answered & { response?: unknown },
  past: Past,
  report: Report,
): void {
  void response;
  const { name, version, words } = registration(method, request, answered.response);
  const during = past.registries.filter(
    ({ at }, index) => at < answered.at && (past.registries[index + 1]?.at ?? Infinity) > asked,
  );
  if (during.some(({ record }) => holds(method, record, request, { name, version }))) return;
  report({
    about: `workflow ${name}`,
    expected: `${words} to be committed`,
    seen: "an answer alone",
    events: [asked, answered.at],
  });
}

function registration(
  method: string,
  request: unknown,
  response: unknown,
): { name: string; version: string; words: string } {
  const of = (method === "workflow.register" ? response : request) as { name: string; version: string };
  return { name: of.name, version: of.version, words: `${method.split(".")[1]} of ${of.name}@${of.version}` };
}

function holds(
  method: string,
  record: RegistryRecord,
  request: unknown,
  of: { name: string; version: string },
): boolean {
  const published = record.definitions.some(({ name, version }) => name === of.name && version === of.version);
  if (method === "workflow.register") return published;
  if (method === "workflow.delete") return !published;
  const { channel } = request as { channel: string };
  return own(own(record.channels, of.name) ?? {}, channel) === of.version;
}
