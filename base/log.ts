import { writeSync } from "node:fs";
import { pino } from "pino";
import { LogDestination } from "./log-destination.ts";

/** One structured line per state change; ids go into `fields`, never into the message. */
export type Logger = {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Logger;
};

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** JSON lines on stderr: stdout belongs to the data a command prints. Errors under `error` keep stack and cause. */
export function jsonLogger(level: LogLevel, fields: object = {}): Logger {
  const destination = new LogDestination((bytes) => writeSync(2, bytes));
  process.once("exit", () => destination.flush());
  return pino(
    { level, base: { pid: process.pid, ...fields }, serializers: { error: pino.stdSerializers.errWithCause } },
    destination,
  );
}

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
