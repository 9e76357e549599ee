/**
 * Hodei inside one's own program: `node examples/library/usage.ts`. In a project of yours, import from "hodei".
 * An order is priced by a handler, greeted by a sub-workflow, waits for somebody's yes, and gives a receipt.
 */
import {
  createOrchestrator,
  defineHandler,
  defineWorkflow,
  type EmbeddedOptions,
  ExecutionFailed,
  expr,
  HodeiWorker,
} from "../../cmd/package.ts";

/** Without `data` everything is in memory and gone at the end; with a folder, unfinished executions go on at the next start. */
const config: EmbeddedOptions = { engines: 2, workers: 1 };

/** A step in code. Its types reach the workflow, its schema is checked before it runs. */
const price = defineHandler(
  "order.price",
  { type: "object", required: ["count"], properties: { count: { type: "integer", minimum: 1 } } },
  ({ count }, context) => {
    context.log(`pricing ${count}, attempt ${context.attempt}`);
    return { cents: count * 250 };
  },
);

const print = defineHandler(
  "order.print",
  {
    type: "object",
    required: ["greeting", "cents"],
    properties: { greeting: { type: "string" }, cents: { type: "integer" } },
  },
  ({ greeting, cents }) => ({ text: `${greeting}: ${(cents / 100).toFixed(2)}` }),
);

const greet = defineWorkflow({
  name: "greet",
  version: "1.0.0",
  input: { type: "object", required: ["who"], properties: { who: { type: "string" } } },
  steps: ({ input, run }) => {
    const hello = run("hello", {
      script: 'echo "text=hello $WHO" >> "$HODEI_OUTPUT"',
      env: { WHO: input.who },
      outputs: ["text"],
    });
    return { text: hello.outputs.text };
  },
});

const order = defineWorkflow({
  name: "order",
  version: "1.0.0",
  input: {
    type: "object",
    required: ["who", "count"],
    properties: { who: { type: "string" }, count: { type: "integer" } },
  },
  steps: ({ input, task, workflow, wait }) => {
    const greeting = workflow("greeting", greet, { input: { who: input.who } });
    const priced = task("priced", price, { input: { count: input.count } });
    const approval = wait("approval", {
      signal: "approval",
      schema: { type: "object", required: ["by"], properties: { by: { type: "string" } } },
      when: expr<boolean>`${priced.outputs.cents} > 1000`,
    });
    const receipt = task("receipt", print, {
      input: { greeting: greeting.outputs.text, cents: priced.outputs.cents },
      // A small order's approval is skipped; what needs a skipped step runs only when it says so.
      when: expr<boolean>`${approval.state} != "failed"`,
    });
    return { receipt: receipt.outputs.text };
  },
});

const hodei = await createOrchestrator(config);
const worker = new HodeiWorker({ engines: hodei.engines, labels: ["shop"] }).handle(price).handle(print);
try {
  await worker.start();
  const { client } = hodei;
  // What a definition calls must be there before it: versions are pinned when an execution starts.
  await client.register("greet", "1.0.0", () => greet);
  await client.register("order", "1.0.0", () => order);

  const small = await client.execute("order", { who: "sea", count: 2 });
  show({ small });

  const large = await client.start(order, { who: "sky", count: 9 });
  await client.signal(large.id, "approval", { by: "ann" });
  const { receipt } = await client.result(large);
  show({ receipt: receipt.toUpperCase() });

  const failure: unknown = await client.execute(order, { who: "no one", count: 0 }).catch((error: unknown) => error);
  if (failure instanceof ExecutionFailed) show({ failed: failure.view.error?.step, code: failure.code });
} finally {
  await worker.stop();
  await hodei.stop();
}

function show(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
