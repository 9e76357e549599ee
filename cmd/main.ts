import { Command, CommanderError } from "commander";
import { describeError, exitCodeOf, EXIT } from "./exit.ts";
import { addCompletionCommand } from "./commands/completion.ts";
import { addProcessCommands } from "./commands/process.ts";
import { addReadCommands } from "./commands/read.ts";
import { addRegistryCommands } from "./commands/registry.ts";
import { addRunCommands } from "./commands/run.ts";
import { addSteerCommands } from "./commands/steer.ts";
import { VERSION } from "./version.ts";

const program = new Command("hodei")
  .description("Durable, versioned workflows on a fleet of engines.")
  .version(VERSION, "--version")
  .option("--address <host:port>", "orchestrators to call, separated by commas (HODEI_ADDRESS)")
  .option("--token-file <file>", "file that holds the credential (HODEI_TOKEN_FILE)")
  .option("--config <file>", "settings file (default ~/.config/hodei/config.yaml)")
  .option("-o, --output <format>", "table, wide, json, jsonl, yaml or name")
  .showHelpAfterError("See hodei --help.")
  .exitOverride();

program
  .command("version")
  .description("print the version")
  .action(() => void process.stdout.write(`${VERSION}\n`));
addRunCommands(program);
addRegistryCommands(program);
addReadCommands(program);
addSteerCommands(program);
addProcessCommands(program);
addCompletionCommand(program);
// Sub-commands are made before exitOverride reaches them through the parent: set it on each.
for (const command of program.commands) command.exitOverride();

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
    // Commander has said it already; help and --version come this way too, with exit code 0.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else {
    process.stderr.write(`${describeError(error, wantsJson(process.argv))}\n`);
    process.exitCode = exitCodeOf(error);
  }
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
