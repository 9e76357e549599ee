import { connect } from "@restatedev/restate-sdk-clients";
import { answerOrders } from "./driver.ts";

type Handlers = { threeSteps: () => Promise<void>; oneStep: () => Promise<void> };

const client = connect({ url: process.env["INGRESS"] ?? "" }).serviceClient<Handlers>({ name: "bench" });
answerOrders({ "three-step": () => client.threeSteps(), "one-step": () => client.oneStep() });
