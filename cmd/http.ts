import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { HodeiError } from "../workflow/errors.ts";
import type { Exposition } from "./metrics.ts";

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

export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD") return reply(response, 405, "text/plain", "only GET\n");
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
    if (path === "/metrics") return void metrics(options.registry, response);
    reply(response, 404, "text/plain", "there are /healthz, /readyz and /metrics\n");
  });
  server.requestTimeout = 10_000;
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

async function metrics(registry: Exposition, response: ServerResponse): Promise<void> {
  try {
    reply(response, 200, registry.contentType, await registry.metrics());
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
