import type { Clock } from "../base/clock.ts";
import type { ClusterEvent, Severity } from "../transport/api/cluster.ts";
import { SEVERITIES } from "../transport/api/cluster.ts";
import { Pulse } from "./pulse.ts";

/** What an orchestrator reports of itself; the kinds engines report travel through unchanged. */
export const ORCHESTRATOR_EVENTS = {
  EngineJoined: "info",
  EngineLeft: "info",
  EngineUnreachable: "warning",
  /** Evidence of death: nothing listens at the advertised address. */
  EngineLost: "error",
  LeaderElected: "info",
  ShardsAssigned: "info",
  NoEngines: "critical",
  WorkflowRegistered: "info",
  WorkflowPromoted: "info",
  WorkflowDeleted: "info",
} as const satisfies Record<string, Severity>;
export type OrchestratorEventKind = keyof typeof ORCHESTRATOR_EVENTS;

/** Events that a subscriber may have waiting; beyond, the newest are counted as missed. */
export const SUBSCRIBER_BUFFER = 256;

type Subscriber = {
  wants: (event: ClusterEvent) => boolean;
  queue: ClusterEvent[];
  missed: number;
  pulse: Pulse;
};

/** Merges what the engines and this orchestrator report, for any number of subscribers of any speed. */
export class EventHub {
  readonly #clock: Clock;
  readonly #subscribers = new Set<Subscriber>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  emit(kind: OrchestratorEventKind, message: string, about: { engine?: string; facts?: Record<string, string> } = {}) {
    const severity = ORCHESTRATOR_EVENTS[kind];
    const event: ClusterEvent = {
      atMs: this.#clock.now(),
      kind,
      severity,
      message,
      facts: about.facts ?? {},
      missed: 0,
    };
    if (about.engine !== undefined) event.engine = about.engine;
    this.forward(event);
  }

  forward(event: ClusterEvent): void {
    for (const subscriber of this.#subscribers) {
      if (!subscriber.wants(event)) continue;
      if (subscriber.queue.length >= SUBSCRIBER_BUFFER) {
        subscriber.missed += 1 + event.missed;
        continue;
      }
      // Each subscriber has its own count of what it missed, on top of what the engine's stream had lost already.
      subscriber.queue.push({ ...event, missed: event.missed + subscriber.missed });
      subscriber.missed = 0;
      subscriber.pulse.wake();
    }
  }

  /** Live from now on, until the signal aborts. An empty `kinds` is all of them. */
  subscribe(
    filter: { minSeverity: Severity; kinds: readonly string[] },
    signal: AbortSignal,
  ): AsyncIterable<ClusterEvent> {
    const least = SEVERITIES.indexOf(filter.minSeverity);
    const subscriber: Subscriber = {
      wants: (event) =>
        SEVERITIES.indexOf(event.severity) >= least && (filter.kinds.length === 0 || filter.kinds.includes(event.kind)),
      queue: [],
      missed: 0,
      pulse: new Pulse(this.#clock),
    };
    // Subscribed here and not at the first read, so that what happens in between is not lost.
    this.#subscribers.add(subscriber);
    // A generator that is never read never reaches its `finally`: the signal lets go of it all the same.
    signal.addEventListener("abort", () => this.#subscribers.delete(subscriber), { once: true });
    return this.#read(subscriber, signal);
  }

  async *#read(subscriber: Subscriber, signal: AbortSignal): AsyncGenerator<ClusterEvent> {
    try {
      while (!signal.aborted) {
        const event = subscriber.queue.shift();
        if (event) yield event;
        else await subscriber.pulse.wait(IDLE_MS, signal);
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }
}

/** How long a subscriber sleeps when nothing happens; only a bound, the pulse wakes it. */
const IDLE_MS = 60_000;
