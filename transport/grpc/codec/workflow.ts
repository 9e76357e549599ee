import * as wire from "../../../proto/gen/hodei/v1/workflow_service.ts";
import type { PlanResponse } from "../../api/workflow.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, empty, enumeration, required, sameShape, same, unary } from "./codec.ts";

const action = enumeration("action", {
  create: wire.PlanAction.CREATE,
  unchanged: wire.PlanAction.UNCHANGED,
  refused: wire.PlanAction.REFUSED,
});

const changeBump = enumeration("changes.bump", {
  patch: wire.Bump.PATCH,
  minor: wire.Bump.MINOR,
  major: wire.Bump.MAJOR,
});

const bump = enumeration("bump", {
  none: wire.Bump.NONE,
  patch: wire.Bump.PATCH,
  minor: wire.Bump.MINOR,
  major: wire.Bump.MAJOR,
});

const plan = codec<PlanResponse, wire.PlanWorkflowResponse>(
  wire.PlanWorkflowResponse,
  (value) => ({
    ...value,
    action: action.toWire(value.action),
    requiredBump: bump.toWire(value.requiredBump),
    actualBump: bump.toWire(value.actualBump),
    changes: value.changes.map((change) => ({ ...change, bump: changeBump.toWire(change.bump) })),
  }),
  (message) => ({
    ...message,
    action: action.fromWire(message.action),
    requiredBump: bump.fromWire(message.requiredBump),
    actualBump: bump.fromWire(message.actualBump),
    changes: message.changes.map((change) => ({ ...change, bump: changeBump.fromWire(change.bump) })),
  }),
);

const service = wire.WorkflowServiceService;

export const workflowCodec: ServiceCodec<"workflow"> = {
  name: "hodei.v1.WorkflowService",
  methods: {
    register: unary(
      service.registerWorkflow,
      sameShape(wire.RegisterWorkflowRequest),
      sameShape(wire.RegisterWorkflowResponse),
    ),
    get: unary(
      service.getWorkflow,
      sameShape(wire.GetWorkflowRequest),
      codec(
        wire.GetWorkflowResponse,
        (workflow) => ({ workflow }),
        (message) => required(message.workflow, "workflow"),
      ),
    ),
    list: unary(service.listWorkflows, sameShape(wire.ListWorkflowsRequest), sameShape(wire.ListWorkflowsResponse)),
    plan: unary(service.planWorkflow, codec(wire.PlanWorkflowRequest, same, same), plan),
    promote: unary(
      service.promoteWorkflow,
      sameShape(wire.PromoteWorkflowRequest),
      sameShape(wire.PromoteWorkflowResponse),
    ),
    delete: unary(service.deleteWorkflow, sameShape(wire.DeleteWorkflowRequest), empty(wire.DeleteWorkflowResponse)),
  },
};
