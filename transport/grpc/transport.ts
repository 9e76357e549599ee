import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import type { Transport } from "../transport.ts";
import { GrpcChannel } from "./client.ts";
import type { Tls } from "./credentials.ts";

/**
 * The port over gRPC (`hodei.v1`, proto/). `clock` must run with real time: grpc-js keeps deadlines by the system's clock
 * too. With `tls` both sides prove themselves; without it the connection is plain.
 */
export function createGrpcTransport(options: { clock: Clock; logger: Logger; tls?: Tls }): Transport {
  const { clock, logger, tls } = options;
  return {
    // Serving is loaded when it is asked for: a client starts faster without.
    async serve({ address, services, authenticate }) {
      const { serveGrpc } = await import("./server.ts");
      return await serveGrpc({ address, services, authenticate, clock, logger, tls });
    },
    connect: ({ address, token }) => new GrpcChannel({ address, token, clock, tls }),
  };
}
