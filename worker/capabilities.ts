import { readdir, statfs } from "node:fs/promises";
import { arch, availableParallelism, platform, totalmem } from "node:os";
import { isSystemError } from "../base/process.ts";
import { widenLabels } from "../workflow/label.ts";
import type { Offer, Resources } from "../workflow/requirement.ts";
import type { WorkerOptions } from "./options.ts";
import { toolLabels } from "./tools.ts";
import type { Tools } from "./tools.ts";

/** Node's names of architectures, and those that container images use. */
const ARCH_LABELS: Record<string, string[]> = { x64: ["x64", "amd64"], arm64: ["arm64", "aarch64"] };

/** What the machine has; limits of our control group count, since no step gets more. Read once at start. */
export async function machineResources(directory: string): Promise<Resources> {
  const [gpu, storageBytes] = await Promise.all([countGpus(), freeBytes(directory)]);
  // Huge (2^63 and the like) where the group has no limit.
  const limit = process.constrainedMemory();
  const memoryBytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  return { cpuMillis: availableParallelism() * 1000, memoryBytes, gpu, storageBytes };
}

/** What was given wins over what was found; label lists are joined, and seed-style labels say all they mean. */
export function offerOf(
  options: Pick<WorkerOptions, "offer" | "handlers" | "ephemeral">,
  machine: Resources,
  tools: Tools,
): Offer {
  const given = options.offer ?? {};
  const found = [platform(), ...(ARCH_LABELS[arch()] ?? [arch()]), ...toolLabels(tools)];
  return {
    services: [],
    hardware: {},
    models: {},
    custom: {},
    namespace: "default",
    ...given,
    labels: widenLabels([...found, ...(given.labels ?? [])]),
    handlers: [...(options.handlers?.keys() ?? [])].toSorted(),
    ephemeral: options.ephemeral ?? false,
    total: { ...machine, ...given.total },
  };
}

async function countGpus(): Promise<number> {
  const devices = await readdir("/dev").catch((error: unknown) => {
    if (isSystemError(error, "ENOENT", "EACCES")) return [];
    throw error;
  });
  return devices.filter((name) => /^nvidia\d+$/.test(name)).length;
}

async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
