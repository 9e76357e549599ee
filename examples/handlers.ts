import { defineHandler } from "../sdk/handler.ts";

/**
 * Handlers for the `task` steps of invoice.yaml:
 * `hodei dev --handlers examples/handlers.ts`, `hodei apply examples/invoice.yaml`.
 */
class CardDeclined extends Error {
  override readonly name = "CardDeclined";
  /** Never retried, whatever `retry` says. */
  readonly permanent = true;
}

const line = {
  type: "object",
  required: ["cents", "count"],
  properties: { cents: { type: "integer" }, count: { type: "integer", minimum: 1 } },
} as const;

export const total = defineHandler(
  "invoice.total",
  { type: "object", required: ["lines"], properties: { lines: { type: "array", items: line } } },
  ({ lines }) => ({ cents: lines.reduce((sum, { cents, count }) => sum + cents * count, 0) }),
);

export const charge = defineHandler(
  "invoice.charge",
  {
    type: "object",
    required: ["card", "cents"],
    properties: { card: { type: "string" }, cents: { type: "integer", minimum: 0 } },
  },
  ({ card, cents }, context) => {
    if (card === "") throw new CardDeclined("there is no card");
    // The key is the same for every attempt of this step: the payment service can tell a retry from a second order.
    context.log(`charging ${cents} cents, key ${context.idempotencyKey}`);
    return { receipt: `${context.executionId}-${cents}` };
  },
);
