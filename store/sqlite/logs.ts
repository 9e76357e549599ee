import type { Cold } from "../memory/cold.ts";
import type { Database } from "./database.ts";

type Logs = Pick<Cold, "appendLog" | "growDropMark" | "logTail" | "logs">;

const ATTEMPT = "serial = ? AND step = ? AND iteration = ? AND attempt = ?";

/** The position is the row's number: arrival order over all executions. */
export function sqliteLogs(database: Database, write: Database["run"]): Logs {
  return {
    appendLog: ({ serial, step, iteration, attempt }, { offset, data, dropped, atMs }) =>
      write(
        `INSERT INTO logs (serial, step, iteration, attempt, offset, dropped, at_ms, data)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        serial,
        step,
        iteration,
        attempt,
        offset,
        dropped,
        atMs,
        data,
      ),
    growDropMark: ({ serial, step, iteration, attempt }, bytes, offset) =>
      write(
        `UPDATE logs SET dropped = dropped + ?, offset = ?
         WHERE position = (SELECT max(position) FROM logs WHERE ${ATTEMPT})`,
        bytes,
        offset,
        serial,
        step,
        iteration,
        attempt,
      ),
    logTail({ serial, step, iteration, attempt }) {
      const of = [serial, step, iteration, attempt];
      const last = database.get(
        `SELECT offset, length(data) AS bytes FROM logs WHERE ${ATTEMPT} ORDER BY position DESC LIMIT 1`,
        ...of,
      );
      if (last === undefined) return undefined;
      const all = database.get(`SELECT sum(length(data)) AS bytes FROM logs WHERE ${ATTEMPT}`, ...of);
      const bytes = Number(last["bytes"]);
      return {
        heldTo: Number(last["offset"]) + bytes,
        storedBytes: Number(all?.["bytes"] ?? 0),
        endsInMark: bytes === 0,
      };
    },
    logs(serial, step, after, limitBytes) {
      const ofStep = step === undefined ? "" : "AND step = ?";
      const sql = `SELECT * FROM logs INDEXED BY logs_listed WHERE serial = ? AND position > ? ${ofStep} ORDER BY position`;
      const chunks: ReturnType<Cold["logs"]> = [];
      let bytes = 0;
      for (const row of database.iterate(sql, serial, after, ...(step === undefined ? [] : [step]))) {
        const data = row["data"] instanceof Uint8Array ? row["data"] : new Uint8Array(0);
        if (chunks.length > 0 && bytes + data.length > limitBytes) break;
        bytes += data.length;
        chunks.push({
          position: Number(row["position"]),
          chunk: {
            step: String(row["step"]),
            iteration: String(row["iteration"]),
            attempt: Number(row["attempt"]),
            offset: Number(row["offset"]),
            data,
            dropped: Number(row["dropped"]),
            atMs: Number(row["at_ms"]),
          },
        });
      }
      return chunks;
    },
  };
}
