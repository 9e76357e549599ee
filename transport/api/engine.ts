import type { ParentRef } from "../../workflow/execution.ts";
import type { ServerStream, Unary } from "../transport.ts";
import type { ClusterEvent, EngineView, WorkerView } from "./cluster.ts";
import type { TemplateView } from "./template.ts";

/** Orchestrator → engine. NOT_OWNER (facts.owner when known) when the shard is another's. */
export type EngineApi = {
  /** The pinned, locked start; answered after the commit. */
  start: Unary<EngineStartRequest, { uid: string; created: boolean; version: string; digest: string }>;
  /** A message (workflow/message.ts, JSON text) for an execution; answered after the commit that folded it. */
  deliver: Unary<{ namespace: string; id: string; messageJson: string }, { revision: number }>;
  status: Unary<Record<string, never>, { engine: EngineView; workers: WorkerView[] }>;
  drain: Unary<Record<string, never>, Record<string, never>>;
  drainWorker: Unary<{ id: string }, Record<string, never>>;
  events: ServerStream<Record<string, never>, ClusterEvent>;
  /** Which shards this engine should own from now on; `generation` only rises. */
  assign: Unary<{ generation: number; shards: number[] }, { owned: number[] }>;
  /** What it makes workers from; none when it makes none. */
  templates: Unary<Record<string, never>, { templates: TemplateView[] }>;
};

export type EngineStartRequest = {
  namespace: string;
  id: string;
  uid: string;
  workflow: string;
  version: string;
  digest: string;
  requestDigest: string;
  /** Lock (workflow/definition.ts) as JSON text. */
  lockJson: string;
  /** digest → normal form as JSON text, of everything locked. */
  definitions: Record<string, string>;
  inputJson: string;
  labels: Record<string, string>;
  priority?: "low" | "normal" | "high";
  parent?: ParentRef;
  runNumber: number;
};

/** Engine → orchestrator, for children: the same door as a client's, with a parent. */
export type ChildGateway = {
  /** Throws a HodeiError that is final (refused) or UNAVAILABLE (try again). */
  startChild(request: {
    namespace: string;
    id: string;
    workflow: string;
    version: string;
    digest: string;
    inputJson: string;
    parent: ParentRef;
  }): Promise<void>;
  deliver(request: { namespace: string; id: string; messageJson: string }): Promise<void>;
};
