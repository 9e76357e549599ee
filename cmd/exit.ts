import { styleText } from "node:util";
import { type ErrorCode, HodeiError, toHodeiError } from "../workflow/errors.ts";
import { formatViolation } from "../workflow/violations.ts";

/** What a shell script may rely on. */
export const EXIT = {
  ok: 0,
  error: 1,
  usage: 2,
  executionFailed: 3,
  notFound: 4,
  unavailable: 5,
  interrupted: 130,
} as const;

export function exitCodeOf(error: unknown): number {
  if (isUsage(error)) return EXIT.usage;
  const codes: Partial<Record<ErrorCode, number>> = {
    NOT_FOUND: EXIT.notFound,
    NO_SUCH_VERSION: EXIT.notFound,
    UNAVAILABLE: EXIT.unavailable,
    DEADLINE_EXCEEDED: EXIT.unavailable,
    CANCELLED: EXIT.interrupted,
  };
  return codes[toHodeiError(error).code] ?? EXIT.error;
}

/** A mistake in how the command was called, as against what the server says of the request. */
export class UsageError extends HodeiError {
  constructor(message: string, field?: string) {
    super("INVALID_ARGUMENT", message, { field, hint: "See the command's --help." });
    this.name = "UsageError";
  }
}

function isUsage(error: unknown): boolean {
  return error instanceof UsageError || (error instanceof Error && error.name === "CommanderError");
}

/** What only the command can advise: its own flags. */
function advice({ code, facts }: HodeiError): string | undefined {
  if (facts["evidence"] === "refused")
    return "Start a cluster with: hodei dev. Or name one with --address or HODEI_ADDRESS.";
  if (code === "ADDRESS_IN_USE") return "Stop that process, or choose another port with --port (0 takes a free one).";
  return undefined;
}

/** For people, or under `-o json` one line of `{code, message, field?, hint?, violations?}`; both on stderr. */
export function describeError(error: unknown, json: boolean): string {
  const known = toHodeiError(error);
  const { code, message, field, violations } = known;
  const hint = known.hint ?? advice(known);
  if (json)
    return JSON.stringify({ code, message, field, hint, violations: violations.length > 0 ? violations : undefined });
  // A message about one violation has told it, place and all.
  const told = violations.length === 1 && message.includes(violations[0]?.message ?? "");
  const places = (told ? [] : violations).map((violation) => `  ${formatViolation(violation)}`);
  const lines = [`${styleText("red", "error", { stream: process.stderr })} ${code}: ${message}`, ...places];
  return [...lines, ...(hint === undefined ? [] : [`  ${hint}`])].join("\n");
}
