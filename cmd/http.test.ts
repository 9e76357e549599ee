import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type HttpServer, serveHttp } from "./http.ts";

/** What a client of health and metrics may not do to the process. */

let server: HttpServer;
afterEach(() => server.stop());

async function serve(metrics: () => Promise<string>): Promise<void> {
  const registry = { contentType: "text/plain", metrics };
  server = await serveHttp({ host: "127.0.0.1", port: 0, registry, notReady: () => [] });
}

function open(): Socket {
  const [host = "", port = ""] = server.address.split(":");
  return connect(Number(port), host).on("error", () => undefined);
}

const closed = (socket: Socket): Promise<unknown> => once(socket, "close");

describe("a connection that asks and does not read", () => {
  it("is closed when it is owed a few answers", async () => {
    const release = Promise.withResolvers<string>();
    await serve(() => release.promise);
    const socket = open();
    socket.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20));
    await closed(socket);
    expect(socket.bytesRead).toBe(0);
    release.resolve("");
  });

  it("does not keep others from their answers, which are made once for all who wait", async () => {
    const release = Promise.withResolvers<string>();
    let made = 0;
    await serve(() => {
      made += 1;
      return release.promise;
    });
    const all = Array.from({ length: 8 }, () => fetch(`http://${server.address}/metrics`));
    expect((await fetch(`http://${server.address}/readyz`)).status).toBe(200);
    release.resolve("x 1\n");
    expect(await Promise.all(all.map(async (answer) => await (await answer).text()))).toEqual(Array(8).fill("x 1\n"));
    expect(made).toBe(1);
    expect(await (await fetch(`http://${server.address}/metrics`)).text()).toBe("x 1\n");
    expect(made).toBe(2);
  });
});

it("a body is not read to its end: the answer closes the connection", async () => {
  await serve(async () => "");
  const socket = open();
  socket.write("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n");
  let answer = "";
  socket.on("data", (bytes: Buffer) => (answer += bytes.toString()));
  await closed(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 405 /);
});
