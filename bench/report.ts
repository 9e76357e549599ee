import { cpus, release } from "node:os";
import { type Figure, median, now, type Sample } from "./measure.ts";
import { machineCpuMs, treeCpuMs } from "./processes.ts";

/** What `-o json` prints, one per line. */
export type Line = {
  bench: string;
  figure: string;
  what: string;
  unit: string;
  /** Median of the rounds, and what they lay between. */
  value: number;
  least: number;
  most: number;
  rounds: number;
  goal?: number;
  stretch?: number;
  met?: "stretch" | "goal" | "no";
  /** Median of the floor, and of the ratios value : floor of each round. */
  floor?: number;
  ratio?: number;
};

export function linesOf(bench: string, figures: readonly Figure[], samples: readonly Sample[]): Line[] {
  return figures.map(({ key, what, unit, goal, stretch, better, floor }) => {
    const values = samples.map((sample) => valueOf(sample, key));
    const value = median(values);
    const line: Line = {
      bench,
      figure: key,
      what,
      unit,
      value: rounded(value),
      least: rounded(Math.min(...values)),
      most: rounded(Math.max(...values)),
      rounds: samples.length,
    };
    if (goal !== undefined) line.goal = goal;
    if (stretch !== undefined) line.stretch = stretch;
    if (goal !== undefined) line.met = met(value, { goal, stretch, better });
    if (floor !== undefined) {
      line.floor = rounded(median(samples.map((sample) => valueOf(sample, floor))));
      line.ratio = rounded(median(samples.map((sample) => valueOf(sample, key) / valueOf(sample, floor))));
    }
    return line;
  });
}

function valueOf(sample: Sample, key: string): number {
  const value = sample[key];
  if (value === undefined) throw new Error(`a round gave no ${key}`);
  return value;
}

function met(value: number, { goal, stretch, better }: Pick<Figure, "goal" | "stretch" | "better">): Line["met"] {
  const reaches = (mark: number | undefined): boolean =>
    mark !== undefined && (better === "more" ? value >= mark : value <= mark);
  if (reaches(stretch)) return "stretch";
  return reaches(goal) ? "goal" : "no";
}

/** Three digits that count. */
export function rounded(value: number): number {
  return Number(value.toPrecision(Math.abs(value) >= 1000 ? 4 : 3));
}

const HEAD = ["what", "value", "unit", "goal", "stretch", "met", ": floor", "least … most"];

export function tableOf(lines: readonly Line[]): string {
  const rows = lines.map((line) => [
    line.what,
    String(line.value),
    line.unit,
    line.goal === undefined ? "" : String(line.goal),
    line.stretch === undefined ? "" : String(line.stretch),
    line.met ?? "",
    line.ratio === undefined ? "" : String(line.ratio),
    line.rounds === 1 ? "" : `${line.least} … ${line.most}`,
  ]);
  return markdown(HEAD, rows);
}

/** So that it can go into docs/performance.md as it is. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const shown = (row: readonly string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [shown(head), rule, ...rows.map(shown)].join("\n");
}

/** What the numbers were taken on; they compare within one run alone. */
export function machine(): string {
  const cores = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "?"}`;
  return `${cores}, Linux ${release()}, Node ${process.versions.node}`;
}

/**
 * From now on: which share of the machine's cores others than this process and its children use. Above a few percent the
 * times say little, and CPU is what to read.
 */
export function othersFromNow(): () => string {
  const others = (): number => machineCpuMs() - treeCpuMs(process.pid);
  const before = { others: others(), at: now() };
  return () => {
    const share = (others() - before.others) / ((now() - before.at) * cpus().length);
    return `others used ${Math.max(0, Math.round(share * 100))} % of the machine`;
  };
}
