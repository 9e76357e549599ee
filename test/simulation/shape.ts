import type { Random } from "../../base/random.ts";
import type { Resources } from "../../workflow/requirement.ts";
import { GIB } from "./disk.ts";
import type { Skew } from "./life.ts";
import { between, chance, pick } from "./random.ts";

/** How large the cluster of a seed is, and how wrong its clocks are. */
export type Shape = {
  orchestrators: number;
  engines: number;
  workers: WorkerShape[];
  shards: number;
  loadBalancer: "consistent-hash" | "round-robin";
  /** Nodes are spread over so many hosts: only on the same host does a process table prove a death. */
  hosts: number;
  /** Wall clocks are wrong by up to so much, and gain or lose up to this share. */
  skewMs: number;
  drift: number;
  /** Engines make workers of their own. */
  fleet?: FleetShape;
};

export type FleetShape = {
  warm: number;
  maxEphemeral: number;
  extras: "ephemeral" | "warm";
  slots: number;
  labels: string[];
};

export type WorkerShape = {
  slots: number;
  labels: string[];
  resources: Resources;
  ephemeral?: boolean;
  requestId?: string;
};

export function drawShape(random: Random): Shape {
  return {
    orchestrators: between(random, 1, 2),
    engines: between(random, 1, 4),
    workers: Array.from({ length: between(random, 1, 5) }, (_, at) => drawWorker(random, at)),
    shards: pick(random, [4, 8, 16]),
    loadBalancer: chance(random, 0.2) ? "round-robin" : "consistent-hash",
    hosts: between(random, 1, 4),
    skewMs: pick(random, [0, 50, 5_000, 3_600_000]),
    drift: pick(random, [0, 0.001, 0.02]),
    ...(chance(random, 0.4) ? { fleet: drawFleet(random) } : {}),
  };
}

export function drawSkew(random: Random, { skewMs, drift }: Shape): Skew {
  const swing = (): number => random.float() * 2 - 1;
  return { rate: 1 + swing() * drift, aheadMs: Math.floor(swing() * skewMs) };
}

function drawFleet(random: Random): FleetShape {
  return {
    warm: between(random, 0, 1),
    maxEphemeral: between(random, 1, 3),
    extras: chance(random, 0.7) ? "ephemeral" : "warm",
    slots: between(random, 1, 3),
    labels: ["linux", "big"],
  };
}

/** The first one can run whatever a workload asks for, apart from what none can. */
function drawWorker(random: Random, at: number): WorkerShape {
  const big = at === 0 || chance(random, 0.3);
  return {
    slots: between(random, 1, 5),
    labels: ["linux", ...(big ? ["big"] : ["small"])],
    resources: { cpuMillis: 64_000, memoryBytes: 256 * GIB, gpu: 0, storageBytes: 256 * GIB },
  };
}
