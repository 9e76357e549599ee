import type { Fence, Store, TurnRequest } from "../../../store/store.ts";
import type { HistoryEvent } from "../../../workflow/event.ts";
import type { Channel } from "../../../transport/transport.ts";
import type { NodeSeen, Plant, Ports } from "../run.ts";

/** A bug in what every engine does with the store. */
export function inEngines(change: (store: Store, ports: Ports, node: NodeSeen) => Partial<Store>): Plant["node"] {
  return (ports, node) => {
    if (node.role !== "engine") return ports;
    return { ...ports, store: { ...ports.store, ...change(ports.store, ports, node) } };
  };
}

/** A bug in the turns that every engine commits. */
export function inTurns(change: (request: TurnRequest) => TurnRequest): Plant["node"] {
  return inEngines((store) => ({ turn: async (request) => await store.turn(change(request)) }));
}

/** A bug in the store itself. */
export function inStore(change: (store: Store) => Partial<Store>): Plant["store"] {
  return (store) => ({ ...store, ...change(store) });
}

/** A bug in what orchestrators say to others. */
export function inOrchestratorCalls(change: (channel: Channel, ports: Ports) => Partial<Channel>): Plant["node"] {
  return (ports, node) => {
    if (node.role !== "orchestrator") return ports;
    const connect: Ports["transport"]["connect"] = (options) => {
      const channel = ports.transport.connect(options);
      return over(channel, change(channel, ports));
    };
    return { ...ports, transport: over(ports.transport, { connect }) };
  };
}

/** The same object but for what `changes` has. */
function over<T extends object>(whole: T, changes: Partial<T>): T {
  return new Proxy(whole, {
    get(target, key) {
      const value: unknown = Reflect.get(key in changes ? changes : target, key);
      return typeof value === "function" ? (...args: unknown[]): unknown => Reflect.apply(value, target, args) : value;
    },
  });
}

/** Who owns each shard, as the store has granted it. */
export function newestFences(store: Store): {
  of(shard: number): Fence | undefined;
  grant: Pick<Store, "acquireShards">;
} {
  const fences = new Map<number, Fence>();
  return {
    of: (shard) => fences.get(shard),
    grant: {
      acquireShards: async (request) => {
        const answer = await store.acquireShards(request);
        if ("acquired" in answer) for (const fence of answer.acquired) fences.set(fence.shard, fence);
        return answer;
      },
    },
  };
}

export function eventsOf(request: TurnRequest): HistoryEvent[] {
  return request.events.map((text) => JSON.parse(text) as HistoryEvent);
}

/** What a careless process does without waiting for its end: whether it fails is part of the bug. */
export function unheard(doing: Promise<unknown>): void {
  doing.catch(() => undefined);
}
