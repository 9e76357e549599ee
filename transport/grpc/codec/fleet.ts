import * as wire from "../../../proto/gen/hodei/v1/worker_fleet_service.ts";
import type { WorkerView } from "../../api/cluster.ts";
import type { ResponseOf } from "../../transport.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, empty, required, sameShape, unary } from "./codec.ts";
import { workerFromWire, workerToWire } from "./views.ts";

const workers = codec<ResponseOf<"fleet", "list">, wire.ListWorkersResponse>(
  wire.ListWorkersResponse,
  (value) => ({ ...value, workers: value.workers.map(workerToWire) }),
  (message) => ({ ...message, workers: message.workers.map(workerFromWire) }),
);

const worker = codec<WorkerView, wire.GetWorkerResponse>(
  wire.GetWorkerResponse,
  (value) => ({ worker: workerToWire(value) }),
  (message) => workerFromWire(required(message.worker, "worker")),
);

const service = wire.WorkerFleetServiceService;

export const fleetCodec: ServiceCodec<"fleet"> = {
  name: "hodei.v1.WorkerFleetService",
  methods: {
    list: unary(service.listWorkers, sameShape(wire.ListWorkersRequest), workers),
    get: unary(service.getWorker, sameShape(wire.GetWorkerRequest), worker),
    drain: unary(service.drainWorker, sameShape(wire.DrainWorkerRequest), empty(wire.DrainWorkerResponse)),
  },
};
