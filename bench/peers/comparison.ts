import { median, percentile } from "../measure.ts";
import { markdown, rounded } from "../report.ts";
import type { Report, Work } from "./driver.ts";
import type { PeerCpu } from "./peer.ts";

export type Measured = Report & { cpu: PeerCpu; writes: number };
/** By work, then by system, one per round. */
export type Rounds = Record<Work, Record<string, Measured[]>>;

const WORKS: readonly Work[] = ["three-step", "one-step"];

/** What `-o json` prints, one per line. */
export type Line = {
  work: Work;
  system: string;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** In ms, of one workflow. */
  cpu: PeerCpu & { all: number };
  /** Durable writes of one workflow, as the system itself counts them. */
  writes: number;
  /** Median over the rounds of Hodei : this one, in the same round. Above 1: Hodei is faster, or needs more CPU. */
  hodeiTo: { perSecond: number; p50: number; cpu: number };
};

export function linesOf(measured: Rounds, base: string): Line[] {
  return WORKS.flatMap((work) =>
    Object.entries(measured[work]).map(([system, samples]): Line => {
      const of = (value: (sample: Measured) => number): number => rounded(median(samples.map(value)));
      const to = (value: (sample: Measured) => number): number =>
        rounded(
          median(samples.map((sample, round) => value(measured[work][base]?.[round] as Measured) / value(sample))),
        );
      const p50 = ({ durationsMs }: Measured): number => percentile(durationsMs, 0.5);
      return {
        work,
        system,
        perSecond: of(({ perSecond }) => perSecond),
        p50Ms: of(p50),
        p99Ms: of(({ durationsMs }) => percentile(durationsMs, 0.99)),
        writes: of(({ writes }) => writes),
        cpu: {
          driver: of(({ cpu }) => cpu.driver),
          server: of(({ cpu }) => cpu.server),
          workers: of(({ cpu }) => cpu.workers),
          all: of(({ cpu }) => allOf(cpu)),
        },
        hodeiTo: { perSecond: to(({ perSecond }) => perSecond), p50: to(p50), cpu: to(({ cpu }) => allOf(cpu)) },
      };
    }),
  );
}

const allOf = ({ driver, server, workers }: PeerCpu): number => driver + server + workers;

const HEADS = {
  "three-step": "3-step no-op workflow, 64 in flight, start → result",
  "one-step": "one-step no-op workflow, one at a time, start → result",
} as const;
const COLUMNS = ["system", "/s", "p50 ms", "p99 ms", "CPU ms each", "driver", "server", "workers", "writes each"];
const RATIOS = ["Hodei : it, /s", "p50", "CPU"];

export function tablesOf(lines: readonly Line[], base: string): string {
  const tables = WORKS.map((work) => {
    const rows = lines
      .filter((line) => line.work === work)
      .map(({ system, perSecond, p50Ms, p99Ms, cpu, writes, hodeiTo }) => [
        system,
        ...[perSecond, p50Ms, p99Ms, cpu.all, cpu.driver, cpu.server, cpu.workers].map(String),
        String(writes),
        ...(system === base ? ["", "", ""] : [hodeiTo.perSecond, hodeiTo.p50, hodeiTo.cpu].map(String)),
      ]);
    return `${HEADS[work]}\n\n${markdown([...COLUMNS, ...RATIOS], rows)}\n`;
  });
  return tables.join("\n");
}
