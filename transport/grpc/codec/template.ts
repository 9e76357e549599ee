import * as wire from "../../../proto/gen/hodei/v1/worker_template_service.ts";
import type { WorkerTemplate } from "../../../proto/gen/hodei/v1/worker_template.ts";
import { WorkerTemplateOrigin } from "../../../proto/gen/hodei/v1/worker_template.ts";
import type { TemplateView } from "../../api/template.ts";
import type { ResponseOf } from "../../transport.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, empty, enumeration, required, sameShape, unary } from "./codec.ts";
import { offerFromWire, offerToWire } from "./requirement.ts";

const origin = enumeration("template.status.origin", { local: WorkerTemplateOrigin.LOCAL });

/** What no template of today says is left empty, which the schema reads as not given. */
const UNSAID = {
  displayName: "",
  description: "",
  capabilities: [],
  customJson: "",
  labels: {},
  resources: undefined,
  nodeSelector: {},
  tolerations: [],
};

export function templateToWire(value: TemplateView): WorkerTemplate {
  const { id, image = "", environment, maxConcurrentJobs, timeouts, offer, engines } = value;
  return {
    ...UNSAID,
    id,
    image,
    environment,
    timeouts: { jobMs: undefined, ...timeouts },
    maxConcurrentJobs,
    status: { origin: origin.toWire(value.origin), offer: offerToWire(offer), engines },
  };
}

export function templateFromWire(message: WorkerTemplate): TemplateView {
  const { id, image, environment } = message;
  const status = required(message.status, "template.status");
  const { registerMs, idleMs, stopMs } = required(message.timeouts, "template.timeouts");
  return {
    id,
    origin: origin.fromWire(status.origin),
    image: image === "" ? undefined : image,
    environment,
    maxConcurrentJobs: required(message.maxConcurrentJobs, "template.maxConcurrentJobs"),
    timeouts: {
      registerMs: required(registerMs, "template.timeouts.registerMs"),
      idleMs: required(idleMs, "template.timeouts.idleMs"),
      stopMs: required(stopMs, "template.timeouts.stopMs"),
    },
    offer: offerFromWire(required(status.offer, "template.status.offer")),
    engines: status.engines,
  };
}

const templates = codec<ResponseOf<"template", "list">, wire.ListWorkerTemplatesResponse>(
  wire.ListWorkerTemplatesResponse,
  (value) => ({ ...value, templates: value.templates.map(templateToWire) }),
  (message) => ({ ...message, templates: message.templates.map(templateFromWire) }),
);

const template = codec<TemplateView, wire.GetWorkerTemplateResponse>(
  wire.GetWorkerTemplateResponse,
  (value) => ({ template: templateToWire(value) }),
  (message) => templateFromWire(required(message.template, "template")),
);

const service = wire.WorkerTemplateServiceService;

/** Applying and deleting are in `unimplemented.ts`. */
export const templateCodec: ServiceCodec<"template"> = {
  name: "hodei.v1.WorkerTemplateService",
  methods: {
    list: unary(service.listWorkerTemplates, empty(wire.ListWorkerTemplatesRequest), templates),
    get: unary(service.getWorkerTemplate, sameShape(wire.GetWorkerTemplateRequest), template),
  },
};
