import { unreachable } from "../../../workflow/errors.ts";
import type { ClientSite } from "../run.ts";
import { Asking, type Counter } from "./asking.ts";
import type { Families } from "./definitions.ts";
import type { Action, Client } from "./script.ts";
import { SIGNALS } from "./steps.ts";

/** Of what has to succeed before anything else makes sense: goes on through any fault that heals. */
const PATIENT = { tries: 200 };
/** A wait is a call with a long deadline; after so many of them the client looks at the end only. */
const WAIT = { deadlineMs: 15_000, tries: 3 };
/** The rounds at the end, in which everything that waits for people is given what it waits for. */
const ROUND_MS = 3_000;
const ROUNDS_MS = 15 * 60_000;

/** All clients of a run: what they do, side by side, and in the end whatever it takes that everything ends. */
export async function runClients(site: ClientSite, families: Families, clients: readonly Client[]): Promise<void> {
  const counter: Counter = { next: 1, messages: 0 };
  const named = clients.map((client) => ({ client, asking: new Asking(site, client.name, counter) }));
  const [first] = named;
  if (first === undefined) return;
  await publishFirst(first.asking, families);
  const beganMs = first.asking.nowMs();
  await Promise.all(named.map(({ client, asking }) => act(asking, client.actions, beganMs)));
  await endAll(first.asking, counter);
  const started = new Set(
    clients.flatMap((client) => client.actions).flatMap((it) => (it.do === "start" ? it.id : [])),
  );
  for (const id of started) await first.asking.ask("execution", "wait", { id }, WAIT);
  // Once more: a store that was rolled back meanwhile has forgotten what had been done, and nobody else would do it again.
  await endAll(first.asking, counter);
  await Promise.all(named.map(({ asking }) => asking.close()));
}

async function publishFirst(asking: Asking, { children, roots }: Families): Promise<void> {
  for (const { name, first, stable } of [...children, ...roots]) {
    await asking.ask("workflow", "register", { source: JSON.stringify(first) }, PATIENT);
    const { version } = first.metadata;
    if (stable) await asking.ask("workflow", "promote", { name, version, channel: "stable" }, PATIENT);
  }
}

/** In the order of their times; a wait goes on beside what comes after it. */
async function act(asking: Asking, actions: readonly Action[], beganMs: number): Promise<void> {
  const waits: Promise<unknown>[] = [];
  for (const action of actions) {
    const restMs = beganMs + action.atMs - asking.nowMs();
    if (restMs > 0) await asking.pause(restMs);
    const done = perform(asking, action);
    if (action.do === "wait") waits.push(done);
    else await done;
  }
  await Promise.all(waits);
}

async function perform(asking: Asking, action: Action): Promise<unknown> {
  switch (action.do) {
    case "publish":
      return await asking.ask("workflow", "register", { source: JSON.stringify(action.document) });
    case "plan":
      return await asking.ask("workflow", "plan", { source: JSON.stringify(action.document) });
    case "promote": {
      const { name, version, channel } = action;
      return await asking.ask("workflow", "promote", { name, version, channel });
    }
    case "delete":
      return await asking.ask("workflow", "delete", { name: action.name, version: action.version });
    case "start":
      return await start(asking, action);
    case "signal": {
      const { id, name, payload, messageId } = action;
      return await asking.ask("execution", "signal", { id, name, payloadJson: JSON.stringify(payload), messageId });
    }
    case "cancel":
      return await asking.ask("execution", "cancel", { id: action.id, messageId: action.messageId, reason: "enough" });
    case "retry":
      return await asking.ask("execution", "retry", { id: action.id, messageId: action.messageId, steps: [] });
    case "pause":
    case "resume":
      return await asking.ask("execution", action.do, { id: action.id, messageId: action.messageId });
    case "wait":
      return await asking.ask("execution", "wait", { id: action.id }, WAIT);
    case "get":
      return await asking.ask("execution", "get", { id: action.id });
    case "history":
      return await asking.ask("execution", "history", { id: action.id, afterRevision: 0, limit: 0 });
    case "list":
      return await asking.ask("execution", "list", { states: [], labels: {}, limit: 0 });
    default:
      return unreachable(action);
  }
}

async function start(asking: Asking, action: Extract<Action, { do: "start" }>): Promise<void> {
  const { id, workflow, range, input, labels, priority, twice } = action;
  const request = { id, workflow, range, inputJson: JSON.stringify(input), labels, ...(priority ? { priority } : {}) };
  for (let times = twice ? 2 : 1; times > 0; times--) await asking.ask("execution", "start", request);
}

/** Resumes and signals what is open, children among them, until nothing is. */
async function endAll(asking: Asking, counter: Counter): Promise<void> {
  const untilMs = asking.nowMs() + ROUNDS_MS;
  while (asking.nowMs() < untilMs) {
    const page = await asking.ask("execution", "list", {
      states: ["running", "paused", "cancelling"],
      labels: {},
      limit: 500,
    });
    if (page?.executions.length === 0) return;
    for (const { id, state } of page?.executions ?? []) {
      if (state === "cancelling") continue;
      const messageId = (): string => `end-${++counter.messages}`;
      if (state === "paused") await asking.ask("execution", "resume", { id, messageId: messageId() });
      const view = await asking.ask("execution", "get", { id });
      const waits = view?.steps.some((step) => step.kind === "wait" && step.state === "waiting") ?? false;
      for (const name of waits ? SIGNALS : []) {
        await asking.ask("execution", "signal", { id, name, payloadJson: "{}", messageId: messageId() });
      }
    }
    await asking.pause(ROUND_MS);
  }
}
