import type { HostIdentity } from "../../base/process.ts";
import type { WorkerHost } from "../../worker/host.ts";
import type { Result } from "../../worker/spool.ts";
import type { Resources } from "../../workflow/requirement.ts";
import type { Life } from "./life.ts";

/** What is on a worker's disk: it outlives the worker, unless the seed takes it away with it. */
export class WorkerDisk {
  readonly results = new Map<string, string>();
  readonly workspaces = new Set<string>();
}

/** How long a write takes until it is safe. A worker that dies meanwhile has not written. */
const WRITE_MS = { from: 0.1, to: 8 };

export const GIB = 1024 ** 3;

/** The machine of one life of a worker. */
export function simulatedHost(life: Life, disk: WorkerDisk, identity: HostIdentity, resources: Resources): WorkerHost {
  const written = async (): Promise<void> =>
    await life.clock.sleep(WRITE_MS.from + life.random.float() * (WRITE_MS.to - WRITE_MS.from));
  return {
    identity: () => identity,
    prepare: written,
    resources: async () => resources,
    meter: () => ({ sample: () => ({ cpuPercent: Math.floor(life.random.float() * 100), memoryBytes: GIB }) }),
    spool: {
      open: async () => [...disk.results.values()].map((text) => JSON.parse(text) as Result),
      async write(result) {
        await written();
        disk.results.set(keyOf(result), JSON.stringify(result));
      },
      async remove(of) {
        if (!disk.results.has(keyOf(of))) return;
        await written();
        disk.results.delete(keyOf(of));
      },
    },
    workspaces: {
      open: async () => undefined,
      get keys() {
        return [...disk.workspaces];
      },
      has: (key) => disk.workspaces.has(key),
      async enter(key) {
        disk.workspaces.add(key);
        return key;
      },
      leave: async () => undefined,
      release: async (key) => void disk.workspaces.delete(key),
    },
    removeWorkspaces: async () => disk.workspaces.clear(),
  };
}

function keyOf(of: { jobId: string; token: string }): string {
  return `${of.jobId} ${of.token}`;
}
