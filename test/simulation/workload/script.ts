import type { Json } from "../../../workflow/json.ts";
import type { Priority } from "../../../workflow/definition.ts";
import type { Document, Families, Family } from "./definitions.ts";
import type { Dice } from "./dice.ts";
import { SIGNALS } from "./steps.ts";

/** What a client does at a moment, in virtual ms after everything was published. Ids of messages are made before. */
export type Action = { atMs: number } & (
  | { do: "publish" | "plan"; document: Document }
  | { do: "promote"; name: string; version: string; channel: string }
  | { do: "delete"; name: string; version: string }
  | {
      do: "start";
      id: string;
      workflow: string;
      range: string;
      input: Json;
      labels: Record<string, string>;
      priority?: Priority;
      /** Sent again after it was answered, as a client does that lost the answer. */
      twice: boolean;
    }
  | { do: "signal"; id: string; name: string; payload: Json; messageId: string }
  | { do: "cancel" | "pause" | "resume" | "retry"; id: string; messageId: string }
  | { do: "get" | "history" | "wait"; id: string }
  | { do: "list"; workflow?: string }
);

export type Client = { name: string; actions: Action[] };

/** When the last start is sent, and when the last of the other actions. */
const STARTS_MS = 8_000;
const LAST_MS = 30_000;

export function drawClients(dice: Dice, families: Families): Client[] {
  const clients = ["ann", "bob", "eve"].slice(0, dice.int(1, 3)).map((name): Client => ({ name, actions: [] }));
  const give = (...actions: Action[]): void => {
    for (const action of actions) clients[dice.int(0, clients.length - 1)]?.actions.push(action);
  };
  const count = dice.int(2, 6);
  for (let number = 1; number <= count; number++) give(...drawExecution(dice, `x${number}`, families.roots));
  for (const family of [...families.children, ...families.roots]) give(...drawPublishing(dice, family));
  if (dice.chance(0.4)) give({ atMs: dice.int(0, LAST_MS), do: "list" });
  for (const client of clients) client.actions.sort((a, b) => a.atMs - b.atMs);
  return clients;
}

function drawExecution(dice: Dice, id: string, roots: Families["roots"]): Action[] {
  const family = dice.pick(roots);
  const startedMs = dice.int(0, STARTS_MS);
  const later = (spanMs: number): number => startedMs + dice.int(0, spanMs);
  let messages = 0;
  const messageId = (): string => `${id}-m${++messages}`;
  const actions: Action[] = [
    {
      atMs: startedMs,
      do: "start",
      id,
      workflow: family.name,
      range: dice.pick(["", "^1.0.0", "1.0.0", "latest", family.stable ? "stable" : ""]),
      input: { yes: dice.chance(0.5) },
      labels: dice.chance(0.3) ? { team: dice.pick(["a", "b"]) } : {},
      ...(dice.chance(0.25) ? { priority: dice.pick(["low", "normal", "high"]) } : {}),
      twice: dice.chance(0.3),
    },
  ];
  if (dice.chance(0.5)) actions.push({ atMs: later(500), do: "wait", id });
  if (dice.chance(0.3)) actions.push({ atMs: later(LAST_MS), do: "get", id });
  if (dice.chance(0.2)) actions.push({ atMs: later(LAST_MS), do: "history", id });
  for (const name of dice.some(SIGNALS, 0.5)) {
    actions.push({ atMs: later(12_000), do: "signal", id, name, payload: { v: 1 }, messageId: messageId() });
  }
  if (dice.chance(0.22)) actions.push({ atMs: later(10_000), do: "cancel", id, messageId: messageId() });
  if (dice.chance(0.25)) {
    const pausedMs = later(6_000);
    actions.push({ atMs: pausedMs, do: "pause", id, messageId: messageId() });
    if (dice.chance(0.7)) {
      actions.push({ atMs: pausedMs + dice.int(200, 8_000), do: "resume", id, messageId: messageId() });
    }
  }
  if (dice.chance(0.35)) actions.push({ atMs: later(LAST_MS), do: "retry", id, messageId: messageId() });
  return actions;
}

/** In the middle: a plan, the publish, channels moved there and back, the old version deleted. */
function drawPublishing(dice: Dice, { name, first, next }: Family): Action[] {
  if (next === undefined) return [];
  const atMs = dice.int(0, STARTS_MS);
  const { version } = next.metadata;
  const promote = (afterMs: number, to: string): Action => {
    return { atMs: atMs + afterMs, do: "promote", name, version: to, channel: "stable" };
  };
  return [
    ...(dice.chance(0.3) ? [{ atMs: Math.max(atMs - 200, 0), do: "plan" as const, document: next }] : []),
    { atMs, do: "publish", document: next },
    ...(dice.chance(0.7) ? [promote(dice.int(0, 2_000), version)] : []),
    ...(dice.chance(0.3) ? [promote(dice.int(2_000, 5_000), first.metadata.version)] : []),
    ...(dice.chance(0.2) ? [{ atMs: atMs + 6_000, do: "delete" as const, name, version: first.metadata.version }] : []),
  ];
}
