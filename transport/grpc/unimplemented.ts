import type { MethodDefinition, sendUnaryData, Server, UntypedServiceImplementation } from "@grpc/grpc-js";
import { HodeiError } from "../../workflow/errors.ts";
import { toStatus } from "./errors.ts";

/**
 * What proto/ describes and no server does yet, so that clients can be written against it. Each call is answered with
 * words that say so, instead of grpc-js's, which read as if an address or a version were wrong. Neither reflection nor
 * health list a service that is here whole.
 */
export const UNIMPLEMENTED: Readonly<Record<string, readonly string[]>> = {
  "hodei.v1.WorkerTemplateService": ["ApplyWorkerTemplate", "DeleteWorkerTemplate"],
  "hodei.v1.WorkerPoolService": [
    "ListWorkerPools",
    "GetWorkerPool",
    "ApplyWorkerPool",
    "DeleteWorkerPool",
    "ListScalingDecisions",
  ],
};

const HINTS: Readonly<Record<string, string>> = {
  "hodei.v1.WorkerTemplateService": "Workers are made from the templates that ListWorkerTemplates shows.",
  "hodei.v1.WorkerPoolService": "Workers are made by `hodei dev --workers N` and by demand.",
};

export function addUnimplemented(server: Server): void {
  for (const [service, methods] of Object.entries(UNIMPLEMENTED)) {
    const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
    const implementation: UntypedServiceImplementation = {};
    for (const method of methods) {
      definition[method] = {
        path: `/${service}/${method}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: asItIs,
        requestDeserialize: asItIs,
        responseSerialize: asItIs,
        responseDeserialize: asItIs,
      };
      const hint = HINTS[service];
      const status = toStatus(
        new HodeiError("UNIMPLEMENTED", `${service}.${method} is described but not implemented yet`, { hint }),
      );
      implementation[method] = (_call: unknown, respond: sendUnaryData<Buffer>): void => respond(status);
    }
    server.addService(definition, implementation);
  }
}

const asItIs = (bytes: Buffer): Buffer => bytes;
