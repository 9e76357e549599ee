import { startCluster } from "../cluster.ts";
import { cpuMs } from "../processes.ts";
import { type Peer, startDriver } from "./peer.ts";

/** `hodei dev` as in `npm run bench -- embedded`: data on disk, synced before every answer; two worker processes; gRPC. */
export async function startHodei(): Promise<Peer> {
  const cluster = await startCluster();
  try {
    const driver = await startDriver("hodei-driver.ts", { ADDRESS: cluster.address });
    return {
      name: "hodei",
      run: driver.run,
      cpu: () => {
        const { cluster: server, workers } = cluster.cpu();
        return { driver: cpuMs(driver.pid), server, workers };
      },
      writes: async () => (await cluster.metrics())("hodei_engine_turns_total"),
      stop: async () => {
        await driver.stop();
        await cluster.stop();
      },
    };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}
