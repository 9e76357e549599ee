import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addProcessCommands } from "../../cmd/commands/process.ts";
import { type Config, loadConfig } from "../../cmd/config.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import { read, table } from "./pages.ts";

const page = read("docs/configuration.md");
const NONE = "none";

/** Every name that is asked for when the configuration is read. */
function variablesRead(): string[] {
  const names = new Set<string>();
  loadConfig(new Proxy({}, { get: (_, name) => void names.add(String(name)) }));
  return [...names];
}

/** What the variables say, without the note whether one of them was given. */
function configOf(env: Record<string, string>): Omit<Config, "addressesSet"> {
  const { addressesSet: _, ...rest } = loadConfig(env);
  return rest;
}

/** Some of these fit every variable that has no default. */
const PROBES = ["7", "a:1", "/some/file"];

describe("the table of variables", () => {
  const rows = table(page, "Environment").map(([name = "", otherwise = ""]) => ({ name, otherwise }));

  it("names those that are read, each once", () => {
    expect(rows.map(({ name }) => name).toSorted()).toEqual(variablesRead().toSorted());
  });

  it.each(rows.filter(({ otherwise }) => otherwise !== NONE))(
    "$name is $otherwise when unset",
    ({ name, otherwise }) => {
      expect(configOf({ [name]: otherwise })).toEqual(configOf({}));
    },
  );

  it.each(rows.filter(({ otherwise }) => otherwise === NONE))("$name has no default", ({ name }) => {
    const before = JSON.stringify(configOf({}));
    const taken = PROBES.filter((probe) => accepted(name, probe, before));
    expect(taken).not.toEqual([]);
    // Where the value lands there is nothing, or an empty list, without it.
    for (const probe of taken) expect(leaf(configOf(withOthers(name, probe)), probe)).toEqual(leafless(name, probe));
  });

  it("says the unit that counts: a wrong default would be seen", () => {
    expect(configOf({ HODEI_RETENTION: "8d" })).not.toEqual(configOf({}));
  });
});

/** The files of TLS are refused one without the others. */
function withOthers(name: string, probe: string): Record<string, string> {
  const tls = { HODEI_TLS_CA: probe, HODEI_TLS_CERT: probe, HODEI_TLS_KEY: probe };
  return name in tls ? tls : { [name]: probe };
}

function accepted(name: string, probe: string, before: string): boolean {
  try {
    return JSON.stringify(configOf(withOthers(name, probe))) !== before;
  } catch (error) {
    if (!isHodeiError(error, "INVALID_ARGUMENT")) throw error;
    return false;
  }
}

/** Paths at which the probe stands in the configuration, alone or as the one element of a list. */
function leaf(config: object, probe: string, path = ""): string[] {
  return Object.entries(config).flatMap(([key, value]: [string, unknown]) => {
    const here = `${path}.${key}`;
    if (String(value) === probe) return [here];
    return typeof value === "object" && value !== null ? leaf(value, probe, here) : [];
  });
}

/** The same paths, kept only when the default configuration holds nothing there. */
function leafless(name: string, probe: string): string[] {
  const unset: object = configOf({});
  return leaf(configOf(withOthers(name, probe)), probe).filter((path) => {
    const value = path
      .split(".")
      .slice(1)
      .reduce<unknown>((at, key) => (typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined), unset);
    return value === undefined || (Array.isArray(value) && value.length === 0);
  });
}

describe("the flags", () => {
  it("of hodei dev are those of the command, with their defaults", () => {
    const program = new Command();
    addProcessCommands(program);
    const dev = program.commands.find((command) => command.name() === "dev");
    const flags = dev?.options.map(({ flags: name, defaultValue }) => [name, defaultValue ?? NONE]);
    expect(table(page, "hodei dev").map((row) => row.slice(0, 2))).toEqual(flags);
  });

  it("of hodei worker are none", () => {
    const program = new Command();
    addProcessCommands(program);
    expect(program.commands.find((command) => command.name() === "worker")?.options).toEqual([]);
  });

  it("of every command are those of the program", () => {
    // The program runs when its module is loaded, so its text is looked at.
    const flags = [...read("cmd/main.ts").matchAll(/^ {2}\.option\("([^"]+)"/gm)].map((match) => match[1]);
    expect(table(page, "Flags of every command").map(([flag]) => flag)).toEqual(flags);
  });
});
