import { HodeiError } from "../workflow/errors.ts";
import { LIMITS } from "../workflow/limits.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/;

/**
 * Reads what a step wrote to `$HODEI_OUTPUT`, in the two forms of GitHub Actions: `name=value` on one line, and
 * `name<<WORD`, lines, `WORD`. All values are strings; a later value replaces an earlier one; blank lines are skipped.
 * Throws INVALID_ARGUMENT with the line number, TOO_LARGE beyond LIMITS.outputBytes.
 */
export function parseOutputs(text: string): Record<string, string> {
  if (Buffer.byteLength(text) > LIMITS.outputBytes) throw tooLarge();
  // Without a prototype: a step may name an output "constructor".
  const outputs: Record<string, string> = Object.create(null) as Record<string, string>;
  const lines = text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    if (line.trim() === "") continue;
    const equals = line.indexOf("=");
    const heredoc = line.indexOf("<<");
    if (heredoc !== -1 && (equals === -1 || heredoc < equals)) {
      const name = nameAt(line.slice(0, heredoc), index);
      const end = endOf(lines, index, line.slice(heredoc + 2), name);
      outputs[name] = lines.slice(index + 1, end).join("\n");
      index = end;
    } else if (equals !== -1) {
      outputs[nameAt(line.slice(0, equals), index)] = line.slice(equals + 1);
    } else {
      throw malformed(index, `expected name=value or name<<WORD, found ${quote(line)}`);
    }
  }
  return { ...outputs };
}

export function tooLarge(): HodeiError {
  return new HodeiError("TOO_LARGE", `the outputs of a step may hold ${LIMITS.outputBytes} bytes in all`, {
    field: "HODEI_OUTPUT",
    hint: "write large data to a file of the workspace or to an artifact store and output its name",
  });
}

function nameAt(text: string, index: number): string {
  const name = text.trim();
  if (!NAME.test(name)) throw malformed(index, `${quote(name)} is no output name (letters, digits, "_" and "-")`);
  return name;
}

function endOf(lines: string[], index: number, rest: string, name: string): number {
  const word = rest.trim();
  if (word === "") throw malformed(index, `"${name}<<" needs a word that ends the value`);
  const end = lines.indexOf(word, index + 1);
  if (end === -1) throw malformed(index, `the value of "${name}" never ends: no line ${quote(word)} follows`);
  return end;
}

function malformed(index: number, message: string): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", `line ${index + 1} of $HODEI_OUTPUT: ${message}`, {
    field: "HODEI_OUTPUT",
    violations: [{ path: "HODEI_OUTPUT", line: index + 1, message }],
  });
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
