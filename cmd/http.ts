import type { Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { HodeiError } from "../workflow/errors.ts";
import type { Exposition } from "./metrics.ts";

/** Not imported: an import reads every export, and one of http's is a getter that loads undici, 14 MiB and 20 ms of CPU. */
const { createServer } = process.getBuiltinModule("node:http");

/** `/healthz` (the process lives), `/readyz` (it can serve), `/metrics`. Liveness never asks the store. */
export type HttpOptions = {
  host: string;
  /** 0: a free one. */
  port: number;
  registry: Exposition;
  /** Names of what is not ready yet; empty: ready. */
  notReady(): string[];
};

export type HttpServer = { address: string; stop(): Promise<void> };

/** A connection that has not sent its request by then is closed, looked at every half of it. */
const REQUEST_MS = 10_000;
/** Answers that one connection may owe: 25,000 sent at once and never read held the process for 16 s and 300 MB. */
const MOST_UNANSWERED = 16;

export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const metrics = shared(() => options.registry.metrics());
  const unanswered = new WeakMap<Socket, number>();
  const limits = {
    requestTimeout: REQUEST_MS,
    headersTimeout: REQUEST_MS,
    connectionsCheckingInterval: REQUEST_MS / 2,
  };
  const server = createServer(limits, (request, response) => {
    const { socket } = request;
    unanswered.set(socket, (unanswered.get(socket) ?? 0) + 1);
    if ((unanswered.get(socket) ?? 0) > MOST_UNANSWERED) return void socket.destroy();
    response.once("close", () => unanswered.set(socket, (unanswered.get(socket) ?? 0) - 1));
    const path = (request.url ?? "/").split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD") {
      // Closed, so that nobody reads a body of a gigabyte to its end.
      response.setHeader("connection", "close");
      return reply(response, 405, "text/plain", "only GET\n");
    }
    if (path === "/healthz") return reply(response, 200, "text/plain", "ok\n");
    if (path === "/readyz") {
      const missing = options.notReady();
      return reply(
        response,
        missing.length === 0 ? 200 : 503,
        "text/plain",
        missing.length === 0 ? "ready\n" : `not ready: ${missing.join(", ")}\n`,
      );
    }
    if (path === "/metrics") return void exposition(options.registry.contentType, metrics, response);
    reply(response, 404, "text/plain", "there are /healthz, /readyz and /metrics\n");
  });
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return {
    address: `${options.host}:${port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Who asks while an answer is being made gets that one. */
function shared(make: () => Promise<string>): () => Promise<string> {
  let making: Promise<string> | undefined;
  return () => (making ??= make().finally(() => (making = undefined)));
}

async function exposition(type: string, metrics: () => Promise<string>, response: ServerResponse): Promise<void> {
  try {
    reply(response, 200, type, await metrics());
  } catch (error) {
    reply(response, 500, "text/plain", `${String(error)}\n`);
  }
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
}

function listen(server: Server, { host, port }: HttpOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") return reject(error);
      reject(
        new HodeiError("ADDRESS_IN_USE", `another process listens on ${host}:${port}`, {
          field: "http-port",
          hint: "Choose another port for health and metrics, or 0 for a free one.",
          cause: error,
        }),
      );
    });
    server.listen(port, host, () => resolve());
  });
}
