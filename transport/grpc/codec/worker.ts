import * as wire from "../../../proto/gen/hodei/v1/worker_service.ts";
import { unreachable } from "../../../workflow/errors.ts";
import type { AssignedJob, FromWorker, Hello, LogUpload, ToWorker } from "../../api/worker.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, duplex, required, same, sameShape, viewOf } from "./codec.ts";
import { offerFromWire, offerToWire, resourcesFromWire } from "./requirement.ts";
import { outcomeFromWire, outcomeToWire, workFromWire, workToWire } from "./work.ts";

function fromWorkerToWire(message: FromWorker): wire.ConnectRequest {
  switch (message.kind) {
    case "hello":
      return { message: { $case: "hello", value: helloToWire(message) } };
    case "accepted":
      return { message: { $case: "accepted", value: message } };
    case "rejected":
      return { message: { $case: "rejected", value: message } };
    case "progress":
      return { message: { $case: "progress", value: message } };
    case "result":
      return { message: { $case: "result", value: { ...message, outcome: outcomeToWire(message.outcome) } } };
    case "heartbeat":
      return { message: { $case: "heartbeat", value: message } };
    case "goodbye":
      return { message: { $case: "goodbye", value: message } };
    default:
      return unreachable(message);
  }
}

function fromWorkerFromWire({ message: wired }: wire.ConnectRequest): FromWorker {
  const message = required(wired, "message");
  switch (message.$case) {
    case "hello":
      return { kind: "hello", ...helloFromWire(message.value) };
    case "accepted":
      return { kind: "accepted", ...message.value };
    case "rejected":
      return { kind: "rejected", ...message.value };
    case "progress":
      return { kind: "progress", ...message.value };
    case "result": {
      const outcome = outcomeFromWire(required(message.value.outcome, "result.outcome"));
      return { kind: "result", ...message.value, outcome };
    }
    case "heartbeat":
      return { kind: "heartbeat", ...message.value };
    case "goodbye":
      return { kind: "goodbye", ...message.value };
    default:
      return unreachable(message);
  }
}

function helloToWire(hello: Hello): wire.Hello {
  return { ...hello, offer: offerToWire(hello.offer), knowsHeard: hello.knowsHeard ?? false };
}

function helloFromWire({ knowsHeard, ...hello }: wire.Hello): Hello {
  return {
    ...hello,
    offer: offerFromWire(required(hello.offer, "hello.offer")),
    host: required(hello.host, "hello.host"),
    ...(knowsHeard ? { knowsHeard } : {}),
  };
}

function toWorkerToWire(message: ToWorker): wire.ConnectResponse {
  switch (message.kind) {
    case "welcome":
      return { message: { $case: "welcome", value: message } };
    case "assign":
      return {
        message: { $case: "assign", value: { job: { ...message.job, work: workToWire(message.job.work) } } },
      };
    case "cancel":
      return { message: { $case: "cancel", value: message } };
    case "drain":
      return { message: { $case: "drain", value: message } };
    case "ack":
      return { message: { $case: "ack", value: message } };
    case "releaseWorkspace":
      return { message: { $case: "releaseWorkspace", value: message } };
    case "heard":
      return { message: { $case: "heard", value: {} } };
    default:
      return unreachable(message);
  }
}

function toWorkerFromWire({ message: wired }: wire.ConnectResponse): ToWorker {
  const message = required(wired, "message");
  switch (message.$case) {
    case "welcome":
      return { kind: "welcome", ...message.value };
    case "assign":
      return { kind: "assign", job: jobFromWire(required(message.value.job, "assign.job")) };
    case "cancel":
      return { kind: "cancel", ...message.value };
    case "drain":
      return { kind: "drain", ...message.value };
    case "ack":
      return { kind: "ack", ...message.value };
    case "releaseWorkspace":
      return { kind: "releaseWorkspace", ...message.value };
    case "heard":
      return { kind: "heard" };
    default:
      return unreachable(message);
  }
}

function jobFromWire(job: wire.AssignedJob): AssignedJob {
  return {
    ...job,
    work: workFromWire(required(job.work, "assign.job.work")),
    resources: resourcesFromWire(job.resources, "assign.job.resources"),
  };
}

const upload = codec<LogUpload, wire.LogsRequest>(
  wire.LogsRequest,
  (value) => ({ ...value, data: viewOf(value.data) }),
  same,
);

const service = wire.WorkerServiceService;

export const workerCodec: ServiceCodec<"worker"> = {
  name: "hodei.v1.WorkerService",
  methods: {
    connect: duplex(
      service.connect,
      codec(wire.ConnectRequest, fromWorkerToWire, fromWorkerFromWire),
      codec(wire.ConnectResponse, toWorkerToWire, toWorkerFromWire),
    ),
    logs: duplex(service.logs, upload, sameShape(wire.LogsResponse)),
  },
};
