import * as wire from "../../../proto/gen/hodei/v1/cluster_service.ts";
import type { ClusterEvent, EngineView, Severity } from "../../api/cluster.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, empty, required, sameShape, stream, unary } from "./codec.ts";
import { engineFromWire, engineToWire, eventFromWire, eventToWire, severity } from "./views.ts";

const engines = codec<{ engines: EngineView[] }, wire.ListEnginesResponse>(
  wire.ListEnginesResponse,
  (value) => ({ engines: value.engines.map(engineToWire) }),
  (message) => ({ engines: message.engines.map(engineFromWire) }),
);

/** A client that names no severity sees all. */
const watch = codec<{ minSeverity: Severity; kinds: string[] }, wire.WatchEventsRequest>(
  wire.WatchEventsRequest,
  (value) => ({ ...value, minSeverity: severity.toWire(value.minSeverity) }),
  (message) => ({ ...message, minSeverity: severity.fromWireOptional(message.minSeverity) ?? "debug" }),
);

const event = codec<ClusterEvent, wire.WatchEventsResponse>(
  wire.WatchEventsResponse,
  (value) => ({ event: eventToWire(value) }),
  (message) => eventFromWire(required(message.event, "event")),
);

const service = wire.ClusterServiceService;

export const clusterCodec: ServiceCodec<"cluster"> = {
  name: "hodei.v1.ClusterService",
  methods: {
    engines: unary(service.listEngines, empty(wire.ListEnginesRequest), engines),
    shards: unary(service.listShards, empty(wire.ListShardsRequest), sameShape(wire.ListShardsResponse)),
    drainEngine: unary(service.drainEngine, sameShape(wire.DrainEngineRequest), empty(wire.DrainEngineResponse)),
    watchEvents: stream(service.watchEvents, watch, event),
    info: unary(service.getClusterInfo, empty(wire.GetClusterInfoRequest), sameShape(wire.GetClusterInfoResponse)),
  },
};
