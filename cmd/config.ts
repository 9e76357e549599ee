import { HodeiError } from "../workflow/errors.ts";
import { LOG_LEVELS, type LogLevel } from "../base/log.ts";

/**
 * The only reader of the environment: read once, checked, frozen. Every variable is listed in docs/configuration.md.
 * An empty variable counts as unset, because that is how manifests and compose files pass "no value".
 */
export type Config = Readonly<{
  /** Where engines are discovered (`K8S_*`, `IN_CLUSTER_CONFIG`, `ENGINE_DISCOVERY_INTERVAL`). */
  kubernetes: Readonly<{ namespace: string; serviceName: string; labelSelector: string; inCluster: boolean }>;
  discoveryIntervalMs: number;
  transport: "grpc";
  loadBalancer: "consistent-hash" | "round-robin";
  grpcPort: number;
  /** What a client calls, in order of preference; `addressesSet` tells whether the environment said so. */
  addressesSet: boolean;
  addresses: readonly string[];
  /** `sqlite:DIR` or `redis://…`; absent: each command has its own default. */
  store: string | undefined;
  namespace: string;
  tokenFile: string | undefined;
  tls: Readonly<{ caFile: string; certFile: string; keyFile: string }> | undefined;
  logLevel: LogLevel;
  /** Extra labels that a worker offers. */
  labels: readonly string[];
  retentionMs: number;
  worker: Readonly<{
    serverHost: string;
    serverPort: number;
    id: string | undefined;
    name: string | undefined;
    capabilities: readonly string[];
    ephemeral: boolean;
    requestId: string | undefined;
    /** Every engine a worker may fall back to; `serverHost:serverPort` is tried first. */
    engines: readonly string[];
    directory: string | undefined;
    /** A module that exports handlers. */
    handlersFile: string | undefined;
    slots: number | undefined;
    /** `host:port` of its health and metrics; none is served without it, since a host runs many workers. */
    httpAddress: string | undefined;
    /** Where versions of found tools are remembered, shared by the workers of a host. */
    toolsFile: string | undefined;
  }>;
}>;

/** Of the API, where nothing else is said. */
export const USUAL_PORT = 50051;

export type Environment = Readonly<Record<string, string | undefined>>;

export function loadConfig(env: Environment = process.env): Config {
  const grpcPort = port(env, "GRPC_PORT", USUAL_PORT);
  return Object.freeze({
    kubernetes: Object.freeze({
      namespace: text(env, "K8S_NAMESPACE", "default"),
      serviceName: text(env, "K8S_SERVICE_NAME", "workflow-engines"),
      labelSelector: text(env, "K8S_LABEL_SELECTOR", "app=workflow-engine"),
      inCluster: flag(env, "IN_CLUSTER_CONFIG", true),
    }),
    discoveryIntervalMs: positive(env, "ENGINE_DISCOVERY_INTERVAL", 30) * 1000,
    transport: oneOf(env, "TRANSPORT_TYPE", ["grpc"], "grpc"),
    loadBalancer: oneOf(env, "LOAD_BALANCER_TYPE", ["consistent-hash", "round-robin"], "consistent-hash"),
    grpcPort,
    addressesSet: optional(env, "HODEI_ADDRESS") !== undefined,
    addresses: list(env, "HODEI_ADDRESS", ["127.0.0.1:50051"]).map((address) =>
      checkedAddress("HODEI_ADDRESS", address),
    ),
    store: optional(env, "HODEI_STORE"),
    namespace: text(env, "HODEI_NAMESPACE", "default"),
    tokenFile: optional(env, "HODEI_TOKEN_FILE"),
    tls: tls(env),
    logLevel: oneOf(env, "HODEI_LOG_LEVEL", LOG_LEVELS, "info"),
    labels: list(env, "HODEI_LABELS", []),
    retentionMs: duration(env, "HODEI_RETENTION", 7 * 24 * 3600_000),
    worker: Object.freeze({
      serverHost: text(env, "SERVER_HOST", "127.0.0.1"),
      serverPort: port(env, "SERVER_PORT", 50051),
      id: optional(env, "WORKER_ID"),
      name: optional(env, "WORKER_NAME"),
      capabilities: list(env, "WORKER_CAPABILITIES", []),
      ephemeral: flag(env, "EPHEMERAL_MODE", false),
      requestId: optional(env, "HODEI_WORKER_REQUEST"),
      engines: list(env, "HODEI_ENGINES", []).map((address) => checkedAddress("HODEI_ENGINES", address)),
      directory: optional(env, "HODEI_WORKER_DIRECTORY"),
      handlersFile: optional(env, "HODEI_HANDLERS"),
      httpAddress: oneAddress(env, "HODEI_HTTP_ADDRESS"),
      toolsFile: optional(env, "HODEI_TOOLS_FILE"),
      slots: optional(env, "HODEI_SLOTS") === undefined ? undefined : positive(env, "HODEI_SLOTS", 1),
    }),
  });
}

