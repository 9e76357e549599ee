import type { Clock } from "../base/clock.ts";
import type { ClusterEvent, Severity } from "../transport/api/cluster.ts";

/** The closed list of what an engine tells the cluster's event stream, each kind with its one severity. */
export const ENGINE_EVENTS = {
  EngineStarted: "info",
  EngineDraining: "info",
  EngineStopped: "info",
  SessionOpened: "info",
  SessionLost: "error",
  StoreReplaced: "critical",
  ShardsAcquired: "info",
  ShardsReleased: "info",
  ShardFenced: "warning",
  ExecutionStarted: "debug",
  ExecutionEnded: "debug",
  ExecutionQuarantined: "critical",
  OutboxRefused: "warning",
  WorkerConnected: "info",
  WorkerReconnected: "info",
  WorkerDisconnected: "info",
  WorkerUnhealthy: "warning",
  WorkerRecovered: "info",
  WorkerDraining: "info",
  WorkerTerminated: "info",
  WorkerFailed: "error",
  JobLost: "warning",
  JobRejected: "warning",
  JobTimedOut: "warning",
  ResultStale: "warning",
  EphemeralWorkerCreated: "info",
  EphemeralWorkerFailed: "warning",
  WorkerShutdownRequested: "info",
  EphemeralWorkerDestroyed: "info",
  WorkerOrphanDeleted: "warning",
} as const satisfies Record<string, Severity>;

export type EngineEventKind = keyof typeof ENGINE_EVENTS;
type EventDetails = { executionId?: string; worker?: string; facts?: Record<string, string> };
export type Emit = (kind: EngineEventKind, message: string, details?: EventDetails) => void;

/** What one slow subscriber may hold; beyond it the oldest go and the next one delivered says how many. */
const RING_SIZE = 512;

/** Fan-out of events to any number of subscribers. Nothing is kept for those who come later. */
export type EventBus = {
  emit: Emit;
  listen(listener: (event: ClusterEvent) => void): () => void;
  /** Ends when the signal aborts. */
  subscribe(signal: AbortSignal): AsyncIterable<ClusterEvent>;
};

export function createEventBus(options: { engine: string; clock: Clock }): EventBus {
  const listeners = new Set<(event: ClusterEvent) => void>();
  const listen = (listener: (event: ClusterEvent) => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    emit(kind, message, details = {}) {
      const { facts = {}, ...about } = details;
      const atMs = options.clock.now();
      const severity = ENGINE_EVENTS[kind];
      const event = { atMs, kind, severity, message, engine: options.engine, ...about, facts, missed: 0 };
      for (const listener of listeners) listener(event);
    },
    listen,
    subscribe: (signal) => follow(listen, signal),
  };
}

async function* follow(
  listen: (listener: (event: ClusterEvent) => void) => () => void,
  signal: AbortSignal,
): AsyncGenerator<ClusterEvent> {
  const ring: ClusterEvent[] = [];
  let missed = 0;
  let wake: (() => void) | undefined;
  const stop = listen((event) => {
    if (ring.length >= RING_SIZE) {
      ring.shift();
      missed += 1;
    }
    ring.push(event);
    wake?.();
  });
  const aborted = (): void => wake?.();
  signal.addEventListener("abort", aborted);
  try {
    while (!signal.aborted) {
      const event = ring.shift();
      if (event) {
        const before = missed;
        missed = 0;
        yield { ...event, missed: before };
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  } finally {
    stop();
    signal.removeEventListener("abort", aborted);
  }
}
