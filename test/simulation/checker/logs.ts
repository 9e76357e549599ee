import type { LogChunk } from "../../../store/store.ts";
import type { Invariant, Report } from "./invariant.ts";

export const logsMarked: Invariant = {
  name: "logs have no silent gap",
  promise: "The log of an attempt is in order; bytes that are missing are counted where they are missing.",
  watch: (report, run) => ({
    end(_world, last) {
      if (!last) return;
      for (const { head, logs } of run.rest.executions) {
        const attempts = new Map<string, LogChunk[]>();
        for (const chunk of logs) {
          const key = `${chunk.step}/${chunk.iteration}#${chunk.attempt}`;
          attempts.set(key, [...(attempts.get(key) ?? []), chunk]);
        }
        for (const [key, chunks] of attempts) checkLog(`log of ${head.id} ${key}`, chunks, report);
      }
    },
  }),
};

function checkLog(about: string, chunks: LogChunk[], report: Report): void {
  let endsAt = 0;
  for (const { offset, data, dropped } of chunks) {
    const missing = offset - endsAt;
    if (missing < 0)
      report({ about, expected: `bytes from ${endsAt} on`, seen: `bytes from ${offset} on again`, events: [] });
    if (missing > dropped) {
      const seen = `${dropped} are marked`;
      report({ about, expected: `a mark for the ${missing} bytes before ${offset}`, seen, events: [] });
    }
    endsAt = offset + data.length;
  }
}
