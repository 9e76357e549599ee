import { homedir } from "node:os";
import { join } from "node:path";
import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { systemClock } from "../base/clock.ts";
import { silentLogger } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { HodeiClient } from "../sdk/client.ts";
import { HodeiError } from "../workflow/errors.ts";
import { checkedAddress, type Config, loadConfig } from "./config.ts";
import { UsageError } from "./exit.ts";
import { type Format, formatOf } from "./output.ts";

/** What a client command needs; made from flags > environment > file, in that order. */
export type Session = { client: HodeiClient; format: Format; now: () => number; freshId: () => string };

export type GlobalFlags = { address?: string; output?: string; tokenFile?: string; config?: string };

/** Where nothing listens nobody is about to: long enough for a cluster that is just starting beside us. */
const REFUSED_MS = 1_000;

/** Runs a client command and closes its connections, whatever happens. */
export async function withClient(command: Command, run: (session: Session) => Promise<void>): Promise<void> {
  const flags = command.optsWithGlobals<GlobalFlags>();
  const config = loadConfig();
  const file = settingsFile(flags.config);
  const { createGrpcTransport } = await import("../transport/grpc/transport.ts");
  const client = new HodeiClient({
    addresses: addressesOf(flags, config, file),
    transport: createGrpcTransport({ clock: systemClock, logger: silentLogger, tls: tlsFiles(config) }),
    clock: systemClock,
    random: systemRandom,
    token: tokenOf(flags.tokenFile ?? config.tokenFile),
    refusedMs: REFUSED_MS,
  });
  try {
    await run({
      client,
      format: formatOf(flags.output ?? file.output),
      now: () => systemClock.now(),
      freshId: () => systemRandom.id(),
    });
  } finally {
    await client.close();
  }
}

type Settings = { address?: string; output?: string };

/** `--config FILE`, else ~/.config/hodei/config.yaml when there is one: `address:` and `output:`. */
function settingsFile(path: string | undefined): Settings {
  const chosen = path ?? join(homedir(), ".config", "hodei", "config.yaml");
  if (path === undefined && !existsSync(chosen)) return {};
  try {
    const read: unknown = parse(readFileSync(chosen, "utf8"));
    if (typeof read !== "object" || read === null) return {};
    const { address, output } = read as Record<string, unknown>;
    return { address: textOf(address), output: textOf(output) };
  } catch (error) {
    throw new HodeiError("INVALID_ARGUMENT", `${chosen} cannot be read as settings`, { field: "config", cause: error });
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function addressesOf(flags: GlobalFlags, config: Config, file: Settings): string[] {
  if (flags.address !== undefined) return flags.address.split(",").map(flaggedAddress);
  if (config.addressesSet || file.address === undefined) return [...config.addresses];
  return file.address.split(",").map((one) => checkedAddress("address", one.trim()));
}

function flaggedAddress(text: string): string {
  try {
    return checkedAddress("--address", text.trim());
  } catch (error) {
    throw new UsageError((error as Error).message, "address");
  }
}

export function tokenOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new HodeiError("INVALID_ARGUMENT", `the token file ${path} cannot be read`, {
      field: "HODEI_TOKEN_FILE",
      cause: error,
    });
  }
}

export function tlsFiles(config: Config): { ca: string; cert: string; key: string } | undefined {
  if (config.tls === undefined) return undefined;
  const read = (path: string): string => readFileSync(path, "utf8");
  return { ca: read(config.tls.caFile), cert: read(config.tls.certFile), key: read(config.tls.keyFile) };
}
