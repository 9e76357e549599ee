import type { Command } from "commander";
import { UsageError } from "../exit.ts";
import { FORMATS, print } from "../output.ts";

const NOUNS = ["executions", "workflows", "jobs", "engines", "shards", "workers", "templates"];
const SHELLS = ["bash", "zsh", "fish"];
/** Words that are neither commands nor flags. */
const ARGUMENTS: Record<string, string[]> = { get: NOUNS, describe: NOUNS, completion: SHELLS, engine: ["drain"] };

/** completion: a script for the shell to source; made from the commands themselves, so it cannot fall behind. */
export function addCompletionCommand(program: Command): void {
  program
    .command("completion")
    .description("print a completion script: source <(hodei completion bash)")
    .argument("<shell>", "bash, zsh or fish")
    .action((shell: string) => print(scriptFor(shell, program)));
}

type Case = { name: string; words: string[] };

function scriptFor(shell: string, program: Command): string {
  const commands = [...program.commands.map((command) => command.name()), "help"];
  // --version is a question to the program, not to its commands.
  const shared = flagsOf(program).filter((flag) => flag !== "--version");
  const cases = program.commands.map((command) => {
    const name = command.name();
    return { name, words: [...(ARGUMENTS[name] ?? []), ...flagsOf(command), ...shared, "--help"] };
  });
  switch (shell) {
    case "bash":
      return bash([...commands, ...shared], cases);
    case "zsh":
      return `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bash([...commands, ...shared], cases)}`;
    case "fish":
      return fish(commands, cases);
    default:
      throw new UsageError(`no completion for ${shell}: ${SHELLS.join(", ")}`, "shell");
  }
}

function flagsOf(command: Command): string[] {
  return command.options.flatMap((option) => (option.long === undefined ? [] : [option.long]));
}

function bash(first: string[], cases: Case[]): string {
  return [
    "_hodei() {",
    '  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""',
    '  case "${COMP_CWORD}:${COMP_WORDS[1]}" in',
    `    1:*) words="${first.join(" ")}" ;;`,
    ...cases.map(({ name, words }) => `    *:${name}) words="${words.join(" ")}" ;;`),
    "  esac",
    '  case "$before" in',
    `    -o|--output) words="${FORMATS.join(" ")}" ;;`,
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    // Files only where nothing of ours fits: definitions, --input @FILE, --data DIR.
    '  [ ${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- "$current"))',
    "  return 0",
    "}",
    "complete -F _hodei hodei",
  ].join("\n");
}

function fish(commands: string[], cases: Case[]): string {
  return [
    `complete -c hodei -n __fish_use_subcommand -f -a '${commands.join(" ")}'`,
    ...cases.map(
      ({ name, words }) => `complete -c hodei -n '__fish_seen_subcommand_from ${name}' -a '${words.join(" ")}'`,
    ),
    `complete -c hodei -s o -l output -x -a '${FORMATS.join(" ")}'`,
  ].join("\n");
}
