import type { Agent } from "./definition.ts";
import type { Json } from "./json.ts";
import { formatLabel, parseLabel } from "./label.ts";
import { LIMITS } from "./limits.ts";
import { formatBytes, formatCount, formatCpuMillis, parseBytes, parseCount, parseCpuMillis } from "./quantity.ts";
import type { Field, Fields, Reader } from "./reader.ts";

const LITERAL = "an agent is chosen before the step's values are known";

/** In canonical form, so that `2` and `2000m` give one digest and one requirement class. */
const QUANTITIES = {
  cpu: (text: string) => formatCpuMillis(parseCpuMillis(text)),
  memory: (text: string) => formatBytes(parseBytes(text)),
  gpu: (text: string) => formatCount(parseCount(text)),
  storage: (text: string) => formatBytes(parseBytes(text)),
} as const;
type Quantity = keyof typeof QUANTITIES;
const QUANTITY_NAMES = Object.keys(QUANTITIES) as Quantity[];

const KNOWN = [
  ...QUANTITY_NAMES,
  "label",
  "template",
  "docker",
  "kubernetes",
  "service",
  "hardware",
  "models",
  "custom",
  "isolation",
  "resources",
  "ephemeral",
];

/** A label expression, "any", or an object. Undefined when absent. */
export function readAgent(reader: Reader, field: Field | undefined): Agent | undefined {
  if (field === undefined) return undefined;
  if (typeof field.value === "string") return readLabelOnly(reader, field);
  const read = reader.fields(field, KNOWN);
  const agent: Agent = {};
  set(agent, "label", readLabel(reader, read.get("label")));
  set(agent, "template", reader.plain(read.get("template"), LITERAL, LIMITS.idLength));
  set(agent, "docker", readDocker(reader, read.get("docker")));
  set(agent, "kubernetes", reader.string(read.get("kubernetes")));
  set(agent, "service", reader.plain(read.get("service"), LITERAL, LIMITS.idLength));
  set(agent, "hardware", readHardware(reader, read.get("hardware")));
  set(agent, "models", readModels(reader, read.get("models")));
  set(agent, "custom", reader.object(read.get("custom")));
  set(agent, "isolation", reader.choice(read.get("isolation"), ["none", "loose", "strict"]));
  set(agent, "resources", readResources(reader, read));
  set(agent, "ephemeral", reader.boolean(read.get("ephemeral")));
  const sources = ["template", "docker", "kubernetes"].filter((key) => read.get(key) !== undefined);
  if (sources.length > 1) reader.refuse(field, `${sources.join(" and ")} do not go together; an agent takes one`);
  return agent;
}

function set<K extends keyof Agent>(agent: Agent, key: K, value: Agent[K]): void {
  if (value !== undefined) agent[key] = value;
}

function readLabelOnly(reader: Reader, field: Field): Agent | undefined {
  if (field.value === "any") return {};
  // As a label it would wait for a worker that calls itself "none".
  if (field.value === "none") return reader.refuse(field, 'say "any", or leave the agent out');
  const label = readLabel(reader, field);
  return label === undefined ? undefined : { label };
}

function readLabel(reader: Reader, field: Field | undefined): string | undefined {
  const text = reader.plain(field, LITERAL, LIMITS.labelExpressionLength);
  if (field === undefined || text === undefined) return undefined;
  return reader.attempt(field, () => formatLabel(parseLabel(text)));
}

function readDocker(reader: Reader, field: Field | undefined): Agent["docker"] {
  if (field === undefined) return undefined;
  const short = typeof field.value === "string";
  const docker = short ? undefined : reader.fields(field, ["image", "args"]);
  const named = short ? field : docker?.get("image");
  const image = reader.plain(named, LITERAL, 512);
  if (named === undefined || image === "") reader.refuse(field, "must name its image");
  const args = reader.list(docker?.get("args"), 64)?.map((arg) => reader.text(arg));
  return { image: image ?? "", args: args?.filter((arg) => arg !== undefined) ?? [] };
}

function readHardware(reader: Reader, field: Field | undefined): Agent["hardware"] {
  if (field === undefined) return undefined;
  const read = reader.record(field);
  const hardware: Record<string, number | string> = {};
  for (const name of read.keys) {
    const entry = read.get(name);
    const value = typeof entry?.value === "number" ? entry.value : reader.plain(entry, LITERAL, LIMITS.idLength);
    if (value !== undefined) hardware[name] = value;
  }
  return hardware;
}

function readModels(reader: Reader, field: Field | undefined): Agent["models"] {
  if (field === undefined) return undefined;
  const names = (entry: Field | undefined): string[] =>
    (reader.list(entry, 64) ?? []).map((name) => reader.string(name, 256)).filter((name) => name !== undefined);
  if (isList(field.value)) return names(field);
  const read = reader.record(field);
  return Object.fromEntries(read.keys.map((service) => [service, names(read.get(service))]));
}

function isList(value: Json): boolean {
  return Array.isArray(value);
}

/** Quantities stand under `resources` or beside it, but each in one place. */
function readResources(reader: Reader, agent: Fields): Agent["resources"] {
  const resources = reader.fields(agent.get("resources"), QUANTITY_NAMES);
  const read: NonNullable<Agent["resources"]> = {};
  for (const name of QUANTITY_NAMES) {
    const below = resources.get(name);
    const beside = agent.get(name);
    if (below !== undefined && beside !== undefined) {
      reader.refuse(beside, `"${name}" stands under resources already`, "key");
    }
    const field = below ?? beside;
    const text = reader.text(field, 32);
    if (field === undefined || text === undefined) continue;
    const canonical = reader.attempt(field, () => QUANTITIES[name](text));
    if (canonical !== undefined) read[name] = canonical;
  }
  return Object.keys(read).length === 0 ? undefined : read;
}
