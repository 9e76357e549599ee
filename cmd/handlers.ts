import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Logger } from "../base/log.ts";
import type { HandlerContext, TypedHandler } from "../sdk/handler.ts";
import type { TaskFunction } from "../worker/options.ts";
import { HodeiError, toHodeiError } from "../workflow/errors.ts";
import { inputViolations, schemaViolations } from "../workflow/input.ts";
import type { JsonObject } from "../workflow/json.ts";

/** The typed handlers among `values` (a module's exports), as a worker wants them: the input is checked before they run. */
export function taskFunctions(values: readonly unknown[]): Map<string, TaskFunction> {
  const found = new Map<string, TaskFunction>();
  for (const value of values) if (isHandler(value)) found.set(value.name, checked(value));
  return found;
}

export type AnyHandler = TypedHandler<never, unknown>;

function isHandler(value: unknown): value is AnyHandler {
  return (
    typeof value === "object" &&
    value !== null &&
    "run" in value &&
    typeof value.run === "function" &&
    "name" in value &&
    "input" in value
  );
}

/** A handler that a program hands over. Throws INVALID_ARGUMENT that says what it lacks, and where its schema is wrong. */
export function checkedHandler(value: unknown): AnyHandler {
  if (!isHandler(value) || typeof value.name !== "string" || value.name === "") {
    throw new HodeiError("INVALID_ARGUMENT", "this is no handler: it has no name, input schema and function", {
      field: "handler",
      hint: "Use defineHandler, or worker.handle(name, schema, function).",
    });
  }
  const schema = value.input as JsonObject | undefined;
  const violations = typeof schema === "object" && schema !== null ? schemaViolations(schema) : undefined;
  if (violations === undefined || violations.length > 0) {
    const what = violations?.map(({ path, message }) => `${path} ${message}`).join("; ") ?? "there is none";
    throw new HodeiError("INVALID_ARGUMENT", `handler ${value.name}: its input schema does not hold: ${what}`, {
      field: "input",
      violations,
    });
  }
  return value;
}

function checked(handler: AnyHandler): TaskFunction {
  return (input, context) => {
    const violations = inputViolations(handler.input as JsonObject, input);
    if (violations.length > 0) {
      const error = new HodeiError(
        "INVALID_INPUT",
        `handler ${handler.name}: ${violations.map(({ path, message }) => `${path} ${message}`).join("; ")}`,
        { violations },
      );
      // Trying again with the same input cannot help.
      throw Object.assign(error, { permanent: true });
    }
    const typed: HandlerContext = context;
    return handler.run(input as never, typed);
  };
}

/** The handlers that a module exports; none without a file. */
export async function loadHandlers(
  file: string | undefined,
  logger: Logger,
): Promise<ReadonlyMap<string, TaskFunction>> {
  if (file === undefined) return new Map();
  try {
    const exported = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>;
    const found = taskFunctions(Object.values(exported));
    logger.info({ file, handlers: [...found.keys()] }, "handlers loaded");
    return found;
  } catch (error) {
    const message = `handlers cannot be loaded from ${file}: ${toHodeiError(error).message}`;
    throw new HodeiError("INVALID_ARGUMENT", message, { field: "handlers", cause: error });
  }
}
