import { appendFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Outcome, runOne } from "./batch.ts";
import { asCommand, numberIn, valuesOf } from "./command-line.ts";
import { CORPUS, corpusSeeds } from "./corpus.ts";
import { FAULT_KINDS } from "./nemesis.ts";
import { storyOf } from "./story.ts";
import { runSeed } from "./world.ts";

/**
 * `npm run simulate -- --seeds N --start S [--trace] [--jobs J] [--record]`: runs N seeds from S on, prints the story of
 * those that fail and how often each fault acted. `--trace` prints every event of every seed as a line of JSON.
 */
const USAGE = "npm run simulate -- [--seeds N] [--start S] [--jobs J] [--stories N] [--trace] [--record]";
/** Over so many seeds each kind of fault must have acted. */
const ENOUGH_SEEDS = 500;
/** A stack trace costs more than most of what throws in here. */
const STACK_FRAMES = 3;

Error.stackTraceLimit = STACK_FRAMES;
if (isMainThread) process.exitCode = await asCommand(USAGE, main);
else await serve(workerData as { start: number; seeds: number; step: number });

async function main(): Promise<number> {
  const values = valuesOf(process.argv.slice(2), {
    seeds: { type: "string", default: "500" },
    start: { type: "string", default: "1" },
    jobs: { type: "string", default: String(availableParallelism()) },
    stories: { type: "string", default: "3" },
    trace: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  });
  const range = { start: numberIn(values, "start", 0), seeds: numberIn(values, "seeds", 1) };
  const [jobs, stories] = [numberIn(values, "jobs", 1), numberIn(values, "stories", 0)];
  if (values.trace) await printTraces(range);
  const outcomes = await runAll({ ...range, jobs });
  const failed = outcomes.filter((outcome) => outcome.violations.length > 0);
  // The story is of what was found: a seed that does not decide everything may hold when it is run once more.
  for (const { seed, violations } of failed.slice(0, stories)) {
    say(`${storyOf({ ...(await runSeed(seed)), violations })}\n`);
  }
  if (values.record) record(failed);
  return report(outcomes, failed);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function printTraces({ start, seeds }: { start: number; seeds: number }): Promise<void> {
  for (let seed = start; seed < start + seeds; seed++) {
    const result = await runSeed(seed);
    for (const event of result.trace) process.stdout.write(`${JSON.stringify(event)}\n`);
    say(`seed ${seed}: ${result.trace.length} events, hash ${result.hash()}`);
  }
}

/** Each thread takes every `jobs`-th seed, so that slow seeds spread. */
async function runAll({ start, seeds, jobs }: { start: number; seeds: number; jobs: number }): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const thread = (offset: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const data = { start: start + offset, seeds: start + seeds, step: jobs };
      const worker = new Worker(new URL(import.meta.url), { workerData: data });
      worker.on("message", (outcome: Outcome) => {
        outcomes.push(outcome);
        // At once: a long run that is stopped in the middle has told what it found.
        if (outcome.violations.length > 0) say(failureOf(outcome));
      });
      worker.on("error", reject);
      worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a thread ended with code ${code}`))));
    });
  await Promise.all(Array.from({ length: Math.min(jobs, seeds) }, (_, offset) => thread(offset)));
  return outcomes.sort((a, b) => a.seed - b.seed);
}

async function serve({ start, seeds, step }: { start: number; seeds: number; step: number }): Promise<void> {
  for (let seed = start; seed < seeds; seed += step) parentPort?.postMessage(await runOne(seed));
}

function report(outcomes: readonly Outcome[], failed: readonly Outcome[]): number {
  const counts = new Map<string, number>();
  for (const { faults } of outcomes) {
    for (const [fault, count] of faults) counts.set(fault, (counts.get(fault) ?? 0) + count);
  }
  const width = Math.max(...FAULT_KINDS.map((kind) => kind.length));
  for (const kind of FAULT_KINDS) say(`  ${kind.padEnd(width)}  ${counts.get(kind) ?? 0}`);
  const unknown = [...counts.keys()].filter((fault) => !FAULT_KINDS.some((kind) => kind === fault));
  for (const fault of unknown) say(`the fault "${fault}" is not one of FAULT_KINDS: nobody would miss it`);
  const idle = outcomes.length < ENOUGH_SEEDS ? [] : FAULT_KINDS.filter((kind) => !counts.has(kind));
  for (const kind of idle) say(`the fault "${kind}" never acted`);
  const events = outcomes.reduce((sum, outcome) => sum + outcome.events, 0);
  say(`${outcomes.length} seeds, ${events} events, ${failed.length} failed`);
  return failed.length + idle.length + unknown.length === 0 ? 0 : 1;
}

/** The first violation is often the cause of the others. */
function failureOf({ seed, violations: [first, ...more] }: Outcome): string {
  return `seed ${seed} fails: ${first?.invariant}: ${first?.words}${more.length > 0 ? ` (and ${more.length} more)` : ""}`;
}

function record(failed: readonly Outcome[]): void {
  const known = new Set(corpusSeeds().map(({ seed }) => seed));
  for (const { seed, violations } of failed) {
    if (!known.has(seed)) appendFileSync(CORPUS, `${seed} ${violations[0]?.invariant ?? ""}\n`);
  }
}
