import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HodeiError } from "../workflow/errors.ts";
import { loadConfig } from "./config.ts";

/** [variable, value, where it lands, what it becomes, what stands there without it] */
const VARIABLES: [string, string, (config: ReturnType<typeof loadConfig>) => unknown, unknown, unknown][] = [
  ["K8S_NAMESPACE", "prod", (c) => c.kubernetes.namespace, "prod", "default"],
  ["K8S_SERVICE_NAME", "engines", (c) => c.kubernetes.serviceName, "engines", "workflow-engines"],
  ["K8S_LABEL_SELECTOR", "app=x,tier=y", (c) => c.kubernetes.labelSelector, "app=x,tier=y", "app=workflow-engine"],
  ["IN_CLUSTER_CONFIG", "false", (c) => c.kubernetes.inCluster, false, true],
  ["TRANSPORT_TYPE", "grpc", (c) => c.transport, "grpc", "grpc"],
  ["LOAD_BALANCER_TYPE", "round-robin", (c) => c.loadBalancer, "round-robin", "consistent-hash"],
  ["GRPC_PORT", "6000", (c) => c.grpcPort, 6000, 50051],
  ["ENGINE_DISCOVERY_INTERVAL", "5", (c) => c.discoveryIntervalMs, 5000, 30_000],
  ["HODEI_ADDRESS", "a:1, b:2", (c) => c.addresses, ["a:1", "b:2"], ["127.0.0.1:50051"]],
  ["HODEI_STORE", "sqlite:/data", (c) => c.store, "sqlite:/data", undefined],
  ["HODEI_NAMESPACE", "team-a", (c) => c.namespace, "team-a", "default"],
  ["HODEI_TOKEN_FILE", "/run/token", (c) => c.tokenFile, "/run/token", undefined],
  ["HODEI_LOG_LEVEL", "debug", (c) => c.logLevel, "debug", "info"],
  ["HODEI_LABELS", "gpu,big", (c) => c.labels, ["gpu", "big"], []],
  ["HODEI_RETENTION", "12h", (c) => c.retentionMs, 12 * 3600_000, 7 * 24 * 3600_000],
  ["SERVER_HOST", "engine-0", (c) => c.worker.serverHost, "engine-0", "127.0.0.1"],
  ["SERVER_PORT", "9090", (c) => c.worker.serverPort, 9090, 50051],
  ["WORKER_ID", "w-1", (c) => c.worker.id, "w-1", undefined],
  ["WORKER_NAME", "builder", (c) => c.worker.name, "builder", undefined],
  ["WORKER_CAPABILITIES", "java-17,git", (c) => c.worker.capabilities, ["java-17", "git"], []],
  ["EPHEMERAL_MODE", "true", (c) => c.worker.ephemeral, true, false],
  ["HODEI_ENGINES", "a:1,b:2", (c) => c.worker.engines, ["a:1", "b:2"], []],
  ["HODEI_WORKER_DIRECTORY", "/var/w", (c) => c.worker.directory, "/var/w", undefined],
  ["HODEI_HANDLERS", "./handlers.ts", (c) => c.worker.handlersFile, "./handlers.ts", undefined],
  ["HODEI_TOOLS_FILE", "/t.json", (c) => c.worker.toolsFile, "/t.json", undefined],
  ["HODEI_HTTP_ADDRESS", "0.0.0.0:8080", (c) => c.worker.httpAddress, "0.0.0.0:8080", undefined],
  ["HODEI_SLOTS", "3", (c) => c.worker.slots, 3, undefined],
  ["HODEI_WORKER_REQUEST", "wr-1", (c) => c.worker.requestId, "wr-1", undefined],
];

describe("the environment", () => {
  it.each(VARIABLES)("%s=%s is read, and has its default when absent or empty", (name, value, read, set, unset) => {
    expect(read(loadConfig({ [name]: value }))).toEqual(set);
    expect(read(loadConfig({}))).toEqual(unset);
    expect(read(loadConfig({ [name]: "" }))).toEqual(unset);
  });

  it.each([
    ["GRPC_PORT", "70000"],
    ["GRPC_PORT", "12x"],
    ["ENGINE_DISCOVERY_INTERVAL", "0"],
    ["LOAD_BALANCER_TYPE", "random"],
    ["TRANSPORT_TYPE", "nats"],
    ["IN_CLUSTER_CONFIG", "yes"],
    ["HODEI_ADDRESS", "nowhere"],
    ["HODEI_ADDRESS", "a:1,,b:2"],
    ["HODEI_HTTP_ADDRESS", "8080"],
    ["HODEI_LOG_LEVEL", "loud"],
    ["HODEI_RETENTION", "7 weeks"],
    ["HODEI_TLS_CERT", "/cert.pem"],
  ])("%s=%s is refused by name", (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(name) }),
    );
  });

  it("HODEI_TLS_CA, _CERT and _KEY are read together", () => {
    const files = { HODEI_TLS_CA: "/ca.pem", HODEI_TLS_CERT: "/cert.pem", HODEI_TLS_KEY: "/key.pem" };
    expect(loadConfig(files).tls).toEqual({ caFile: "/ca.pem", certFile: "/cert.pem", keyFile: "/key.pem" });
    expect(loadConfig({}).tls).toBeUndefined();
  });

  it("is frozen", () => {
    expect(Object.isFrozen(loadConfig({}))).toBe(true);
  });
});

describe("any environment", () => {
  const names = fc.constantFrom(...VARIABLES.map(([name]) => name), "HODEI_TLS_CA", "HODEI_TLS_CERT", "HODEI_TLS_KEY");
  const values = fc.oneof(
    fc.constantFrom(
      ...VARIABLES.map(([, value]) => value),
      "",
      " ",
      ",",
      "a,,b",
      "-1",
      "65536",
      "TRUE",
      "7x",
      "__proto__",
    ),
    fc.constantFrom("9".repeat(400), "999999d", "host:99999", "[::1]:1", "\0"),
    fc.string({ unit: "binary" }),
  );

  /** The variable that is refused, if one is. */
  function refused(env: Record<string, string>): string | undefined {
    try {
      const { retentionMs, discoveryIntervalMs, grpcPort } = loadConfig(env);
      expect([retentionMs, discoveryIntervalMs, grpcPort].every(Number.isSafeInteger)).toBe(true);
      return undefined;
    } catch (error) {
      if (error instanceof HodeiError && error.code === "INVALID_ARGUMENT") return error.field ?? "no field";
      throw error;
    }
  }

  it("is read, or refused with the variable at fault", () => {
    fc.assert(
      fc.property(fc.dictionary(names, values, { maxKeys: 5 }), (env) => {
        expect([undefined, ...Object.keys(env), "HODEI_TLS_CA", "HODEI_TLS_CERT", "HODEI_TLS_KEY"]).toContain(
          refused(env),
        );
      }),
      { numRuns: 1000 },
    );
  });
});
