import { asCommand, numberIn, UsageError, valuesOf } from "../command-line.ts";
import { PLANTED_BUGS } from "./all.ts";
import { catchBug } from "./catch.ts";

/** `npm run simulate:plants -- [--seeds N] [--start S] [--only TEXT]`: how many seeds it takes to see each planted bug. */
const USAGE = "npm run simulate:plants -- [--seeds N] [--start S] [--only TEXT]";

Error.stackTraceLimit = 3;
process.exitCode = await asCommand(USAGE, main);

async function main(): Promise<number> {
  const values = valuesOf(process.argv.slice(2), {
    seeds: { type: "string", default: "1000" },
    start: { type: "string", default: "1" },
    only: { type: "string", default: "" },
  });
  const range = { start: numberIn(values, "start", 0), seeds: numberIn(values, "seeds", 1) };
  const plants = PLANTED_BUGS.filter(({ name }) => name.includes(values.only));
  if (plants.length === 0) throw new UsageError(`no planted bug has "${values.only}" in its name`);
  let unseen = 0;
  for (const plant of plants) {
    const caught = await catchBug(plant, range);
    if (!caught) unseen += 1;
    const seen = caught ? `${String(caught.seeds).padStart(4)}  ${caught.violation.invariant}` : "   -  not seen";
    process.stdout.write(`${plant.name.padEnd(64)} ${seen}\n`);
  }
  return unseen === 0 ? 0 : 1;
}
