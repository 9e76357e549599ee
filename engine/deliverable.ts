import type { Lock } from "../workflow/definition.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { Json, JsonObject } from "../workflow/json.ts";
import type { Message } from "../workflow/message.ts";

/** What a caller may send to an execution; the other messages are the engine's own. */
export type Deliverable = Extract<
  Message,
  { kind: "signal" | "cancel" | "pause" | "resume" | "retry" | "childEnded" | "childRefused" }
>;

type Check = (value: Json | undefined) => boolean;

const text: Check = (value) => typeof value === "string";
const something: Check = (value) => value !== undefined;
const texts: Check = (value) => Array.isArray(value) && value.every(text);
const object: Check = (value) => isObject(value);
const error: Check = (value) => isObject(value) && text(value["code"]) && text(value["message"]);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const ended: Check = (value) => value === "succeeded" || value === "failed" || value === "cancelled";

/** What each must hold: a message that is wrong in one of them would end up in a history that nobody can read. */
const FIELDS: { [Kind in Deliverable["kind"]]: Record<string, Check> } = {
  signal: { id: text, name: text, payload: something, by: text },
  cancel: { id: text, reason: text, by: text },
  pause: { id: text, by: text },
  resume: { id: text, by: text },
  retry: { id: text, by: text, steps: texts },
  childEnded: {
    step: text,
    iteration: text,
    childId: text,
    state: ended,
    output: optional(object),
    error: optional(error),
  },
  childRefused: { step: text, iteration: text, childId: text, error },
};

/** The message in this JSON text. Throws INVALID_ARGUMENT for what is none. */
export function readDeliverable(messageJson: string): Deliverable {
  const value = parseText("messageJson", messageJson);
  const kind = isObject(value) ? value["kind"] : undefined;
  if (!isObject(value) || typeof kind !== "string" || !Object.hasOwn(FIELDS, kind)) {
    throw refused("messageJson", `no message ${JSON.stringify(kind)}`);
  }
  if (isDeliverable(value, kind as Deliverable["kind"])) return value;
  throw refused("messageJson", `a message "${kind}" with a wrong ${wrongField(value, kind as Deliverable["kind"])}`);
}

function isDeliverable(value: JsonObject, kind: Deliverable["kind"]): value is JsonObject & Deliverable {
  return wrongField(value, kind) === undefined;
}

function wrongField(value: JsonObject, kind: Deliverable["kind"]): string | undefined {
  return Object.entries(FIELDS[kind]).find(([field, check]) => !check(value[field]))?.[0];
}

/** The object in this JSON text. Throws INVALID_ARGUMENT naming the field for anything else. */
export function readObject(field: string, json: string): JsonObject {
  const value = parseText(field, json);
  if (isObject(value)) return value;
  throw refused(field, `${field} is no JSON object`);
}

/** The closure lock in this JSON text. */
export function readLock(field: string, json: string): Lock {
  const { entries } = readObject(field, json);
  const locked: Check = (value) =>
    isObject(value) && [value["name"], value["version"], value["digest"]].every((part) => text(part));
  if (isObject(entries) && Object.values(entries).every(locked)) return { entries } as Lock;
  throw refused(field, `${field} is no lock`);
}

function parseText(field: string, json: string): Json {
  try {
    return JSON.parse(json) as Json;
  } catch (cause) {
    throw new HodeiError("INVALID_ARGUMENT", `${field} is no JSON`, { field, cause });
  }
}

function refused(field: string, message: string): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", message, { field });
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
