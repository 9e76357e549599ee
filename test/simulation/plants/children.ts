import type { EngineStartRequest } from "../../../transport/api/engine.ts";
import type { Channel } from "../../../transport/transport.ts";
import type { Plant } from "../run.ts";
import { inOrchestratorCalls, unheard } from "./plant.ts";

type Call = (this: void, service: string, method: string, request: unknown, options?: unknown) => Promise<unknown>;

/** What an orchestrator does with the start of a child, in place of sending it on. */
function atChildStarts(
  change: (request: EngineStartRequest, send: (request: EngineStartRequest) => Promise<unknown>) => Promise<unknown>,
): Plant["node"] {
  return inOrchestratorCalls((channel) => {
    const real: Call = (...args) => Reflect.apply(Reflect.get(channel, "call"), channel, args) as Promise<unknown>;
    const call: Call = async (service, method, request, options) => {
      const isStart = service === "engine" && method === "start";
      if (!isStart) return await real(service, method, request, options);
      return await change(request as EngineStartRequest, (changed) => real(service, method, changed, options));
    };
    return { call: call as Channel["call"] };
  });
}

/** Bugs between parents, children and versions. */
export const CHILD_BUGS: readonly Plant[] = [
  {
    name: "a child is started twice",
    node: atChildStarts(async (request, send) => {
      const answer = await send(request);
      if (request.parent) await send({ ...request, id: `${request.id}-again`, uid: `${request.uid}-again` });
      return answer;
    }),
  },
  {
    name: "a cancel overtakes the start of its child",
    node: (ports, node) => {
      const late = atChildStarts(async (request, send) => {
        if (!request.parent) return await send(request);
        unheard(ports.clock.sleep(3_000).then(() => send(request)));
        const { uid, version, digest } = request;
        return { uid, created: true, version, digest };
      });
      return late?.(ports, node) ?? ports;
    },
  },
  {
    name: "a child runs the newest version, not the one that was locked",
    node: (ports, node) => {
      const newest = new Map<string, EngineStartRequest>();
      const changed = atChildStarts(async (request, send) => {
        const lockedTo = JSON.stringify(request.definitions);
        const known = newest.get(request.workflow);
        if (!request.parent || !known || lockedTo.includes(known.digest)) {
          if (!known || known.version < request.version) newest.set(request.workflow, request);
          return await send(request);
        }
        const { version, digest, lockJson, definitions } = known;
        return await send({ ...request, version, digest, lockJson, definitions });
      });
      return changed?.(ports, node) ?? ports;
    },
  },
];
