import type { Definition, Priority, Step, Template } from "./definition.ts";
import type { Json, JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { readAgent } from "./read-agent.ts";
import { DEFAULT_RETRY, ON_LOST, readRetry, readSchema, readStep, readWorkspace } from "./read-step.ts";
import type { StepDefaults } from "./read-step.ts";
import { NAME, WORKFLOW_NAME } from "./reader.ts";
import type { Field, Fields, Reader } from "./reader.ts";
import { isJsonObject, typesOf } from "./schema.ts";
import { isVersion } from "./version.ts";

export const API_VERSION = "hodei.dev/v1";

const PRIORITIES: readonly Priority[] = ["low", "normal", "high"];

const OWN = ["input", "output", "priority", "timeout", "steps", "finally"];
/** Defaults for every step that a worker runs. */
const DEFAULTS = ["env", "agent", "workspace", "retry", "onLost"];

const NOTHING: Definition = {
  name: "",
  version: "",
  labels: {},
  output: {},
  priority: "normal",
  steps: {},
  finally: {},
};

/**
 * The document as a definition in normal form: defaults filled, durations in ms, labels and quantities canonical, so
 * that documents of one meaning give one digest. What is wrong is recorded in the reader; then the result is partial.
 */
export function readDefinition(reader: Reader, document: Json): Definition {
  const root = reader.fields({ value: document, path: [] }, ["apiVersion", "kind", "metadata", "spec"]);
  if (!isJsonObject(document)) return NOTHING;
  reader.choice(required(reader, root, "apiVersion"), [API_VERSION]);
  reader.choice(required(reader, root, "kind"), ["Workflow"]);
  const metadata = reader.fields(required(reader, root, "metadata"), ["name", "version", "description", "labels"]);
  const spec = reader.fields(required(reader, root, "spec"), [...OWN, ...DEFAULTS]);
  const description = reader.string(metadata.get("description"));
  const input = readInputSchema(reader, spec.get("input"));
  const timeoutMs = reader.duration(spec.get("timeout"));
  const defaults = readDefaults(reader, spec);
  const known = root.get("metadata") !== undefined;
  return {
    name: known ? readName(reader, metadata) : "",
    version: known ? readVersion(reader, metadata) : "",
    ...(description === undefined ? {} : { description }),
    labels: reader.labels(metadata.get("labels")),
    ...(input === undefined ? {} : { input }),
    output: readOutput(reader, spec.get("output")),
    priority: reader.choice(spec.get("priority"), PRIORITIES) ?? "normal",
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...readAllSteps(reader, root.get("spec") === undefined ? undefined : spec, defaults),
  };
}

function required(reader: Reader, fields: Fields, key: string): Field | undefined {
  return fields.get(key) ?? reader.refuse(fields, `"${key}" is missing`);
}

function readName(reader: Reader, metadata: Fields): string {
  const field = required(reader, metadata, "name");
  const name = reader.string(field, LIMITS.idLength) ?? "";
  if (field !== undefined && typeof field.value === "string" && !WORKFLOW_NAME.test(name)) {
    reader.refuse(
      field,
      `${JSON.stringify(name)} is no workflow name: lower-case letters, digits, - and . between them`,
    );
  }
  return name;
}

function readVersion(reader: Reader, metadata: Fields): string {
  const field = required(reader, metadata, "version");
  const version = reader.text(field, 256) ?? "";
  if (field !== undefined && version !== "" && !isVersion(version)) {
    reader.refuse(field, `${JSON.stringify(version)} is no semver version; write it as 1.0.0, without v or metadata`);
  }
  return version;
}

/** Input is always an object (steps read `input.name`), so a schema that names no type is given that one. */
function readInputSchema(reader: Reader, field: Field | undefined): JsonObject | undefined {
  const schema = readSchema(reader, field);
  if (field === undefined || schema === undefined) return undefined;
  const types = typesOf(schema);
  if (types === undefined) return { type: "object", ...schema };
  if (types.length !== 1 || types[0] !== "object") {
    reader.refuse({ path: [...field.path, "type"] }, "the input of a workflow must be of type object");
  }
  return schema;
}

function readDefaults(reader: Reader, spec: Fields): StepDefaults {
  const workspace = readWorkspace(reader, spec.get("workspace"));
  return {
    env: reader.env(spec.get("env")),
    agent: readAgent(reader, spec.get("agent")) ?? {},
    retry: readRetry(reader, spec.get("retry"), DEFAULT_RETRY),
    onLost: reader.choice(spec.get("onLost"), ON_LOST) ?? "retry",
    ...(workspace === undefined ? {} : { workspace }),
  };
}

function readOutput(reader: Reader, field: Field | undefined): Record<string, Template> {
  const read = reader.record(field);
  const output: Record<string, Template> = {};
  for (const name of read.keys) {
    const entry = read.get(name);
    if (entry === undefined) continue;
    if (!NAME.test(name))
      reader.refuse(entry, `${JSON.stringify(name)} is no output name: letters, digits, _ and -`, "key");
    output[name] = entry.value;
  }
  return output;
}

function readAllSteps(
  reader: Reader,
  spec: Fields | undefined,
  defaults: StepDefaults,
): Pick<Definition, "steps" | "finally"> {
  if (spec === undefined) return { steps: {}, finally: {} };
  const steps = required(reader, spec, "steps");
  const read = { steps: readSteps(reader, steps, defaults), finally: readSteps(reader, spec.get("finally"), defaults) };
  const count = Object.keys(read.steps).length + Object.keys(read.finally).length;
  if (count > LIMITS.steps) reader.refuse(spec, `has ${count} steps, the bound is ${LIMITS.steps}`);
  if (steps !== undefined && reader.violations.empty && Object.keys(read.steps).length === 0) {
    reader.refuse(steps, "must hold at least one step");
  }
  for (const id of Object.keys(read.finally)) {
    // Jobs, child ids and `steps.<id>` name a step by its id alone.
    if (!Object.hasOwn(read.steps, id)) continue;
    reader.refuse({ path: [...spec.path, "finally", id] }, `a step "${id}" stands under steps already`, "key");
  }
  return read;
}

function readSteps(reader: Reader, field: Field | undefined, defaults: StepDefaults): Record<string, Step> {
  const read = reader.record(field);
  const steps: Record<string, Step> = {};
  for (const id of read.keys) {
    const entry = read.get(id);
    if (entry === undefined) continue;
    if (id.length > LIMITS.idLength) {
      reader.refuse(entry, `a step id has at most ${LIMITS.idLength} characters, not ${id.length}`, "key");
      continue;
    }
    if (!NAME.test(id) || id in Object.prototype) {
      reader.refuse(entry, `${JSON.stringify(id)} is no step id: letters, digits, _ and -, a letter first`, "key");
      continue;
    }
    const step = readStep(reader, id, entry, defaults);
    if (step !== undefined) steps[id] = step;
  }
  return steps;
}
