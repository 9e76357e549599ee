import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isSystemError } from "../base/process.ts";

/**
 * How many processes the kernel has killed for memory in this process's control group, or undefined where that cannot be
 * told. SIGKILL alone proves nothing: a person may have sent it. Only a count that rose during the step does.
 */
export async function oomKills(): Promise<number | undefined> {
  const groups = (await textOf("/proc/self/cgroup")) ?? "";
  const unified = /^0::(.*)$/m.exec(groups)?.[1];
  const version1 = /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m.exec(groups)?.[1];
  // In a container the path of /proc/self/cgroup is the host's while the mount shows our own group at its root: try both.
  const candidates = [
    ...(unified === undefined
      ? []
      : [join("/sys/fs/cgroup", unified, "memory.events"), "/sys/fs/cgroup/memory.events"]),
    ...(version1 === undefined
      ? []
      : [join("/sys/fs/cgroup/memory", version1, "memory.oom_control"), "/sys/fs/cgroup/memory/memory.oom_control"]),
  ];
  for (const path of candidates) {
    const count = /^oom_kill (\d+)$/m.exec((await textOf(path)) ?? "")?.[1];
    if (count !== undefined) return Number(count);
  }
  return undefined;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isSystemError(error, "ENOENT", "EACCES", "EPERM", "ENOTDIR", "ENODEV")) return undefined;
    throw error;
  }
}
