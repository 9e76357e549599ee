import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
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
  const port = async (wished: number | undefined, known: string | undefined, usual = 0): Promise<string> => {
    if (wished !== undefined && wished !== 0) return `${host}:${wished}`;
    // 0 means "any", and the one it had is as good as another.
    if (known !== undefined) return known;
    return `${host}:${wished === undefined && usual !== 0 ? usual : await freePort(host)}`;
  };
  const engines: Record<string, string> = {};
  for (const name of wishes.engines) engines[name] = await port(undefined, kept?.engines[name]);
  return {
    api: await port(wishes.apiPort, kept?.api, wishes.usualPort),
    http: await port(wishes.httpPort, kept?.http),
    engines,
  };
}

/** A port that was free a moment ago; whoever takes it first is told ADDRESS_IN_USE by the server that binds it. */
function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error) =>
      reject(
        new HodeiError("INVALID_ARGUMENT", `cannot listen on ${host}: ${error.message}`, {
          field: "host",
          cause: error,
        }),
      ),
    );
    probe.listen(0, host, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
