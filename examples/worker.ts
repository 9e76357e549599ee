import { HodeiWorker } from "../cmd/embedded-worker.ts";
import { charge, total } from "./handlers.ts";

/** A worker inside one's own program: `node examples/worker.ts HOST:PORT…`, addresses as `hodei get engines` shows them. */
const worker = new HodeiWorker({ engines: process.argv.slice(2), labels: ["billing"] }).handle(total).handle(charge);
await worker.start();
process.once("SIGTERM", () => void worker.stop());
