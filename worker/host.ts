import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { hostIdentity, type HostIdentity } from "../base/process.ts";
import type { Resources } from "../workflow/requirement.ts";
import { machineResources } from "./capabilities.ts";
import { type Result, Spool } from "./spool.ts";
import { UsageMeter } from "./usage.ts";
import { Workspaces } from "./workspaces.ts";

/**
 * What a worker has of its machine: facts about it, and a disk. In one place because the simulator gives workers another
 * machine, whose disk survives them or not as a seed decides.
 */
export type WorkerHost = {
  identity(): HostIdentity;
  /** Before anything is read or written. */
  prepare(): Promise<void>;
  resources(): Promise<Resources>;
  meter(cpuMillis: number): Meter;
  spool: ResultSpool;
  workspaces: WorkspaceFolders;
  /** An ephemeral worker leaves nothing behind. */
  removeWorkspaces(): Promise<void>;
};

export type Meter = Pick<UsageMeter, "sample">;
export type ResultSpool = {
  /** What an earlier life of this worker left. */
  open(): Promise<Result[]>;
  /** Resolves when the result would survive a power failure. */
  write(result: Result): Promise<void>;
  remove(of: { jobId: string; token: string }): Promise<void>;
};
export type WorkspaceFolders = Pick<Workspaces, "open" | "keys" | "has" | "enter" | "leave" | "release">;

/** The machine that this process runs on, and a folder of its own there. */
export function thisHost(directory: string, clock: Clock): WorkerHost {
  return {
    identity: hostIdentity,
    prepare: async () => void (await mkdir(join(directory, "jobs"), { recursive: true })),
    resources: () => machineResources(directory),
    meter: (cpuMillis) => new UsageMeter(clock, cpuMillis),
    spool: new Spool(join(directory, "spool")),
    workspaces: new Workspaces(join(directory, "workspaces")),
    removeWorkspaces: () => rm(join(directory, "workspaces"), { recursive: true, force: true, maxRetries: 3 }),
  };
}
