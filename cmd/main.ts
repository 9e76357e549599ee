import { Command, CommanderError } from "commander";
import { describeError, exitCodeOf, EXIT, UsageError } from "./exit.ts";
import { addCompletionCommand } from "./commands/completion.ts";
import { addProcessCommands } from "./commands/process.ts";
import { addGetCommand } from "./commands/get.ts";
import { addReadCommands } from "./commands/read.ts";
import { addRegistryCommands } from "./commands/registry.ts";
import { addRunCommands } from "./commands/run.ts";
import { addSteerCommands } from "./commands/steer.ts";
import { formatOf, printOne } from "./output.ts";
import type { GlobalFlags } from "./session.ts";
import { VERSION } from "./version.ts";

const program = new Command("hodei")
  .description("Durable, versioned workflows on a fleet of engines.")
  .version(VERSION, "--version")
  .option("--address <host:port>", "orchestrators to call, separated by commas (HODEI_ADDRESS)")
  .option("--token-file <file>", "file that holds the credential (HODEI_TOKEN_FILE)")
  .option("--config <file>", "settings file (default ~/.config/hodei/config.yaml)")
  .option("-o, --output <format>", "table, wide, json, jsonl, yaml or name")
  .configureHelp({
    // Who reads `hodei get --help` looks for -o there.
    showGlobalOptions: true,
    subcommandTerm: (command) => `${command.name()} ${command.usage().replace("[options]", "").trim()}`,
  })
  .exitOverride();

program
  .command("version")
  .description("print the version")
  .action((_: object, command: Command) =>
    printOne(
      formatOf(command.optsWithGlobals<GlobalFlags>().output),
      { version: VERSION },
      (row) => row.version,
      (row) => row.version,
    ),
  );
addRunCommands(program);
addRegistryCommands(program);
addGetCommand(program);
addReadCommands(program);
addSteerCommands(program);
addProcessCommands(program);
addCompletionCommand(program);
// Sub-commands are made before exitOverride reaches them through the parent: set it on each. What commander says of a
// mistake is said by us, like every other error: people get the same words, programs get JSON.
for (const command of [program, ...program.commands]) {
  command.exitOverride().configureOutput({ outputError: () => undefined });
}

process.once("SIGINT", interrupted);
// A reader that went away (`hodei history ID | head`) is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.ok);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and --version come this way too, with exit code 0; without a command help is all there is to say.
    const said = error.exitCode === 0 || error.code === "commander.help";
    if (!said) process.stderr.write(`${describeError(mistake(error), wantsJson(process.argv))}\n`);
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else {
    process.stderr.write(`${describeError(error, wantsJson(process.argv))}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

function mistake(error: CommanderError): UsageError {
  return new UsageError(error.message.replace(/^error: /, "").replaceAll("\n", " "));
}

function wantsJson(argv: readonly string[]): boolean {
  return argv.some(
    (word, at) =>
      /^(-o=?|--output=)jsonl?$/.test(word) || (/^(-o|--output)$/.test(word) && /^jsonl?$/.test(argv[at + 1] ?? "")),
  );
}

/** Commands that own signals (dev, worker, events) take the handler over; for the rest a ^C ends at once. */
function interrupted(): void {
  if (process.listenerCount("SIGINT") === 0) process.exit(EXIT.interrupted);
}
