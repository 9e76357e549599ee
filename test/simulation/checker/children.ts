import { isDeepStrictEqual } from "node:util";
import { childIdOf } from "../../../workflow/child.ts";
import { own, type Execution, type IterationRecord } from "../../../workflow/execution.ts";
import type { OutboxMessage } from "../../../workflow/message.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report, Run } from "./invariant.ts";
import { pastOf } from "./past.ts";
import { keyOf, type Known, type World } from "./world.ts";

type Message<Kind extends OutboxMessage["kind"]> = Extract<OutboxMessage, { kind: Kind }>;

export const childrenOnce: Invariant = {
  name: "a child starts once, for a parent that asked",
  promise:
    "A child starts once per attempt of its parent's iteration, whichever engines the two live on, and no child is without a parent.",
  watch(report, run) {
    const born = new Map<string, { id: string; at: number }>();
    // A start that was under way when the store forgot that it was asked for: whoever asked will ask again, or has gone.
    const wasAsked = (id: string, uid: string, at: number): boolean =>
      pastOf(run).asked.some((one) => one.child === id && one.uid === uid && one.lostAt < at);
    return {
      before(fact, world) {
        if (fact.kind !== "commit" || fact.request.expectedRevision !== 0) return;
        const { parent, namespace, id } = fact.request.head;
        if (parent === undefined) return;
        const about = `child ${id}`;
        const known = world.executions.get(`${namespace}/${parent.executionId}`);
        if (wasAsked(id, parent.uid, fact.at)) return;
        if (known === undefined || known.state.uid !== parent.uid) {
          return report({ about, expected: "a parent", seen: `${parent.executionId} is not there`, events: [fact.at] });
        }
        // Its parent was itself a child of a lost history: one engine's start of it may be under way when another's is refused.
        const refused =
          isOrphan(known, world) && pastOf(run).asked.some((one) => one.child === id && one.uid === parent.uid);
        if (!asksFor(known, id) && !refused) {
          const seen = "its parent has no open message that starts it";
          report({ about, expected: "to be asked for", seen, events: [...known.commits.slice(-1), fact.at] });
        }
        checkName(fact, known, report);
        const twin = born.get(id);
        if (twin !== undefined)
          report({ about, expected: "to be created once", seen: "twice", events: [twin.at, fact.at] });
        born.set(id, { id, at: fact.at });
      },
    };
  },
};

/** The store has forgotten who asked for it. */
function isOrphan({ head: { namespace, parent } }: Known, world: World): boolean {
  if (parent === undefined) return false;
  return world.executions.get(`${namespace}/${parent.executionId}`)?.state.uid !== parent.uid;
}

function isStart(text: string): boolean {
  return (JSON.parse(text) as OutboxMessage).kind === "startChild";
}

function checkName({ request, at }: FactOf<"commit">, parent: Known, report: Report): void {
  const ref = request.head.parent;
  const step = ref === undefined ? undefined : stepOf(parent, ref.step);
  if (ref === undefined || step?.kind !== "workflow") return;
  const attempts = own(parent.state.steps, ref.step)?.iterations[ref.iteration]?.attempt ?? 1;
  const names = Array.from({ length: attempts }, (_, index) =>
    childIdOf(parent.state.id, step, ref.iteration, index + 1),
  );
  if (names.includes(request.id)) return;
  report({ about: `child ${request.id}`, expected: `one of ${names.join(", ")}`, seen: request.id, events: [at] });
}

function stepOf({ definition }: Known, id: string) {
  return definition?.steps[id] ?? definition?.finally[id];
}

export const messagesArrive: Invariant = {
  name: "a message is forgotten when it has arrived",
  promise:
    "Starts, cancels and ends travel at least once and in order: what a parent or child lets go of, the other has.",
  watch: (report) => ({
    before(fact, world) {
      if (fact.kind !== "commit") return;
      const source = world.executions.get(keyOf(fact.request));
      for (const id of fact.request.outboxDone) {
        const entry = source?.outbox.get(id);
        if (source === undefined || entry === undefined) continue;
        const message = JSON.parse(entry.text) as OutboxMessage;
        const target = world.executions.get(`${entry.namespace}/${entry.target}`);
        const missing = whatIsMissing(message, { source, target, fact, world });
        if (missing === undefined) continue;
        report({
          about: `${message.kind} from ${source.state.id} to ${entry.target}`,
          expected: missing,
          seen: "it was taken off the outbox",
          events: [...(target?.commits.slice(-1) ?? []), fact.at],
        });
      }
    },
  }),
};

