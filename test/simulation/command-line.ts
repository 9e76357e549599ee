import { type ParseArgsConfig, parseArgs } from "node:util";

/** The command was called wrongly. */
export class UsageError extends Error {}

type Options = NonNullable<ParseArgsConfig["options"]>;
type Values<Given extends Options> = ReturnType<typeof parseArgs<{ args: string[]; options: Given }>>["values"];

/** Errors: UsageError. */
export function valuesOf<Given extends Options>(args: readonly string[], options: Given): Values<Given> {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** The whole number after `--name`. Errors: UsageError. */
export function numberIn<Name extends string>(values: Record<Name, string>, name: Name, least: number): number {
  const number = Number(values[name]);
  if (values[name].trim() !== "" && Number.isSafeInteger(number) && number >= least) return number;
  throw new UsageError(`--${name} is a whole number from ${least} on, not "${values[name]}"`);
}

/** Gives the exit code: that of `command`, or 2 after a word on how to call it. */
export async function asCommand(usage: string, command: () => Promise<number>): Promise<number> {
  try {
    return await command();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n${usage}\n`);
    return 2;
  }
}
