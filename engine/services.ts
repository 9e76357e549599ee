import type { EngineStartRequest } from "../transport/api/engine.ts";
import type { EngineView } from "../transport/api/cluster.ts";
import type { TemplateView } from "../transport/api/template.ts";
import type { ResponseOf, ServiceHandlers } from "../transport/transport.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { Message } from "../workflow/message.ts";
import { own } from "../workflow/execution.ts";
import { readDeliverable, readLock, readObject } from "./deliverable.ts";
import type { EventBus } from "./events.ts";
import type { Executor } from "./executor.ts";
import type { Ownership } from "./ownership.ts";
import type { Workers } from "./workers/workers.ts";

export type EngineServiceParts = {
  executor: Executor;
  ownership: Ownership;
  workers: Workers;
  events: EventBus;
  view: () => EngineView;
  drain: () => Promise<void>;
  templates: () => TemplateView[];
};

/** EngineApi: what the orchestrator asks of an engine. */
export function engineHandlers(parts: EngineServiceParts): ServiceHandlers<"engine"> {
  const { executor, ownership, workers, events } = parts;
  return {
    start: (request) => start(executor, request),
    async deliver({ namespace, id, messageJson }) {
      const message = readDeliverable(messageJson);
      const { revision } = await executor.ask({ namespace, id }, { message });
      return { revision };
    },
    status: async () => ({ engine: parts.view(), workers: workers.views() }),
    async drain() {
      await parts.drain();
      return {};
    },
    async drainWorker({ id }) {
      workers.drainWorker(id);
      return {};
    },
    events: (_request, context) => events.subscribe(context.signal),
    assign: async ({ generation, shards }) => ({ owned: await ownership.assign(generation, shards) }),
    templates: async () => ({ templates: parts.templates() }),
  };
}

async function start(executor: Executor, request: EngineStartRequest): Promise<ResponseOf<"engine", "start">> {
  for (const field of ["namespace", "id", "uid", "workflow", "version"] as const) {
    if (request[field] === "") throw new HodeiError("INVALID_ARGUMENT", `a start without ${field}`, { field });
  }
  const source = own(request.definitions, request.digest);
  if (source === undefined) {
    const message = `the definition ${request.digest} is not among those that came with the start`;
    throw new HodeiError("INVALID_ARGUMENT", message, { field: "definitions" });
  }
  const { namespace, id, uid, workflow, version, digest, labels, priority, requestDigest, parent, runNumber } = request;
  const message: Message = {
    kind: "start",
    start: {
      namespace,
      id,
      uid,
      definition: { name: workflow, version, digest },
      lock: readLock("lockJson", request.lockJson),
      input: readObject("inputJson", request.inputJson),
      labels,
      ...(priority ? { priority } : {}),
      requestDigest,
      ...(parent ? { parent } : {}),
      runNumber,
    },
  };
  const opening = { definitions: request.definitions, definition: executor.definitions.read(digest, source) };
  const answer = await executor.ask({ namespace, id }, { message, opening });
  return { uid: answer.uid, created: answer.created, version: answer.version, digest: answer.digest };
}
