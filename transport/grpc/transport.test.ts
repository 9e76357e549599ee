import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { transportConformance } from "../conformance.ts";
import { createGrpcTransport } from "./transport.ts";

/** A port that was free a moment ago. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

transportConformance("gRPC", () => ({
  transport: createGrpcTransport({ clock: systemClock, logger: silentLogger }),
  freeAddress,
}));
