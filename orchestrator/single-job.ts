import type { SubmitRequest } from "../transport/api/job.ts";
import type { Definition } from "../workflow/definition.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import type { JsonObject } from "../workflow/json.ts";
import { LIMITS } from "../workflow/limits.ts";
import { definitionOf, digestOf } from "../workflow/load.ts";
import { type Closure, lockedBy } from "./catalog.ts";

/** The one step of a single job. */
export const JOB_STEP = "job";

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * A single job as a closed definition: never published, it travels with the start alone, so it costs the registry
 * nothing and a job is an execution like any other (history, logs, cancel, retry). The version says that it is none.
 * Values of the environment come by the input, so that equal commands give one definition. Throws INVALID_ARGUMENT.
 */
export function singleJob(request: SubmitRequest): { closure: Closure; input: JsonObject } {
  checkCommand(request.command);
  checkEnv(request.env);
  const names = Object.keys(request.env).sort();
  const { label, cpu, memory } = request;
  const document = {
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name: "job", version: "0.0.0" },
    spec: {
      input: {
        type: "object",
        required: ["command", "env"],
        properties: {
          command: { type: "array", items: { type: "string" } },
          env: { type: "object", additionalProperties: { type: "string" } },
        },
      },
      steps: {
        [JOB_STEP]: {
          run: `exec ${request.command.map(shellQuoted).join(" ")}`,
          env: Object.fromEntries(names.map((name) => [name, `\${{ input.env["${name}"] }}`])),
          agent: {
            ...(label ? { label } : {}),
            resources: { ...(cpu ? { cpu } : {}), ...(memory ? { memory } : {}) },
          },
        },
      },
    },
  };
  const definition = defined(document);
  return {
    closure: lockedBy(definition, digestOf(definition), () => undefined),
    input: { command: request.command, env: request.env },
  };
}

/** The loader's violations, told in the request's own words: `spec.steps.job.agent.resources.cpu` is the field `cpu`. */
function defined(document: unknown): Definition {
  try {
    return definitionOf(document);
  } catch (error) {
    if (!isHodeiError(error, "INVALID_DEFINITION")) throw error;
    const violations = error.violations.map(({ path, message }) => ({ path: fieldOf(path), message }));
    const [first] = violations;
    throw new HodeiError("INVALID_ARGUMENT", `${first?.path ?? "the job"}: ${first?.message ?? error.message}`, {
      field: first?.path ?? "command",
      violations,
      cause: error,
    });
  }
}

function fieldOf(path: string): string {
  const field = /\b(label|cpu|memory)\b/.exec(path)?.[1];
  return field ?? (/\.env\b/.test(path) ? "env" : "command");
}

function checkCommand(command: readonly string[]): void {
  if (command.length === 0 || command[0] === "") {
    throw new HodeiError("INVALID_ARGUMENT", "the job has no command", {
      field: "command",
      hint: "Give the program and its arguments, as in `hodei submit -- echo hello`.",
    });
  }
  if (command.some((word) => word.includes("\0"))) {
    throw new HodeiError("INVALID_ARGUMENT", "a word of the command holds a NUL character", { field: "command" });
  }
  if (command[0]?.startsWith("-")) {
    const message = `the program ${JSON.stringify(command[0])} begins with a dash, which the shell takes for an option`;
    throw new HodeiError("INVALID_ARGUMENT", message, { field: "command" });
  }
  const bytes = command.reduce((sum, word) => sum + Buffer.byteLength(shellQuoted(word)) + 1, 0);
  if (bytes <= LIMITS.scriptBytes) return;
  throw new HodeiError("TOO_LARGE", `the command has ${bytes} bytes, the bound is ${LIMITS.scriptBytes}`, {
    field: "command",
    hint: "Put it into a file or a repository that the job fetches.",
  });
}

function checkEnv(env: Record<string, string>): void {
  const names = Object.keys(env);
  if (names.length > LIMITS.envEntries) {
    throw new HodeiError("TOO_LARGE", `${names.length} variables, the bound is ${LIMITS.envEntries}`, { field: "env" });
  }
  const wrong = names.find((name) => !ENV_NAME.test(name));
  if (wrong !== undefined) {
    throw new HodeiError("INVALID_ARGUMENT", `${JSON.stringify(wrong)} is no name of an environment variable`, {
      field: `env.${wrong}`,
      hint: "Letters, digits and underscores, not beginning with a digit.",
    });
  }
  const cut = names.find((name) => env[name]?.includes("\0"));
  if (cut === undefined) return;
  throw new HodeiError("INVALID_ARGUMENT", `the variable ${cut} holds a NUL character`, { field: `env.${cut}` });
}

/**
 * One word for `sh`, whatever it holds. Scripts may not hold an expression; a word that looks like one is cut in two
 * quoted halves, which the shell joins again.
 */
export function shellQuoted(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  // By functions: in a replacement text `$'` would stand for what follows the match.
  const closed = word.replaceAll("'", () => `'\\''`).replaceAll("${{", () => "$''{{");
  return `'${closed}'`;
}
