import { parseArgs } from "node:util";
import { endOnSignals } from "./cluster.ts";
import { EMBEDDED } from "./embedded.ts";
import { type Bench, now, type Sample } from "./measure.ts";
import { type Line, linesOf, machine, othersFromNow, tableOf } from "./report.ts";
import { STORE } from "./store.ts";

/**
 * `npm run bench -- embedded|store [--only NAME]… [--scale 0.1] [--rounds 3] [-o json]`: the table of docs/performance.md on
 * stdout, or one JSON line per figure. Loopback only; every round is bounded in count and time. Never fails for being
 * slow: exit 1 means that a bench could not be run.
 */
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", multiple: true },
    scale: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
    output: { type: "string", short: "o", default: "table" },
  },
});
const scale = Number(values.scale);
const rounds = Number(values.rounds);
/** `embedded`: whole clusters, as users have them; `store`: the store alone, beside the bare journal. */
const GROUPS: Readonly<Record<string, Readonly<Record<string, Bench>>>> = { embedded: EMBEDDED, store: STORE };
const benches = GROUPS[positionals[0] ?? ""] ?? {};
const names = values.only ?? Object.keys(benches);
const unknown = names.filter((name) => !Object.hasOwn(benches, name));
const complaint = [
  positionals.length !== 1 || names.length === 0 ? `what to measure: ${Object.keys(GROUPS).join(" or ")}` : "",
  unknown.length > 0 ? `there is no bench ${unknown.join(", ")}` : "",
  scale > 0 && scale <= 1 ? "" : "--scale is more than 0 and at most 1",
  Number.isInteger(rounds) && rounds >= 1 && rounds <= 50 ? "" : "--rounds is a whole number from 1 to 50",
  values.output === "table" || values.output === "json" ? "" : "-o is table or json",
].find((words) => words !== "");

if (complaint === undefined) process.exitCode = await run();
else {
  const usage = `npm run bench -- embedded|store [--only NAME]… [--scale 0…1] [--rounds N] [-o table|json]`;
  process.stderr.write(`${complaint}\nusage: ${usage}\nbenches: ${Object.keys(benches).join(", ")}\n`);
  process.exitCode = 2;
}

async function run(): Promise<number> {
  endOnSignals();
  const startedAt = now();
  const others = othersFromNow();
  const lines: Line[] = [];
  let failed = 0;
  for (const name of names) {
    try {
      const measured = await measure(name);
      lines.push(...measured);
      if (values.output === "json") for (const line of measured) process.stdout.write(`${JSON.stringify(line)}\n`);
    } catch (error) {
      // The others are still worth measuring.
      failed += 1;
      process.stderr.write(`${name} could not be measured: ${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
  const conditions = `${machine()}, scale ${scale}, ${rounds} rounds, ${others()}`;
  if (values.output === "table") process.stdout.write(`${conditions}\n\n${tableOf(lines)}\n`);
  else process.stderr.write(`${conditions}\n`);
  process.stderr.write(`took ${Math.round((now() - startedAt) / 1000)} s\n`);
  return failed > 0 ? 1 : 0;
}

async function measure(name: string): Promise<Line[]> {
  const bench = benches[name];
  if (bench === undefined) return [];
  const samples: Sample[] = [];
  for await (const sample of bench.rounds({ scale, rounds })) {
    samples.push(sample);
    process.stderr.write(`${name}: round ${samples.length}\n`);
  }
  return linesOf(name, bench.figures, samples);
}
