import type {
  Engine as WireEngine,
  Event as WireEvent,
  Worker as WireWorker,
} from "../../../proto/gen/hodei/v1/cluster.ts";
import { EngineState, Severity as WireSeverity, WorkerState } from "../../../proto/gen/hodei/v1/cluster.ts";
import type { ClusterEvent, EngineView, WorkerView } from "../../api/cluster.ts";
import { enumeration } from "./codec.ts";

/** What the cluster service and the engine service both show. */

const engineState = enumeration("engine.state", {
  ready: EngineState.READY,
  draining: EngineState.DRAINING,
  unreachable: EngineState.UNREACHABLE,
});

const workerState = enumeration("worker.state", {
  creating: WorkerState.CREATING,
  registering: WorkerState.REGISTERING,
  available: WorkerState.AVAILABLE,
  running: WorkerState.RUNNING,
  unhealthy: WorkerState.UNHEALTHY,
  draining: WorkerState.DRAINING,
  terminated: WorkerState.TERMINATED,
  failed: WorkerState.FAILED,
});

export const severity = enumeration("severity", {
  debug: WireSeverity.DEBUG,
  info: WireSeverity.INFO,
  warning: WireSeverity.WARNING,
  error: WireSeverity.ERROR,
  critical: WireSeverity.CRITICAL,
});

export function engineToWire(engine: EngineView): WireEngine {
  return { ...engine, state: engineState.toWire(engine.state) };
}

export function engineFromWire(wire: WireEngine): EngineView {
  return { ...wire, state: engineState.fromWire(wire.state) };
}

export function workerToWire(worker: WorkerView): WireWorker {
  return { ...worker, state: workerState.toWire(worker.state) };
}

export function workerFromWire(wire: WireWorker): WorkerView {
  return { ...wire, state: workerState.fromWire(wire.state) };
}

export function eventToWire(event: ClusterEvent): WireEvent {
  return { ...event, severity: severity.toWire(event.severity) };
}

export function eventFromWire(wire: WireEvent): ClusterEvent {
  return { ...wire, severity: severity.fromWire(wire.severity) };
}
