import { createServer } from "node:http2";
import { type Context, createEndpointHandler, service } from "@restatedev/restate-sdk";

const noop = async (): Promise<Record<string, never>> => ({});

const bench = service({
  name: "bench",
  handlers: {
    threeSteps: async (context: Context) => {
      await context.run("first", noop);
      await context.run("second", noop);
      await context.run("third", noop);
    },
    oneStep: async (context: Context) => void (await context.run("only", noop)),
  },
});

// Not `serve`, which listens on every interface.
const server = createServer(createEndpointHandler({ services: [bench] }));
server.listen(Number(process.env["PORT"]), "127.0.0.1", () => process.send?.({ kind: "ready" }));
process.on("disconnect", () => process.exit(0));
