import { parseArgs } from "node:util";
import { EMBEDDED } from "./embedded.ts";
import { now, rounded } from "./measure.ts";

/**
 * `npm run bench -- embedded [--only NAME] [--scale 0.1]`: one JSON line per number on stdout. Loopback only; every
 * bench is bounded in count and time. Numbers compare within one run on one quiet machine, not between machines.
 */
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", multiple: true }, scale: { type: "string", default: "1" } },
});
const scale = Number(values.scale);
const names = values.only ?? Object.keys(EMBEDDED);
const unknown = names.filter((name) => !Object.hasOwn(EMBEDDED, name));

if (positionals[0] !== "embedded" || positionals.length > 1 || !(scale > 0 && scale <= 1) || unknown.length > 0) {
  process.stderr.write(
    `usage: npm run bench -- embedded [--only ${Object.keys(EMBEDDED).join("|")}] [--scale 0…1]\n` +
      (unknown.length > 0 ? `there is no bench ${unknown.join(", ")}\n` : ""),
  );
  process.exitCode = 2;
} else {
  const startedAt = now();
  for (const name of names)
    for (const result of (await EMBEDDED[name]?.(scale)) ?? []) process.stdout.write(`${JSON.stringify(result)}\n`);
  process.stderr.write(`took ${rounded((now() - startedAt) / 1000, 1)} s\n`);
}
