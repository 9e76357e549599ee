import { HodeiError } from "../workflow/errors.ts";
import { checkedAddress } from "./config.ts";
import type { EmbeddedOptions } from "./embedded.ts";

/** What stands in an option that does not hold: `undefined` when it does, else what it should be. */
type Check = (value: unknown) => string | undefined;

const MOST_PORT = 65_535;
const MOST_ENGINES = 64;
const MOST_WORKERS = 1000;
const MOST_SHARDS = 65_536;

/** One check for each option, by type: an option without a check does not compile. */
const CHECKS: { [Name in keyof Required<EmbeddedOptions>]: Check } = {
  data: text,
  host: text,
  port: whole(0, MOST_PORT),
  usualPort: whole(1, MOST_PORT),
  httpPort: whole(0, MOST_PORT),
  engines: whole(1, MOST_ENGINES),
  workers: whole(0, MOST_WORKERS),
  ephemeral: whole(0, MOST_WORKERS),
  labels: (value) =>
    Array.isArray(value) && value.every((one) => text(one) === undefined) ? undefined : "a list of texts",
  handlersFile: text,
  namespace: text,
  shards: whole(1, MOST_SHARDS),
  retentionMs: whole(0, Number.MAX_SAFE_INTEGER),
  loadBalancer: (value) =>
    value === "consistent-hash" || value === "round-robin" ? undefined : '"consistent-hash" or "round-robin"',
  logger: (value) =>
    typeof value === "object" && value !== null && "info" in value && "child" in value
      ? undefined
      : "a logger with debug, info, warn, error and child, such as pino's",
};

/**
 * Throws INVALID_ARGUMENT that names the option. The types say it already, but a program in plain JavaScript does not
 * read them, and a misspelt option that is passed over (`dir` for `data`) would lose its data.
 */
export function checkOptions(options: EmbeddedOptions): void {
  if (typeof options !== "object" || options === null)
    throw new HodeiError("INVALID_ARGUMENT", `createOrchestrator takes an object of options, not ${shown(options)}`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(CHECKS, name)) {
      throw new HodeiError("INVALID_ARGUMENT", `createOrchestrator has no option ${name}`, {
        field: name,
        hint: `There are: ${Object.keys(CHECKS).join(", ")}.`,
      });
    }
    const expected = value === undefined ? undefined : CHECKS[name as keyof EmbeddedOptions](value);
    if (expected !== undefined)
      throw new HodeiError("INVALID_ARGUMENT", `option ${name} is ${shown(value)}, not ${expected}`, { field: name });
  }
}

/** Addresses of engines as a worker may be given them: texts, or what `hodei.engines` lists. */
export type EngineAddress = string | { readonly address: string };

/** Throws INVALID_ARGUMENT for none, or one that is not host:port. */
export function engineAddresses(engines: string | readonly EngineAddress[]): string[] {
  const given = typeof engines === "string" ? [engines] : engines;
  if (!Array.isArray(given) || given.length === 0) {
    throw new HodeiError("INVALID_ARGUMENT", "a worker needs the address of at least one engine", {
      field: "engines",
      hint: "Pass hodei.engines, or what `hodei get engines` lists.",
    });
  }
  return (given as readonly EngineAddress[]).map((one) =>
    checkedAddress("engines", typeof one === "string" ? one : one.address),
  );
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? undefined : "a text";
}

function whole(least: number, most: number): Check {
  return (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `a whole number from ${least} to ${most}`;
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? typeof value;
}
