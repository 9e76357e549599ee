import { HodeiError } from "../../../workflow/errors.ts";
import type { Api } from "../../transport.ts";
import type { ServiceCodec } from "./codec.ts";

/**
 * Codecs by service, loaded when a service is first used: all eight with their generated code take 105 ms to import from
 * source, and a command-line call needs one.
 */
const LOADERS: { [S in keyof Api]: () => Promise<ServiceCodec<S>> } = {
  workflow: async () => (await import("./workflow.ts")).workflowCodec,
  execution: async () => (await import("./execution.ts")).executionCodec,
  job: async () => (await import("./job.ts")).jobCodec,
  cluster: async () => (await import("./cluster.ts")).clusterCodec,
  fleet: async () => (await import("./fleet.ts")).fleetCodec,
  template: async () => (await import("./template.ts")).templateCodec,
  engine: async () => (await import("./engine.ts")).engineCodec,
  worker: async () => (await import("./worker.ts")).workerCodec,
};

export const SERVICES = Object.keys(LOADERS) as (keyof Api)[];

/** As the calling code sees them: their types were tied to the service and method by the port. */
export type AnyCodec = { encode(value: unknown): Buffer; decode(bytes: Buffer): unknown };
export type AnyMethod = { type: "unary" | "stream" | "duplex"; path: string; request: AnyCodec; response: AnyCodec };
export type AnyService = { name: string; methods: Record<string, AnyMethod> };

export async function loadCodec(service: keyof Api): Promise<AnyService> {
  if (!Object.hasOwn(LOADERS, service)) throw new HodeiError("UNIMPLEMENTED", `there is no service "${service}"`);
  return await LOADERS[service]();
}

export async function loadMethod(service: keyof Api, method: string): Promise<AnyMethod> {
  const { methods } = await loadCodec(service);
  const found = Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (!found) throw new HodeiError("UNIMPLEMENTED", `service "${service}" has no method "${method}"`);
  return found;
}
