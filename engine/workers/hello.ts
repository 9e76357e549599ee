import type { Hello } from "../../transport/api/worker.ts";
import type { Identity } from "../../transport/transport.ts";
import { HodeiError } from "../../workflow/errors.ts";

/** What one worker may say of itself: far beyond what any has, so that none can hold up an engine by its length. */
const BOUNDS = {
  text: 256,
  labels: 1_000,
  handlers: 1_000,
  /** Of the offer as a whole: it is part of the signature that the store keeps and compares. */
  offer: 256 * 1024,
  jobs: 10_000,
  workspaces: 1_000,
  slots: 10_000,
} as const;

/** Throws INVALID_ARGUMENT or TOO_LARGE with the field, PERMISSION_DENIED for a namespace that is not its own. */
export function checkHello(hello: Hello, identity: Identity): void {
  const { workerId, name, slots, offer, running, spooled, workspaces } = hello;
  if (!workerId) throw wrong("workerId", "is missing");
  if (!Number.isInteger(slots) || slots < 0) throw wrong("slots", "must be at least 0");
  for (const [resource, amount] of Object.entries(offer.total)) {
    if (!(amount >= 0)) throw wrong(`offer.total.${resource}`, "must be at least 0");
  }
  const sizes: [field: string, size: number, most: number][] = [
    ["workerId", workerId.length, BOUNDS.text],
    ["name", name.length, BOUNDS.text],
    ["version", hello.version.length, BOUNDS.text],
    ["requestId", hello.requestId?.length ?? 0, BOUNDS.text],
    ["slots", slots, BOUNDS.slots],
    ["offer.labels", offer.labels.length, BOUNDS.labels],
    ["offer.handlers", offer.handlers.length, BOUNDS.handlers],
    ["offer", JSON.stringify(offer).length, BOUNDS.offer],
    ["running", running.length + spooled.length, BOUNDS.jobs],
    ["workspaces", workspaces.length, BOUNDS.workspaces],
  ];
  for (const [field, size, most] of sizes) {
    if (size > most) throw wrong(field, `is ${size}, the bound is ${most}`, "TOO_LARGE");
  }
  // The anonymous one has shown no credential that could say otherwise.
  if (identity.role === "worker" && identity.namespace !== "*" && offer.namespace !== identity.namespace) {
    const message = `a worker of namespace ${identity.namespace} may not take jobs of ${offer.namespace}`;
    throw new HodeiError("PERMISSION_DENIED", message, { field: "hello.offer.namespace" });
  }
}

function wrong(
  field: string,
  message: string,
  code: "INVALID_ARGUMENT" | "TOO_LARGE" = "INVALID_ARGUMENT",
): HodeiError {
  return new HodeiError(code, `hello.${field} ${message}`, { field: `hello.${field}` });
}
