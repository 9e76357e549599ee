import { own } from "./execution.ts";
import { HodeiError } from "./errors.ts";
import { inputViolations } from "./input.ts";
import type { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import type { Message } from "./message.ts";
import { isJsonObject } from "./schema.ts";
import { openIterations, type Turn } from "./turn.ts";
import { consume, type WaitStep } from "./wait.ts";

/**
 * Gives a signal to the first step that waits for it, in the order of the definition, or remembers it for the next one.
 * Everything that can be wrong with it is told to the sender, before anything is recorded.
 */
export function takeSignal(turn: Turn, message: Extract<Message, { kind: "signal" }>): void {
  const { id, name, by } = message;
  const payload = checkedPayload(turn, message);
  turn.emit({ type: "signalReceived", id, name, payload, by });
  for (const step of turn.graph.waits.get(name) ?? []) {
    const node = turn.graph.nodes.get(step.id);
    const waiting = node === undefined ? undefined : openIterations(turn, node)[0];
    if (waiting !== undefined) return consume(turn, { ...waiting.node, step }, waiting.key);
  }
}

function checkedPayload(turn: Turn, message: Extract<Message, { kind: "signal" }>): Json {
  const { name, payload, by } = message;
  const { execution, graph } = turn;
  const waits = graph.waits.get(name) ?? [];
  if (waits.length === 0) {
    const known = [...graph.waits.keys()].join(", ");
    const hint = known === "" ? "the workflow has no wait step" : `the workflow waits for: ${known}`;
    throw new HodeiError("INVALID_ARGUMENT", `no step of ${execution.workflow} waits for a signal "${name}"`, {
      field: "name",
      hint,
    });
  }
  if (waits.every((step) => own(execution.steps, step.id)?.endedAtMs !== undefined)) {
    throw new HodeiError("CLOSED", `the steps that wait for "${name}" have ended`);
  }
  if (Buffer.byteLength(JSON.stringify(payload)) > LIMITS.signalBytes) {
    throw new HodeiError("TOO_LARGE", `a signal holds at most ${LIMITS.signalBytes} bytes`, { field: "payload" });
  }
  // A name means one thing in a definition, so every step that takes it has a say, whichever will get it.
  for (const step of waits) checkAgainst(step, payload);
  let remembered = 0;
  for (const queue of Object.values(execution.signals)) remembered += queue.length;
  if (remembered >= LIMITS.signalsRemembered) {
    throw new HodeiError("RESOURCE_EXHAUSTED", `${remembered} signals wait for a step to take them already`);
  }
  // Who approved is what the credential says, not what the payload says.
  if (by === "" || !isJsonObject(payload) || waits.every((step) => step.approval === undefined)) return payload;
  return { ...payload, by };
}

function checkAgainst(step: WaitStep, payload: Json): void {
  if (step.approval !== undefined && (!isJsonObject(payload) || typeof payload.approved !== "boolean")) {
    throw new HodeiError("INVALID_INPUT", `step ${step.id} waits for an approval: {approved: true or false, comment}`, {
      field: "payload.approved",
    });
  }
  const violations = step.schema === undefined ? [] : inputViolations(step.schema, payload, "payload");
  if (violations.length === 0) return;
  throw new HodeiError("INVALID_INPUT", `the signal does not match the schema of step ${step.id}`, { violations });
}
