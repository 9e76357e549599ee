import { HodeiClient } from "../../cmd/package.ts";
import { oneStep, threeSteps } from "../workflows.ts";
import { answerOrders } from "./driver.ts";

const client = new HodeiClient({ address: process.env["ADDRESS"] ?? "", deadlineMs: 60_000 });
for (const workflow of [threeSteps, oneStep]) await client.register(workflow);
answerOrders({
  "three-step": () => client.execute(threeSteps, {}),
  "one-step": () => client.execute(oneStep, {}),
});
