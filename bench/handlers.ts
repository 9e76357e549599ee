import { defineHandler } from "../sdk/handler.ts";

/** Does nothing: what is left is the cost of the machine around it. */
export const noop = defineHandler("bench.noop", { type: "object" }, () => ({}));
