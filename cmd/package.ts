/**
 * What `import … from "hodei"` gives. The one place where the SDK meets its adapters: everything here is either passed on
 * or a few lines that choose gRPC, the system clock and system randomness.
 */
import { systemClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { HodeiClient as Client } from "../sdk/client.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";

export type { Started, StartOptions } from "../sdk/client.ts";
export { defineWorkflow } from "../sdk/workflow.ts";
export type { Workflow, WorkflowDocument, StepRef, Modifiers, AgentSpec } from "../sdk/workflow.ts";
export {
  any,
  docker,
  ephemeral,
  kubernetes,
  label,
  none,
  parallel,
  pipeline,
  sh,
  stage,
  subworkflow,
  template,
} from "../sdk/pipeline.ts";
export { expr, reference } from "../sdk/reference.ts";
export type { Ref, Value } from "../sdk/reference.ts";
export type { FromSchema, Schema } from "../sdk/schema.ts";
export { defineHandler } from "../sdk/handler.ts";
export type { HandlerContext, TypedHandler } from "../sdk/handler.ts";
export { ExecutionFailed } from "../sdk/failed.ts";
export { HodeiError, isHodeiError, ERROR_CODES } from "../workflow/errors.ts";
export type { ErrorCode, Violation } from "../workflow/errors.ts";
export { HodeiWorker } from "./embedded-worker.ts";
export type { HodeiWorkerOptions } from "./embedded-worker.ts";
export { createOrchestrator } from "./embedded.ts";
export type { EmbeddedOptions, EmbeddedOrchestrator } from "./embedded.ts";

export type HodeiClientOptions = {
  /** `host:port`, or several. Default 127.0.0.1:50051. */
  address?: string | readonly string[];
  token?: string;
  /** PEM texts; both sides prove themselves. */
  tls?: { ca: string; cert: string; key: string };
  /** For calls that name none. Default 10 s. */
  deadlineMs?: number;
};

/** A client over gRPC. See sdk/client.ts for what it can do. */
export class HodeiClient extends Client {
  constructor(options: HodeiClientOptions = {}) {
    const { address = "127.0.0.1:50051", token, tls, deadlineMs } = options;
    super({
      addresses: typeof address === "string" ? [address] : address,
      transport: createGrpcTransport({ clock: systemClock, logger: silentLogger, tls }),
      clock: systemClock,
      random: systemRandom,
      token,
      deadlineMs,
    });
  }
}
