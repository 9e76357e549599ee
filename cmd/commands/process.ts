import type { Command } from "commander";
import { loadConfig } from "../config.ts";
import { whole } from "../output.ts";

type DevFlags = {
  data: string;
  host: string;
  port?: string;
  httpPort?: string;
  engines: string;
  workers: string;
  ephemeral: string;
  handlers?: string;
};

/** Commands that are processes: dev (a whole cluster), worker. Their modules load only when they run. */
export function addProcessCommands(program: Command): void {
  program
    .command("dev")
    .description("a whole cluster in one process: orchestrator, engines, SQLite, local workers")
    .option("--data <dir>", "where everything is kept", ".hodei")
    .option("--host <host>", "the address to listen on", "127.0.0.1")
    .option(
      "--port <port>",
      "of the API; 0: a free one (default: GRPC_PORT, else what the data folder remembers, else 50051)",
    )
    .option("--http-port <port>", "of health and metrics; 0: a free one (default)")
    .option("--engines <n>", "how many engines", "3")
    .option("--workers <n>", "how many warm workers", "2")
    .option("--ephemeral <n>", "how many ephemeral workers each engine may run at once", "2")
    .option("--handlers <file>", "a module whose handlers the local workers offer")
    .action(async (flags: DevFlags) => {
      const { runDev } = await import("../dev.ts");
      process.exitCode = await runDev(loadConfig(), {
        data: flags.data,
        host: flags.host,
        port: flags.port === undefined ? undefined : whole("port", flags.port, 0, 65_535),
        httpPort: flags.httpPort === undefined ? undefined : whole("http-port", flags.httpPort, 0, 65_535),
        engines: whole("engines", flags.engines, 1, 64),
        workers: whole("workers", flags.workers, 0, 1000),
        ephemeral: whole("ephemeral", flags.ephemeral, 0, 1000),
        handlersFile: flags.handlers,
      });
    });
  program
    .command("worker")
    .description(
      "one worker; configured by environment: SERVER_HOST, SERVER_PORT, WORKER_NAME, WORKER_CAPABILITIES, EPHEMERAL_MODE, …",
    )
    .action(async () => {
      const { runWorker } = await import("../worker.ts");
      process.exitCode = await runWorker(loadConfig());
    });
}
