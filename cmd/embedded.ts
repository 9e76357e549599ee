import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../base/clock.ts";
import { type Logger, silentLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { createEngine, type Engine } from "../engine/engine.ts";
import { ENGINE_METRICS } from "../engine/metrics.ts";
import { createOrchestrator as createFrontDoor } from "../orchestrator/orchestrator.ts";
import { createProcessPlatform } from "../platform/process.ts";
import { HodeiClient } from "../sdk/client.ts";
import { openSqliteStore } from "../store/sqlite/store.ts";
import { createStaticDiscovery } from "../transport/discovery/static.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";
import type { Server, Transport } from "../transport/transport.ts";
import { type Addresses, chooseAddresses, readAddresses, writeAddresses } from "./addresses.ts";
import { inheritedEnvironment } from "./config.ts";
import { createMetrics } from "./metrics.ts";
import { VERSION } from "./version.ts";
import { hostEvidence, localOffer } from "./host.ts";

export type EmbeddedOptions = {
  /** Where everything is kept; ":memory:" (default) keeps nothing. */
  data?: string;
  host?: string;
  /** Of the API. Default: what the data folder remembers, else a free one. */
  port?: number;
  /** Default 1. */
  engines?: number;
  /** Warm local worker processes. Default 1. */
  workers?: number;
  /** Ephemeral ones at once. Default 4. */
  ephemeral?: number;
  /** A module whose handlers the local workers offer. */
  handlersFile?: string;
  namespace?: string;
  /** Fixed at the first start of a data folder. Default 2048. */
  shards?: number;
  retentionMs?: number;
  loadBalancer?: "consistent-hash" | "round-robin";
  logger?: Logger;
};

/** A whole cluster inside one's own process: `const hodei = await createOrchestrator(); await hodei.client.execute(…); await hodei.stop()`. */
export type EmbeddedOrchestrator = {
  readonly client: HodeiClient;
  /** `host:port` of the API, for other processes. */
  readonly address: string;
  readonly engines: { name: string; address: string; pid: number }[];
  /** Finishes commits, lets running jobs end for `graceMs` (default 10 s), stops the workers. */
  stop(options?: { graceMs?: number }): Promise<void>;
};
