import type {
  Execution as WireExecution,
  ExecutionSummary as WireSummary,
} from "../../../proto/gen/hodei/v1/execution.ts";
import { ExecutionState, StepKind, StepState } from "../../../proto/gen/hodei/v1/execution.ts";
import * as wire from "../../../proto/gen/hodei/v1/execution_service.ts";
import { unreachable } from "../../../workflow/errors.ts";
import type {
  ExecutionSummary,
  ExecutionView,
  HistoryEntry,
  ListExecutionsRequest,
  RunResponse,
  StartRequest,
  StepView,
} from "../../api/execution.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, duplex, enumeration, optional, required, same, sameShape, stream, unary, viewOf } from "./codec.ts";
import { priority } from "./work.ts";

const state = enumeration("state", {
  running: ExecutionState.RUNNING,
  succeeded: ExecutionState.SUCCEEDED,
  failed: ExecutionState.FAILED,
  cancelled: ExecutionState.CANCELLED,
  paused: ExecutionState.PAUSED,
  cancelling: ExecutionState.CANCELLING,
});

const stepKind = enumeration("steps.kind", {
  run: StepKind.RUN,
  task: StepKind.TASK,
  workflow: StepKind.WORKFLOW,
  wait: StepKind.WAIT,
  sleep: StepKind.SLEEP,
});

const stepState = enumeration("steps.state", {
  pending: StepState.PENDING,
  queued: StepState.QUEUED,
  running: StepState.RUNNING,
  backoff: StepState.BACKOFF,
  waiting: StepState.WAITING,
  succeeded: StepState.SUCCEEDED,
  failed: StepState.FAILED,
  skipped: StepState.SKIPPED,
  cancelled: StepState.CANCELLED,
});

function startToWire(start: StartRequest): wire.StartExecutionRequest {
  return { ...start, priority: optional(start.priority, priority.toWire) };
}

function startFromWire(message: wire.StartExecutionRequest): StartRequest {
  return { ...message, priority: priority.fromWireOptional(message.priority) };
}

function summaryToWire(summary: ExecutionSummary): WireSummary {
  return { ...summary, state: state.toWire(summary.state) };
}

function summaryFromWire(message: WireSummary): ExecutionSummary {
  return { ...message, state: state.fromWire(message.state) };
}

function viewToWire(view: ExecutionView): WireExecution {
  const { digest, inputJson, outputJson, error, engine, steps, ...summary } = view;
  return {
    summary: summaryToWire(summary),
    digest,
    inputJson,
    outputJson,
    error,
    engine,
    steps: steps.map((step) => ({
      ...step,
      kind: stepKind.toWire(step.kind),
      state: stepState.toWire(step.state),
    })),
  };
}

function viewFromWire(message: WireExecution): ExecutionView {
  const { summary, steps, ...rest } = message;
  return {
    ...summaryFromWire(required(summary, "summary")),
    ...rest,
    steps: steps.map((step): StepView => ({
      ...step,
      kind: stepKind.fromWire(step.kind),
      state: stepState.fromWire(step.state),
    })),
  };
}

function runResponseToWire(response: RunResponse): wire.RunExecutionsResponse {
  const { requestId } = response;
  switch (response.kind) {
    case "started":
      return { requestId, answer: { $case: "started", value: response.started } };
    case "ended":
      return { requestId, answer: { $case: "ended", value: viewToWire(response.ended) } };
    case "error":
      return { requestId, answer: { $case: "error", value: response.error } };
    default:
      return unreachable(response);
  }
}

function runResponseFromWire(message: wire.RunExecutionsResponse): RunResponse {
  const { requestId } = message;
  const answer = required(message.answer, "answer");
  switch (answer.$case) {
    case "started":
      return { requestId, kind: "started", started: answer.value };
    case "ended":
      return { requestId, kind: "ended", ended: viewFromWire(answer.value) };
    case "error":
      return { requestId, kind: "error", error: answer.value };
    default:
      return unreachable(answer);
  }
}

/** Both answers wrap one execution. */
const wrapped = {
  toWire: (view: ExecutionView): { execution: WireExecution | undefined } => ({ execution: viewToWire(view) }),
  fromWire: (message: { execution: WireExecution | undefined }): ExecutionView =>
    viewFromWire(required(message.execution, "execution")),
};

const list = codec<ListExecutionsRequest, wire.ListExecutionsRequest>(
  wire.ListExecutionsRequest,
  (value) => ({ ...value, states: value.states.map(state.toWire) }),
  (message) => ({ ...message, states: message.states.map(state.fromWire) }),
);

const page = codec<{ executions: ExecutionSummary[]; nextPage?: string }, wire.ListExecutionsResponse>(
  wire.ListExecutionsResponse,
  (value) => ({ ...value, executions: value.executions.map(summaryToWire) }),
  (message) => ({ ...message, executions: message.executions.map(summaryFromWire) }),
);

const watched = codec<HistoryEntry, wire.WatchExecutionResponse>(
  wire.WatchExecutionResponse,
  (entry) => ({ entry }),
  (message) => required(message.entry, "entry"),
);

const service = wire.ExecutionServiceService;

export const executionCodec: ServiceCodec<"execution"> = {
  name: "hodei.v1.ExecutionService",
  methods: {
    start: unary(
      service.startExecution,
      codec(wire.StartExecutionRequest, startToWire, startFromWire),
      sameShape(wire.StartExecutionResponse),
    ),
    get: unary(
      service.getExecution,
      sameShape(wire.GetExecutionRequest),
      codec(wire.GetExecutionResponse, wrapped.toWire, wrapped.fromWire),
    ),
    list: unary(service.listExecutions, list, page),
    wait: unary(
      service.waitExecution,
      sameShape(wire.WaitExecutionRequest),
      codec(wire.WaitExecutionResponse, wrapped.toWire, wrapped.fromWire),
    ),
    cancel: unary(
      service.cancelExecution,
      sameShape(wire.CancelExecutionRequest),
      sameShape(wire.CancelExecutionResponse),
    ),
    signal: unary(
      service.signalExecution,
      sameShape(wire.SignalExecutionRequest),
      sameShape(wire.SignalExecutionResponse),
    ),
    pause: unary(service.pauseExecution, sameShape(wire.PauseExecutionRequest), sameShape(wire.PauseExecutionResponse)),
    resume: unary(
      service.resumeExecution,
      sameShape(wire.ResumeExecutionRequest),
      sameShape(wire.ResumeExecutionResponse),
    ),
    retry: unary(service.retryExecution, sameShape(wire.RetryExecutionRequest), sameShape(wire.RetryExecutionResponse)),
    history: unary(
      service.getExecutionHistory,
      sameShape(wire.GetExecutionHistoryRequest),
      sameShape(wire.GetExecutionHistoryResponse),
    ),
    watch: stream(service.watchExecution, sameShape(wire.WatchExecutionRequest), watched),
    logs: stream(
      service.streamExecutionLogs,
      sameShape(wire.StreamExecutionLogsRequest),
      codec(wire.StreamExecutionLogsResponse, (value) => ({ ...value, data: viewOf(value.data) }), same),
    ),
    run: duplex(
      service.runExecutions,
      codec(
        wire.RunExecutionsRequest,
        (value) => ({ ...value, start: startToWire(value.start), brief: value.brief ?? false }),
        ({ brief, ...message }) => ({
          ...message,
          start: startFromWire(required(message.start, "start")),
          ...(brief ? { brief } : {}),
        }),
      ),
      codec(wire.RunExecutionsResponse, runResponseToWire, runResponseFromWire),
    ),
  },
};
