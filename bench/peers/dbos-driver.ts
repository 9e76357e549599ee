import { DBOS } from "@dbos-inc/dbos-sdk";
import { answerOrders } from "./driver.ts";

const noop = async (): Promise<Record<string, never>> => ({});

const threeSteps = DBOS.registerWorkflow(
  async () => {
    await DBOS.runStep(noop, { name: "first" });
    await DBOS.runStep(noop, { name: "second" });
    await DBOS.runStep(noop, { name: "third" });
  },
  { name: "threeSteps" },
);
const oneStep = DBOS.registerWorkflow(async () => void (await DBOS.runStep(noop, { name: "only" })), {
  name: "oneStep",
});

DBOS.setConfig({
  name: "bench",
  systemDatabaseUrl: process.env["DATABASE_URL"] ?? "",
  systemDatabasePoolSize: Number(process.env["POOL_SIZE"]),
  logLevel: "error",
});
await DBOS.launch();
answerOrders({ "three-step": () => threeSteps(), "one-step": () => oneStep() });
