/**
 * The one start/stop contract. `start` resolves when the service does its work; `stop` resolves when it holds nothing
 * any more (timers, sockets, children) and may be called twice or before `start`.
 */
export type Service = {
  start(): Promise<void>;
  stop(): Promise<void>;
};

/** Starts in order; when one fails, stops those that had started, newest first, and throws the failure. */
export async function startAll(services: readonly Service[]): Promise<void> {
  const started: Service[] = [];
  for (const service of services) {
    try {
      await service.start();
      started.push(service);
    } catch (error) {
      await stopAll(started);
      throw error;
    }
  }
}

/** Stops newest first, all of them even when some fail, then throws what failed. */
export async function stopAll(services: readonly Service[]): Promise<void> {
  const failures: unknown[] = [];
  for (const service of services.toReversed()) {
    await service.stop().catch((error: unknown) => failures.push(error));
  }
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, "several services failed to stop");
}
