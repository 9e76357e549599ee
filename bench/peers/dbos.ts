import { cpuMs, treeCpuMs } from "../processes.ts";
import { type Peer, startDriver } from "./peer.ts";
import { startPostgres } from "./postgres.ts";

/** Connections of its pool: the default is 10; with 64 in flight 20 was the fastest of 10, 20, 40 and 64 on two cores. */
const POOL_SIZE = 20;

/**
 * In process: the library runs workflow and steps where they are called, which is how its documents begin and its fastest
 * way (from another process a call waits for a poll of the queue). Driver, engine and worker are one process.
 */
export async function startDbos(poolSize = POOL_SIZE): Promise<Peer> {
  const postgres = await startPostgres();
  try {
    const url = `${postgres.url}/bench_dbos_sys`;
    const driver = await startDriver("dbos-driver.ts", { DATABASE_URL: url, POOL_SIZE: String(poolSize) });
    return {
      name: "dbos",
      run: driver.run,
      cpu: () => ({ driver: cpuMs(driver.pid), server: treeCpuMs(postgres.pid), workers: 0 }),
      writes: postgres.writes,
      stop: async () => {
        await driver.stop();
        await postgres.stop();
      },
    };
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}
