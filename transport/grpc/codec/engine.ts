import * as wire from "../../../proto/gen/hodei/v1/engine_service.ts";
import type { ClusterEvent, EngineView, WorkerView } from "../../api/cluster.ts";
import type { EngineStartRequest } from "../../api/engine.ts";
import type { TemplateView } from "../../api/template.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, empty, optional, required, sameShape, stream, unary } from "./codec.ts";
import { templateFromWire, templateToWire } from "./template.ts";
import { engineFromWire, engineToWire, eventFromWire, eventToWire, workerFromWire, workerToWire } from "./views.ts";
import { priority } from "./work.ts";

const start = codec<EngineStartRequest, wire.StartOwnedRequest>(
  wire.StartOwnedRequest,
  (value) => ({ ...value, priority: optional(value.priority, priority.toWire) }),
  (message) => ({ ...message, priority: priority.fromWireOptional(message.priority) }),
);

const status = codec<{ engine: EngineView; workers: WorkerView[] }, wire.GetEngineStatusResponse>(
  wire.GetEngineStatusResponse,
  (value) => ({ engine: engineToWire(value.engine), workers: value.workers.map(workerToWire) }),
  (message) => ({
    engine: engineFromWire(required(message.engine, "engine")),
    workers: message.workers.map(workerFromWire),
  }),
);

const event = codec<ClusterEvent, wire.WatchEngineEventsResponse>(
  wire.WatchEngineEventsResponse,
  (value) => ({ event: eventToWire(value) }),
  (message) => eventFromWire(required(message.event, "event")),
);

const templates = codec<{ templates: TemplateView[] }, wire.ListOwnTemplatesResponse>(
  wire.ListOwnTemplatesResponse,
  (value) => ({ templates: value.templates.map(templateToWire) }),
  (message) => ({ templates: message.templates.map(templateFromWire) }),
);

const service = wire.EngineServiceService;

export const engineCodec: ServiceCodec<"engine"> = {
  name: "hodei.v1.EngineService",
  methods: {
    start: unary(service.startOwned, start, sameShape(wire.StartOwnedResponse)),
    deliver: unary(
      service.deliverMessage,
      sameShape(wire.DeliverMessageRequest),
      sameShape(wire.DeliverMessageResponse),
    ),
    status: unary(service.getEngineStatus, empty(wire.GetEngineStatusRequest), status),
    drain: unary(service.drainSelf, empty(wire.DrainSelfRequest), empty(wire.DrainSelfResponse)),
    drainWorker: unary(
      service.drainOwnWorker,
      sameShape(wire.DrainOwnWorkerRequest),
      empty(wire.DrainOwnWorkerResponse),
    ),
    events: stream(service.watchEngineEvents, empty(wire.WatchEngineEventsRequest), event),
    assign: unary(service.assignShards, sameShape(wire.AssignShardsRequest), sameShape(wire.AssignShardsResponse)),
    templates: unary(service.listOwnTemplates, empty(wire.ListOwnTemplatesRequest), templates),
  },
};
