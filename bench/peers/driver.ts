import { inFlight } from "../measure.ts";

/** What every system is asked to do: three no-op steps one after the other, or one; start and wait for the result. */
export type Work = "three-step" | "one-step";
export type Order = { work: Work; count: number; width: number; mostMs: number };
export type Report = { perSecond: number; count: number; tookMs: number; durationsMs: number[] };

/** The protocol of a driver process: it says that it is ready, then answers one order after the other. */
export type FromDriver = { kind: "ready" } | { kind: "report"; report: Report } | { kind: "failed"; message: string };

/**
 * Each system is driven from a process of its own, so that none pays for another's heap and its CPU can be told apart.
 * Ends with the channel to its parent.
 */
export function answerOrders(work: Readonly<Record<Work, () => PromiseLike<unknown>>>): void {
  const tell = (message: FromDriver): void => void process.send?.(message);
  process.on("disconnect", () => process.exit(0));
  process.on("message", (order: Order) => {
    inFlight(order, async () => await work[order.work]()).then(
      (report) => tell({ kind: "report", report }),
      (error: unknown) =>
        tell({ kind: "failed", message: error instanceof Error ? (error.stack ?? "") : String(error) }),
    );
  });
  tell({ kind: "ready" });
}
