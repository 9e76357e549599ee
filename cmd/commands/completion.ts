import type { Command } from "commander";
import { UsageError } from "../exit.ts";
import { print } from "../output.ts";

const NOUNS = ["executions", "workflows", "jobs", "engines", "shards", "workers", "templates"];

/** completion: a script for the shell to source; made from the commands themselves, so it cannot fall behind. */
export function addCompletionCommand(program: Command): void {
  program
    .command("completion")
    .description("print a completion script: source <(hodei completion bash)")
    .argument("<shell>", "bash, zsh or fish")
    .action((shell: string) => print(scriptFor(shell, program)));
}

function scriptFor(shell: string, program: Command): string {
  const commands = program.commands.map((command) => command.name());
  const flags = (command: Command): string[] =>
    command.options.flatMap((option) => (option.long === undefined ? [] : [option.long]));
  const cases = program.commands.map((command) => ({
    name: command.name(),
    words: [...flags(command), ...flags(program), ...(["get", "describe"].includes(command.name()) ? NOUNS : [])],
  }));
  switch (shell) {
    case "bash":
      return bash(commands, cases);
    case "zsh":
      return `autoload -U +X bashcompinit && bashcompinit\n${bash(commands, cases)}`;
    case "fish":
      return [
        `complete -c hodei -n __fish_use_subcommand -f -a '${commands.join(" ")}'`,
        ...cases.map(
          ({ name, words }) => `complete -c hodei -n '__fish_seen_subcommand_from ${name}' -a '${words.join(" ")}'`,
        ),
      ].join("\n");
    default:
      throw new UsageError(`no completion for ${shell}: bash, zsh or fish`, "shell");
  }
}

function bash(commands: string[], cases: { name: string; words: string[] }[]): string {
  return [
    "_hodei() {",
    '  local current="${COMP_WORDS[COMP_CWORD]}" words=""',
    '  case "${COMP_CWORD}:${COMP_WORDS[1]}" in',
    `    1:*) words="${commands.join(" ")}" ;;`,
    ...cases.map(({ name, words }) => `    *:${name}) words="${words.join(" ")}" ;;`),
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '  [ ${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- "$current"))',
    "}",
    "complete -F _hodei hodei",
  ].join("\n");
}
