import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { isSystemError } from "../base/process.ts";
import { systemRandom } from "../base/random.ts";
import { HodeiError } from "../workflow/errors.ts";

/**
 * The addresses of an embedded cluster, kept in its data folder and bound again at the next start, so that workers that
 * outlived it find their way back.
 */
export type Addresses = { api: string; http: string; engines: Record<string, string> };

const FILE = "addresses.json";

export function readAddresses(directory: string): Addresses | undefined {
  const path = join(directory, FILE);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (!isAddresses(parsed)) throw new TypeError("api, http and engines are texts, host:port");
    return parsed;
  } catch (error) {
    throw new HodeiError("DATA_CORRUPT", `${path} is not a list of addresses`, {
      hint: "Delete the file: new addresses are chosen at the next start.",
      cause: error,
    });
  }
}

/** By hand: a schema library for these three fields cost 80 ms of every start and 18 MiB. */
function isAddresses(value: unknown): value is Addresses {
  if (typeof value !== "object" || value === null || !("api" in value && "http" in value && "engines" in value))
    return false;
  const { api, http, engines } = value;
  if (typeof engines !== "object" || engines === null || Array.isArray(engines)) return false;
  return [api, http, ...Object.values(engines)].every((address) => typeof address === "string");
}

/** Whole or not at all: a crash in the middle leaves the older file. */
export function writeAddresses(directory: string, addresses: Addresses): void {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, FILE);
  writeFileSync(`${path}.new`, `${JSON.stringify(addresses, undefined, 2)}\n`);
  renameSync(`${path}.new`, path);
}

/** What was kept, with the gaps filled by free ports and the wishes put first. */
export async function chooseAddresses(
  kept: Addresses | undefined,
  wishes: {
    host: string;
    apiPort: number | undefined;
    usualPort?: number;
    httpPort: number | undefined;
    engines: readonly string[];
  },
): Promise<Addresses> {
  const { host } = wishes;
  const taken = new Set<number>();
  const free = async (): Promise<number> => {
    const found = await freePort(host, taken);
    taken.add(found);
    return found;
  };
  const port = async (wished: number | undefined, known: string | undefined, usual = 0): Promise<string> => {
    if (wished !== undefined && wished !== 0) return `${host}:${wished}`;
    // 0 means "any", and the one it had is as good as another.
    if (known !== undefined) return known;
    return `${host}:${wished === undefined && usual !== 0 ? usual : await free()}`;
  };
  const engines: Record<string, string> = {};
  for (const name of wishes.engines) engines[name] = await port(undefined, kept?.engines[name]);
  return {
    api: await port(wishes.apiPort, kept?.api, wishes.usualPort),
    http: await port(wishes.httpPort, kept?.http),
    engines,
  };
}

/**
 * Below 32768, from where most systems take the ports of outgoing connections: one of those could hold a remembered port
 * just when the cluster comes back to it, and a worker that dials its absent engine could even be given that very port and
 * reach itself.
 */
const OWN_PORTS = { from: 20_000, count: 12_000, tries: 20 };

/** A port that was free a moment ago; whoever takes it first is told ADDRESS_IN_USE by the server that binds it. */
async function freePort(host: string, taken: ReadonlySet<number>): Promise<number> {
  for (let tries = 0; tries < OWN_PORTS.tries; tries += 1) {
    const port = OWN_PORTS.from + Math.floor(systemRandom.float() * OWN_PORTS.count);
    if (!taken.has(port) && (await probe(host, port)) !== undefined) return port;
  }
  const any = await probe(host, 0);
  if (any !== undefined) return any;
  throw new HodeiError("RESOURCE_EXHAUSTED", `no free port on ${host}`, { field: "host" });
}

/** The port, if it can be listened on now. */
function probe(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if (isSystemError(error, "EADDRINUSE", "EACCES")) return resolve(undefined);
      reject(
        new HodeiError("INVALID_ARGUMENT", `cannot listen on ${host}: ${error.message}`, {
          field: "host",
          cause: error,
        }),
      );
    });
    server.listen(port, host, () => {
      const bound = (server.address() as AddressInfo).port;
      server.close(() => resolve(bound));
    });
  });
}