type Ends = { source: Known; target: Known | undefined; fact: FactOf<"commit">; world: World };

function whatIsMissing(message: OutboxMessage, of: Ends): string | undefined {
  switch (message.kind) {
    case "startChild":
      return startMissing(message, of);
    case "cancelChild":
      return cancelMissing(message, of);
    case "childEnded": {
      const { target } = of;
      if (target === undefined || target.state.uid !== message.parentUid || target.state.state !== "running")
        return undefined;
      const iteration = own(target.state.steps, message.step)?.iterations[message.iteration];
      const waits = iteration?.state === "waiting" && iteration.childId === message.childId;
      // A child of a history that was lost ended before its parent asked for it again: that start will bring the end anew.
      if (!waits || asksFor(target, message.childId)) return undefined;
      return "its parent to have taken the end: it waits for it still";
    }
    default:
      return message satisfies never;
  }
}

function startMissing(message: Message<"startChild">, { source, target, fact }: Ends): string | undefined {
  if (target !== undefined) return undefined;
  const iteration = waitingFor(source.state, message);
  if (iteration === undefined) return undefined;
  const refused = fact.events.some(
    (event) => event.type === "iterationEnded" && event.step === message.step && event.iteration === message.iteration,
  );
  return refused ? undefined : "the child to exist, or its step to have ended";
}

function waitingFor(state: Execution, { step, iteration, target }: Message<"startChild">): IterationRecord | undefined {
  const record = own(state.steps, step)?.iterations[iteration];
  return record?.state === "waiting" && record.childId === target ? record : undefined;
}

function cancelMissing(message: Message<"cancelChild">, { source, target }: Ends): string | undefined {
  if (target === undefined) {
    return asksFor(source, message.target) ? "the child's start to arrive before its cancel" : undefined;
  }
  const { state } = target;
  const reached = state.state !== "running" || state.gate === "cancelled" || state.phase === "finally";
  return reached ? undefined : "the child to have been cancelled, or to have ended";
}

/** The child's start has not been answered yet. */
function asksFor(parent: Known, child: string): boolean {
  return [...parent.outbox.values()].some(({ target, text }) => target === child && isStart(text));
}

export const endsAgree: Invariant = {
  name: "a parent tells what its child came to",
  promise:
    "An iteration that started a child succeeds with its outputs when it succeeded, and not otherwise; a finished parent has no running child.",
  watch: (report, run) => ({
    end(world, last) {
      for (const child of world.executions.values()) {
        const ref = child.state.parent;
        const parent =
          ref === undefined ? undefined : world.executions.get(`${child.state.namespace}/${ref.executionId}`);
        if (ref === undefined || parent === undefined || parent.state.uid !== ref.uid) continue;
        const iteration = own(parent.state.steps, ref.step)?.iterations[ref.iteration];
        const about = `child ${child.state.id}`;
        const events = [...parent.commits.slice(-1), ...child.commits.slice(-1)].sort((a, b) => a - b);
        if (iteration?.childId === child.state.id && iteration.state === "succeeded" && !hadEnded(child, run)) {
          if (child.state.state !== "succeeded") {
            report({ about, expected: "to have succeeded, as its parent says", seen: child.state.state, events });
          } else if (!isDeepStrictEqual(plain(iteration.outputs ?? {}), plain(child.state.output ?? {}))) {
            const seen = JSON.stringify(iteration.outputs).slice(0, 200);
            report({ about, expected: "its output in its parent", seen, events });
          }
        }
        if (!last || parent.state.state === "running" || child.state.state !== "running") continue;
        report({
          about,
          expected: "to end with its parent",
          seen: `it runs, ${parent.state.id} is ${parent.state.state}`,
          events,
        });
      }
    },
  }),
};

/** Its parent heard of an end that the store has forgotten since. */
function hadEnded({ key }: Known, run: Run): boolean {
  const moments = pastOf(run).moments.get(key) ?? [];
  return moments.some(({ state, lostAt }) => state === "succeeded" && lostAt !== Infinity);
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
