import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdir, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import type { Logger } from "../base/log.ts";
import { isSystemError } from "../base/process.ts";

/** Command → its label and how to ask its version. `java -version` and others answer on stderr. */
const TOOLS: Record<string, { label: string; args: string[] }> = {
  node: { label: "node", args: ["--version"] },
  npm: { label: "npm", args: ["--version"] },
  pnpm: { label: "pnpm", args: ["--version"] },
  yarn: { label: "yarn", args: ["--version"] },
  git: { label: "git", args: ["--version"] },
  docker: { label: "docker", args: ["--version"] },
  python3: { label: "python", args: ["--version"] },
  java: { label: "java", args: ["-version"] },
  mvn: { label: "maven", args: ["--version"] },
  gradle: { label: "gradle", args: ["--version"] },
  go: { label: "go", args: ["version"] },
  cargo: { label: "cargo", args: ["--version"] },
  rustc: { label: "rust", args: ["--version"] },
  gcc: { label: "gcc", args: ["-dumpfullversion"] },
  make: { label: "make", args: ["--version"] },
  bash: { label: "bash", args: ["--version"] },
  kubectl: { label: "kubectl", args: ["version", "--client"] },
  helm: { label: "helm", args: ["version", "--short"] },
};

/** A tool that does not answer in time is offered without a version. */
const PROBE_MS = 5_000;
const DOCKER_SOCKET = "/var/run/docker.sock";

/** Label → version, or undefined while it is not known. */
export type Tools = Record<string, string | undefined>;

/** `version`: known without asking, because it is the Node that we run on. */
type Place = { path: string; key: string; version?: string };
type Cache = Record<string, { version: string | null }>;

/**
 * The tools that steps would find on PATH. Which there are is known after a few stat calls; asking all of them for their
 * version costs up to a second of CPU (java, npm, gradle), so versions come from a file, keyed by path, size and change time.
 * `probe` asks those that the file does not know and remembers them: for the next start, and for this one's second hello.
 */
export async function findTools(options: {
  env: Record<string, string>;
  cacheFile: string;
  logger: Logger;
}): Promise<{ tools: Tools; probe: (signal: AbortSignal) => Promise<Tools> }> {
  const cache = await readCache(options.cacheFile, options.logger);
  const names = Object.keys(TOOLS);
  const places = await Promise.all(names.map((name) => placeOf(name, options.env)));
  for (const place of places) if (place?.version) cache[place.key] = { version: place.version };
  const found = names.flatMap((name, index) => {
    const place = places[index];
    return place ? [{ name, ...place }] : [];
  });
  const known = (): Tools =>
    Object.fromEntries(found.map(({ name, key }) => [TOOLS[name]?.label ?? name, cache[key]?.version ?? undefined]));
  const probe = async (signal: AbortSignal): Promise<Tools> => {
    // Another worker may have asked meanwhile.
    Object.assign(cache, await readCache(options.cacheFile, options.logger));
    const missing = found.filter(({ key }) => !cache[key]);
    if (missing.length === 0) return known();
    const versions = await Promise.all(missing.map(({ name, path }) => versionOf(name, path, options.env, signal)));
    if (signal.aborted) return known();
    for (const [index, { key }] of missing.entries()) cache[key] = { version: versions[index] ?? null };
    await writeCache(options.cacheFile, cache, options.logger);
    return known();
  };
  return { tools: known(), probe };
}

/** Where versions are remembered: once for a user, since the keys tell one machine's tools from another's. */
export function usualToolsFile(env: Record<string, string>, otherwise: string): string {
  const cache = env["XDG_CACHE_HOME"] ?? (env["HOME"] ? join(env["HOME"], ".cache") : otherwise);
  return join(cache, "hodei", "tools.json");
}

/** Its labels: the name, and name@version when known. */
export function toolLabels(tools: Tools): string[] {
  return Object.entries(tools).flatMap(([label, version]) =>
    version === undefined ? [label] : [label, `${label}@${version}`],
  );
}

async function placeOf(name: string, env: Record<string, string>): Promise<Place | undefined> {
  // The client alone runs nothing: docker counts where its daemon can be reached.
  if (name === "docker" && !env["DOCKER_HOST"] && !(await may(DOCKER_SOCKET, constants.W_OK))) return undefined;
  for (const folder of (env["PATH"] ?? "").split(delimiter)) {
    if (folder === "") continue;
    const path = join(folder, name);
    if (!(await may(path, constants.X_OK))) continue;
    const { size, mtimeMs } = await stat(path);
    const own = name === "node" && (await realpath(path)) === (await realpath(process.execPath));
    return { path, key: `${path} ${size} ${Math.round(mtimeMs)}`, ...(own ? { version: process.versions.node } : {}) };
  }
  return undefined;
}

async function may(path: string, mode: number): Promise<boolean> {
  try {
    await access(path, mode);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error) return false; // whatever the reason: a step could not use it either
    throw error;
  }
}

function versionOf(
  name: string,
  path: string,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const options = { env, timeout: PROBE_MS, killSignal: "SIGKILL" as const, maxBuffer: 64 * 1024, signal };
  return new Promise((resolve) => {
    execFile(path, TOOLS[name]?.args ?? ["--version"], options, (error, stdout, stderr) => {
      // "openjdk version "17.0.2"", "git version 2.39.5", "go version go1.22.1": the first number with a dot.
      const found = /(\d+\.\d+(?:\.\d+)?)/.exec(`${stdout}\n${stderr}`)?.[1];
      resolve(error ? undefined : semverOf(found));
    });
  });
}

/** "3.11" counts as 3.11.0: ranges compare three numbers. Leading zeros (docker 24.05) are no semver. */
function semverOf(found: string | undefined): string | undefined {
  if (found === undefined) return undefined;
  const [major = "0", minor = "0", patch = "0"] = found.split(".");
  return `${Number(major)}.${Number(minor)}.${Number(patch)}`;
}

async function readCache(file: string, logger: Logger): Promise<Cache> {
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    return typeof value === "object" && value !== null ? (value as Cache) : {};
  } catch (error) {
    // Only a saving: a cache that is missing or torn is made anew.
    if (!isSystemError(error, "ENOENT")) logger.warn({ error, file }, "tool versions could not be read");
    return {};
  }
}

async function writeCache(file: string, cache: Cache, logger: Logger): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    // Several workers of a host share the file: each writes its own and renames it whole, the last one stands.
    const fresh = `${file}.${process.pid}`;
    await writeFile(fresh, JSON.stringify(cache));
    await rename(fresh, file);
  } catch (error) {
    logger.warn({ error, file }, "tool versions could not be written");
  }
}
