import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, globSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { systemRandom } from "../../base/random.ts";
import { endsWithUs, removeFolder, temporaryFolder } from "../cluster.ts";
import { end, freePort, until } from "./peer.ts";

export type Postgres = {
  /** Without a database name. */
  url: string;
  pid: number;
  /** Transactions that wrote, since it began; each waited until the log was on disk. */
  writes: () => Promise<number>;
  stop(): Promise<void>;
};

/**
 * A PostgreSQL of our own in a temporary folder, on loopback, as Debian's package configures it: fsync and
 * synchronous_commit are on. It refuses to run as root; then it runs as the package's user.
 */
export async function startPostgres(): Promise<Postgres> {
  const folder = temporaryFolder();
  const data = join(folder, "data");
  const user = userOf();
  const password = systemRandom.hex(16);
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(join(folder, "password"), password, { mode: 0o600 });
  if (user !== undefined)
    for (const path of [folder, data, join(folder, "password")]) chownSync(path, user.uid, user.gid);
  const authentication = ["--auth=scram-sha-256", "--username=postgres", `--pwfile=${join(folder, "password")}`];
  const initdb = ["--pgdata", data, ...authentication, "--encoding=UTF8", "--locale=C.UTF-8"];
  execFileSync(program("initdb"), initdb, { ...user, stdio: ["ignore", "ignore", "inherit"] });
  const port = await freePort();
  const where = ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1"];
  const child = spawn(program("postgres"), [...where, "-c", `unix_socket_directories=${folder}`], {
    ...user,
    stdio: ["ignore", "ignore", "ignore"],
  });
  // Fast shutdown: open connections are closed.
  endsWithUs(child, "SIGINT");
  const stop = async (): Promise<void> => {
    await end(child, "SIGINT");
    removeFolder(folder);
  };
  const ask = (sql: string): string =>
    execFileSync(program("psql"), ["-h", "127.0.0.1", "-p", String(port), "-U", "postgres", "-Atc", sql], {
      env: { ...process.env, PGPASSWORD: password },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    await until("PostgreSQL", child, async () => ask("SELECT 1") === "1");
    const durable = ask("SELECT current_setting('fsync') || current_setting('synchronous_commit')");
    if (durable !== "onon") throw new Error(`fsync and synchronous_commit are ${durable}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `postgresql://postgres:${password}@127.0.0.1:${port}`,
    pid: child.pid as number,
    // Not pg_stat_wal: its counts come up to ten seconds late.
    writes: async () => Number(ask("SELECT pg_snapshot_xmax(pg_current_snapshot())")),
    stop,
  };
}

function userOf(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const number = (flag: string): number => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: number("-u"), gid: number("-g") };
}

/** Debian keeps most of them out of the path. */
function program(name: string): string {
  const folders = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    ...globSync("/usr/lib/postgresql/*/bin").toReversed(),
  ];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`there is no ${name}: apt-get install postgresql`);
  return found;
}
