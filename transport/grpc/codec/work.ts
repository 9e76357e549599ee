import type {
  Failure as WireFailure,
  Outcome as WireOutcome,
  Work as WireWork,
} from "../../../proto/gen/hodei/v1/job.ts";
import { FailureClass, Priority, Shell, TimeoutKind } from "../../../proto/gen/hodei/v1/job.ts";
import { unreachable } from "../../../workflow/errors.ts";
import type { Failure, Outcome, Work } from "../../../workflow/job.ts";
import { enumeration, parseJson, parseJsonObject, required } from "./codec.ts";

export const priority = enumeration("priority", {
  low: Priority.LOW,
  normal: Priority.NORMAL,
  high: Priority.HIGH,
});

const shell = enumeration("work.shell", { sh: Shell.SH, bash: Shell.BASH });

const failureClass = enumeration("failure.class", {
  user: FailureClass.USER,
  timeout: FailureClass.TIMEOUT,
  resource: FailureClass.RESOURCE,
  config: FailureClass.CONFIG,
  infrastructure: FailureClass.INFRASTRUCTURE,
});

const timeout = enumeration("outcome.timeout", {
  queue: TimeoutKind.QUEUE,
  start: TimeoutKind.START,
  run: TimeoutKind.RUN,
  total: TimeoutKind.TOTAL,
});

export function workToWire(work: Work): WireWork {
  switch (work.kind) {
    case "run": {
      const { kind, ...script } = work;
      return { kind: { $case: kind, value: { ...script, shell: shell.toWire(work.shell) } } };
    }
    case "task": {
      const { handler, input, env } = work;
      return { kind: { $case: "task", value: { handler, inputJson: JSON.stringify(input), env } } };
    }
    default:
      return unreachable(work);
  }
}

export function workFromWire(wire: WireWork): Work {
  const kind = required(wire.kind, "work.kind");
  switch (kind.$case) {
    case "run":
      return { kind: "run", ...kind.value, shell: shell.fromWire(kind.value.shell) };
    case "task": {
      const { handler, inputJson, env } = kind.value;
      return { kind: "task", handler, input: parseJson(inputJson, "work.task.inputJson"), env };
    }
    default:
      return unreachable(kind);
  }
}

export function outcomeToWire(outcome: Outcome): WireOutcome {
  switch (outcome.kind) {
    case "succeeded":
      return { kind: { $case: "succeeded", value: { outputsJson: JSON.stringify(outcome.outputs) } } };
    case "failed":
      return { kind: { $case: "failed", value: failureToWire(outcome.failure) } };
    case "rejected":
      return { kind: { $case: "rejected", value: { reason: outcome.reason } } };
    case "timeout":
      return { kind: { $case: "timeout", value: { timeout: timeout.toWire(outcome.timeout) } } };
    case "lost":
      return { kind: { $case: "lost", value: { reason: outcome.reason } } };
    case "cancelled":
      return { kind: { $case: "cancelled", value: {} } };
    default:
      return unreachable(outcome);
  }
}

export function outcomeFromWire(wire: WireOutcome): Outcome {
  const kind = required(wire.kind, "outcome.kind");
  switch (kind.$case) {
    case "succeeded":
      return { kind: "succeeded", outputs: parseJsonObject(kind.value.outputsJson, "outcome.succeeded.outputsJson") };
    case "failed":
      return { kind: "failed", failure: failureFromWire(kind.value) };
    case "rejected":
      return { kind: "rejected", reason: kind.value.reason };
    case "timeout":
      return { kind: "timeout", timeout: timeout.fromWire(kind.value.timeout) };
    case "lost":
      return { kind: "lost", reason: kind.value.reason };
    case "cancelled":
      return { kind: "cancelled" };
    default:
      return unreachable(kind);
  }
}

function failureToWire(failure: Failure): WireFailure {
  return { ...failure, class: failureClass.toWire(failure.class) };
}

function failureFromWire(wire: WireFailure): Failure {
  return { ...wire, class: failureClass.fromWire(wire.class) };
}