/**
 * npx puts a shell between itself and us and passes SIGTERM on to that shell alone, which dies of it and tells nobody.
 * Whoever started us in this way must notice that the shell is gone. Set by npm, and no setting of ours.
 */
export function startedByNpx(env: Environment = process.env): boolean {
  return env["npm_lifecycle_event"] === "npx";
}

/** What a worker's steps may inherit; the worker filters it by its own allow-list. */
export function inheritedEnvironment(env: Environment = process.env): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function optional(env: Environment, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === "" ? undefined : value;
}

function text(env: Environment, name: string, otherwise: string): string {
  return optional(env, name) ?? otherwise;
}

function list(env: Environment, name: string, otherwise: readonly string[]): readonly string[] {
  const value = optional(env, name);
  if (value === undefined) return otherwise;
  const entries = value.split(",").map((entry) => entry.trim());
  if (entries.includes("")) throw refused(name, value, "a comma-separated list without empty entries");
  return Object.freeze(entries);
}

function flag(env: Environment, name: string, otherwise: boolean): boolean {
  return oneOf(env, name, ["true", "false"], otherwise ? "true" : "false") === "true";
}

function oneOf<const T extends string>(env: Environment, name: string, allowed: readonly T[], otherwise: T): T {
  const value = optional(env, name);
  if (value === undefined) return otherwise;
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw refused(name, value, `one of ${allowed.join(", ")}`);
  return found;
}

function positive(env: Environment, name: string, otherwise: number): number {
  const value = optional(env, name);
  if (value === undefined) return otherwise;
  if (!/^[1-9]\d{0,8}$/.test(value)) throw refused(name, value, "a whole number from 1");
  return Number(value);
}

function port(env: Environment, name: string, otherwise: number): number {
  const value = optional(env, name);
  if (value === undefined) return otherwise;
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) throw refused(name, value, "a port from 0 to 65535");
  return Number(value);
}

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `90s`, `15m`, `12h`, `7d`; days are why this is not the workflow duration. */
function duration(env: Environment, name: string, otherwise: number): number {
  const value = optional(env, name);
  if (value === undefined) return otherwise;
  const parts = /^(\d{1,6})([smhd])$/.exec(value);
  if (!parts) throw refused(name, value, "a duration such as 90s, 15m, 12h or 7d");
  return Number(parts[1]) * UNIT_MS[parts[2] as keyof typeof UNIT_MS];
}

/** Mutual TLS or none: a CA without a certificate of one's own would let a client in that no server knows. */
function tls(env: Environment): Config["tls"] {
  const names = ["HODEI_TLS_CA", "HODEI_TLS_CERT", "HODEI_TLS_KEY"] as const;
  const [caFile, certFile, keyFile] = names.map((name) => optional(env, name));
  if (caFile === undefined && certFile === undefined && keyFile === undefined) return undefined;
  if (caFile === undefined || certFile === undefined || keyFile === undefined) {
    const field = names.find((name) => optional(env, name) === undefined);
    throw new HodeiError("INVALID_ARGUMENT", `${names.join(", ")} belong together: ${field} is missing`, { field });
  }
  return Object.freeze({ caFile, certFile, keyFile });
}

function oneAddress(env: Environment, name: string): string | undefined {
  const value = optional(env, name);
  return value === undefined ? undefined : checkedAddress(name, value);
}

export function checkedAddress(name: string, address: string): string {
  const parts = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(address);
  if (!parts || Number(parts[2]) > 65_535) throw refused(name, address, "host:port, e.g. 127.0.0.1:50051");
  return address;
}

function refused(name: string, value: string, expected: string): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", `${name}=${JSON.stringify(value)} is not ${expected}`, { field: name });
}
