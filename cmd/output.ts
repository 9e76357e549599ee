import { stripVTControlCharacters } from "node:util";
import { stringify } from "yaml";
import { UsageError } from "./exit.ts";

export const FORMATS = ["table", "wide", "json", "jsonl", "yaml", "name"] as const;
export type Format = (typeof FORMATS)[number];

export function formatOf(text: string | undefined): Format {
  const found = FORMATS.find((format) => format === (text ?? "table"));
  if (found === undefined) throw new UsageError(`-o ${text} is not one of ${FORMATS.join(", ")}`, "output");
  return found;
}

/** One column: its title, the cell of a row; `wide` ones show under `-o wide` only. */
export type Column<Row> = { title: string; cell: (row: Row) => string; wide?: boolean };

/** Data goes to stdout and nothing else does, so that `hodei … | jq` works. */
export function printRows<Row extends object>(
  format: Format,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  name: (row: Row) => string,
): void {
  switch (format) {
    case "json":
      return print(JSON.stringify(rows, undefined, 2));
    case "jsonl":
      return rows.forEach((row) => print(JSON.stringify(row)));
    case "yaml":
      return print(stringify(rows).trimEnd());
    case "name":
      return rows.forEach((row) => print(name(row)));
    case "table":
    case "wide":
      if (rows.length === 0) return say("none found");
      return print(
        table(
          rows,
          columns.filter((column) => format === "wide" || !column.wide),
        ),
      );
    default:
      throw new UsageError(`unknown format ${String(format satisfies never)}`);
  }
}

export function printOne<Row extends object>(
  format: Format,
  row: Row,
  text: (row: Row) => string,
  name: (row: Row) => string,
): void {
  switch (format) {
    case "json":
      return print(JSON.stringify(row, undefined, 2));
    case "jsonl":
      return print(JSON.stringify(row));
    case "yaml":
      return print(stringify(row).trimEnd());
    case "name":
      return print(name(row));
    case "table":
    case "wide":
      return print(text(row));
    default:
      throw new UsageError(`unknown format ${String(format satisfies never)}`);
  }
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Words for the person at the terminal; never data. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = [
    columns.map((column) => column.title.toUpperCase()),
    ...rows.map((row) => columns.map((column) => column.cell(row))),
  ];
  // A colour's escapes take no place on the screen.
  const shown = (cell: string): number => stripVTControlCharacters(cell).length;
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => shown(line[at] ?? ""))));
  return cells
    .map((line) =>
      line
        .map((cell, at) => cell + " ".repeat((widths[at] ?? 0) - shown(cell)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

export function isoTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** "3s", "1m05s", "2h03m", "4d": how long ago or how long it took. */
export function shortDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return `${(ms / 1000).toFixed(1)}s`;
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
  if (seconds < 86_400)
    return `${Math.floor(seconds / 3600)}h${String(Math.floor(seconds / 60) % 60).padStart(2, "0")}m`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** A number that a flag gives. */
export function whole(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new UsageError(`--${flag} ${text} is not a whole number from ${least} to ${most}`, flag);
  return value;
}
