import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { endsWithUs, removeFolder, temporaryFolder } from "../cluster.ts";
import { cpuMs } from "../processes.ts";
import { end, forked, freePort, type Peer, startDriver, until } from "./peer.ts";

/** The default is 24, made for many cores; of 1, 2, 4 and 24 one was the fastest on two cores, in time and in CPU. */
const PARTITIONS = 1;
const CALL_MS = 5_000;

const require = createRequire(import.meta.url);

/** Server, service and driver are three processes, as they are in its documents. */
export async function startRestate(partitions = PARTITIONS): Promise<Peer> {
  const folder = temporaryFolder();
  const ports = {
    node: await freePort(),
    ingress: await freePort(),
    admin: await freePort(),
    service: await freePort(),
  };
  const server = spawnServer(folder, ports, partitions);
  endsWithUs(server, "SIGTERM");
  const service = forked("restate-service.ts", { PORT: String(ports.service), NODE_ENV: "production" });
  const stopAll = async (): Promise<void> => {
    await Promise.all([end(server, "SIGTERM"), end(service, "SIGTERM")]);
    removeFolder(folder);
  };
  try {
    await once(service, "message", { signal: AbortSignal.timeout(CALL_MS) });
    const ingress = `http://127.0.0.1:${ports.ingress}`;
    await until("Restate", server, () => answers(`http://127.0.0.1:${ports.admin}/health`));
    await until("Restate's ingress", server, () => answers(`${ingress}/restate/health`));
    await register(`http://127.0.0.1:${ports.admin}/deployments`, `http://127.0.0.1:${ports.service}`);
    const driver = await startDriver("restate-driver.ts", { INGRESS: ingress });
    return {
      name: "restate",
      run: driver.run,
      cpu: () => ({
        driver: cpuMs(driver.pid),
        server: cpuMs(server.pid as number),
        workers: cpuMs(service.pid as number),
      }),
      writes: () => journalWrites(`http://127.0.0.1:${ports.node}/metrics`),
      stop: async () => {
        await driver.stop();
        await stopAll();
      },
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

type Ports = { node: number; ingress: number; admin: number };

function spawnServer(folder: string, ports: Ports, partitions: number): ChildProcess {
  const binary = `@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`;
  // The package for this machine is a dependency of that one.
  const server = createRequire(require.resolve("@restatedev/restate-server/package.json"));
  return spawn(server.resolve(binary), ["--no-logo"], {
    cwd: folder,
    env: {
      ...process.env,
      RESTATE_BASE_DIR: folder,
      RESTATE_DISABLE_TELEMETRY: "true",
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_BIND_IP: "127.0.0.1",
      RESTATE_ADVERTISED_HOST: "127.0.0.1",
      RESTATE_BIND_PORT: String(ports.node),
      RESTATE_INGRESS__BIND_PORT: String(ports.ingress),
      RESTATE_ADMIN__BIND_PORT: String(ports.admin),
      RESTATE_DEFAULT_NUM_PARTITIONS: String(partitions),
      // octocrab: it asks GitHub for its newest release, which no setting turns off and which may fail here.
      RESTATE_LOG_FILTER: "error,octocrab=off",
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
}

async function answers(url: string): Promise<boolean> {
  return (await fetch(url, { signal: AbortSignal.timeout(CALL_MS) })).ok;
}

async function register(admin: string, uri: string): Promise<void> {
  const response = await fetch(admin, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri }),
    signal: AbortSignal.timeout(CALL_MS),
  });
  if (!response.ok) throw new Error(`Restate refused the service: ${await response.text()}`);
}

/** Syncs of the write-ahead log in which the log server keeps the journals. */
async function journalWrites(url: string): Promise<number> {
  const text = await (await fetch(url, { signal: AbortSignal.timeout(CALL_MS) })).text();
  const count = /^restate_rocksdb_wal_synced_total\{[^}]*db="log-server"[^}]*\} (\d+)$/m.exec(text)?.[1];
  if (count === undefined) throw new Error("Restate's metrics tell no syncs of its log server");
  return Number(count);
}
