import { parseArgs } from "node:util";
import { PLANTED_BUGS } from "./all.ts";
import { catchBug } from "./catch.ts";

/** `npm run simulate:plants -- [--seeds N] [--start S] [--only TEXT]`: how many seeds it takes to see each planted bug. */
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    start: { type: "string", default: "1" },
    only: { type: "string", default: "" },
  },
});
Error.stackTraceLimit = 3;
const range = { start: Number(values.start), seeds: Number(values.seeds) };
for (const plant of PLANTED_BUGS.filter(({ name }) => name.includes(values.only))) {
  const caught = await catchBug(plant, range);
  if (!caught) process.exitCode = 1;
  const seen = caught ? `${String(caught.seeds).padStart(4)}  ${caught.violation.invariant}` : "   -  not seen";
  process.stdout.write(`${plant.name.padEnd(64)} ${seen}\n`);
}
