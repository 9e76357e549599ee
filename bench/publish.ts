import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

/**
 * `npm run bench:publish [-- --rounds 5 --scale 1]`: measures everything and writes the tables into docs/performance.md,
 * between the marks that name them. About ten minutes; the machine should do nothing else.
 */
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, scale: { type: "string", default: "1" } },
});
const PAGE = join(import.meta.dirname, "../docs/performance.md");

measure("embedded", [
  join(import.meta.dirname, "main.ts"),
  "embedded",
  "--rounds",
  values.rounds,
  "--scale",
  values.scale,
]);
if (existsSync(join(import.meta.dirname, "peers/node_modules")))
  measure("peers", [join(import.meta.dirname, "peers/main.ts"), "--rounds", values.rounds]);
else process.stderr.write("peers are not installed: npm --prefix bench/peers ci\n");

/** Written at once: what comes after it may fail. */
function measure(name: string, program: string[]): void {
  const run = spawnSync(process.execPath, program, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  // A part that could not be measured has said so; the others stand.
  if (run.status !== 0) process.exitCode = 1;
  if (run.stdout.trim() === "") return;
  const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
  const page = readFileSync(PAGE, "utf8");
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${PAGE} has no marks ${begin} … ${end}`);
  writeFileSync(PAGE, `${page.slice(0, from + begin.length)}\n\n${run.stdout.trim()}\n\n${page.slice(to)}`);
}
