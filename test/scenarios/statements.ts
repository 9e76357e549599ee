import { definitionOf } from "../../workflow/load.ts";
import { parse } from "yaml";
import type { Faults } from "../simulation/faults.ts";
import type { StoreMethod } from "../simulation/trace.ts";
import { msOf, rule } from "./language.ts";
import type { Stage } from "./stage.ts";
import { wordsOf } from "./words.ts";

export type Act = (stage: Stage) => Promise<void>;
/** What stands indented under a sentence that ends with a colon. */
export type Block = { text: string; lines: string[] };
/** What a client asks: acted on with or without waiting for the answer. */
export type Request = (stage: Stage) => Promise<unknown>;

const FOREVER_MS = Infinity;
/** A client tries an orchestrator by chance: with so many tries it meets one that lives. */
const PATIENT = { tries: 30 };

export const REQUESTS = [
  rule("start {id} of {workflow}", ({ id, workflow }) => start(id, workflow, {})),
  rule("start {id} of {workflow} at {range}", ({ id, workflow, range }) => start(id, workflow, { range })),
  rule("start {id} of {workflow} with {json}", ({ id, workflow, json }) => start(id, workflow, { json })),
  rule("cancel {id}", ({ id }): Request => async (stage) => {
    return await stage.asking.ask(
      "execution",
      "cancel",
      { id, messageId: stage.messageId(), reason: "enough" },
      PATIENT,
    );
  }),
  rule("pause {id}", ({ id }): Request => async (stage) => {
    return await stage.asking.ask("execution", "pause", { id, messageId: stage.messageId() }, PATIENT);
  }),
  rule("resume {id}", ({ id }): Request => async (stage) => {
    return await stage.asking.ask("execution", "resume", { id, messageId: stage.messageId() }, PATIENT);
  }),
  rule("retry {id}", ({ id }): Request => async (stage) => {
    return await stage.asking.ask("execution", "retry", { id, messageId: stage.messageId(), steps: [] }, PATIENT);
  }),
  rule("signal {name} to {id} with {json}", ({ name, id, json }): Request => {
    const payloadJson = jsonOf(json);
    return async (stage) =>
      await stage.asking.ask("execution", "signal", { id, name, payloadJson, messageId: stage.messageId() }, PATIENT);
  }),
  rule("promote {workflow} {version} to {channel}", ({ workflow: name, version, channel }): Request => {
    return async ({ asking }) => await asking.ask("workflow", "promote", { name, version, channel }, PATIENT);
  }),
];

function start(id: string, workflow: string, { range = "", json = "{}" }: { range?: string; json?: string }): Request {
  const inputJson = jsonOf(json);
  return async ({ asking }) =>
    await asking.ask("execution", "start", { id, workflow, range, inputJson, labels: {} }, PATIENT);
}

function jsonOf(text: string): string {
  return JSON.stringify(JSON.parse(text));
}

export const STATEMENTS = [
  rule("advance {time}", ({ time }): Act => {
    const byMs = msOf(time);
    return async ({ scripted }) => await scripted.advance(byMs);
  }),
  rule(
    "hold {handler}",
    ({ handler }): Act =>
      async ({ hands }) =>
        hands.hold(handler),
  ),
  rule("{handler} logs {count} lines", ({ handler, count }): Act => {
    return async ({ hands }) => hands.log(handler, Number.parseInt(count, 10));
  }),
  rule("finish {handler}", ({ handler }) => finish(handler, { failed: false })),
  rule("fail {handler}", ({ handler }) => finish(handler, { failed: true })),
  rule("{node} finishes {handler}", ({ node, handler }) => finish(handler, { failed: false, node })),
  rule("{node} fails {handler}", ({ node, handler }) => finish(handler, { failed: true, node })),
  ...faultRules(),
];

function finish(handler: string, { failed, node }: { failed: boolean; node?: string }): Act {
  return async (stage) => {
    const worker = node === undefined ? undefined : await stage.node(node);
    if (stage.hands.finish(handler, worker, failed) === 0) throw new Error(`nobody runs ${handler}`);
  };
}

/** A verb of the nemesis (faults.ts). One that does nothing is an error: the scenario shows less than it says. */
function fault(strike: (faults: Faults, stage: Stage) => Promise<void> | void): Act {
  return async (stage) => {
    const { cluster, faults } = stage.scripted;
    const before = cluster.trace.length;
    await strike(faults, stage);
    if (cluster.trace.length === before) throw new Error("this does nothing here");
  };
}

function faultRules() {
  return [
    rule("crash {node}", ({ node }) =>
      fault(async (faults, stage) => faults.crash(await stage.node(node), { backMs: FOREVER_MS })),
    ),
    rule("crash {node} for {time}", ({ node, time }) => {
      const backMs = msOf(time);
      return fault(async (faults, stage) => faults.crash(await stage.node(node), { backMs }));
    }),
    rule("crash {node} with its host", ({ node }) =>
      fault(async (faults, stage) => faults.crash(await stage.node(node), { backMs: FOREVER_MS, silently: true })),
    ),
    rule("crash {node} with its disk", ({ node }) =>
      fault(async (faults, stage) => faults.crash(await stage.node(node), { backMs: FOREVER_MS, loseDisk: true })),
    ),
    rule("{node} comes back", ({ node }) =>
      fault(async (_faults, stage) => stage.scripted.cluster.node(await stage.node(node)).start()),
    ),
    rule("{node} will crash before its next {call}", ({ node, call }) => doom(node, call, "before")),
    rule("{node} will crash after its next {call}", ({ node, call }) => doom(node, call, "after")),
    rule("the answer to the next {call} of {node} will be lost", ({ node, call }): Act => {
      return async (stage) => {
        stage.armed.push("store answer lost");
        stage.scripted.faults.loseAnswer(await stage.node(node), call as StoreMethod);
      };
    }),
    rule("freeze {node} for {time}", ({ node, time }) => {
      const forMs = msOf(time);
      return fault(async (faults, stage) => faults.freeze(await stage.node(node), { forMs }));
    }),
    rule("drain {node}", ({ node }) =>
      fault(async (faults, stage) => faults.drain(await stage.node(node), FOREVER_MS)),
    ),
    rule("cut the connections of {node}", ({ node }) =>
      fault(async (faults, stage) => faults.cut(await stage.node(node), 1)),
    ),
    rule("partition {node} from {other} for {time}", ({ node, other, time }) => {
      const how = { forMs: msOf(time), bothWays: true };
      return fault(async (faults, stage) => faults.partition(await stage.node(node), await stage.node(other), how));
    }),
    rule("nothing gets from {node} to {other} for {time}", ({ node, other, time }) => {
      const how = { forMs: msOf(time), bothWays: false };
      return fault(async (faults, stage) => faults.partition(await stage.node(node), await stage.node(other), how));
    }),
    rule("the store is away for {time}", ({ time }) => {
      const forMs = msOf(time);
      return fault((faults) => faults.storeAway(forMs));
    }),
    rule("the store loses its last {time}", ({ time }) => {
      const lostMs = msOf(time);
      return fault((faults) => faults.rollBack(lostMs));
    }),
    rule("the clock of {node} jumps forward by {time}", ({ node, time }) => {
      const byMs = msOf(time);
      return fault(async (faults, stage) => faults.jumpClock(await stage.node(node), byMs));
    }),
    rule("the clock of {node} jumps back by {time}", ({ node, time }) => {
      const byMs = -msOf(time);
      return fault(async (faults, stage) => faults.jumpClock(await stage.node(node), byMs));
    }),
  ];
}

function doom(node: string, call: string, when: "before" | "after"): Act {
  const method = call as StoreMethod;
  return async (stage) => {
    stage.armed.push(`crash ${when} a store call`);
    stage.scripted.faults.crashAtCall(await stage.node(node), { calls: 1, when, method, backMs: FOREVER_MS });
  };
}

/** Sentences that something indented belongs to. */
export const WITH_BLOCK = [
  rule("workflow {name} {version}", ({ name, version }) => (block: Block): Act => {
    const document = documentOf(name, version, block);
    definitionOf(document);
    const source = JSON.stringify(document);
    return async (stage) => await stage.answered(stage.asking.ask("workflow", "register", { source }));
  }),
  rule("expect history of {id}", ({ id }) => (block: Block): Act => {
    const wanted = block.lines.map((line) => line.trim());
    return async ({ sight }) => {
      sight.look();
      const seen = sight.history(id).map(wordsOf);
      const at = wanted.findIndex((line, index) => line !== seen[index]);
      if (at < 0 && seen.length === wanted.length) return;
      throw new Error(`history of ${id} is otherwise:\n${seen.map((line) => `  ${line}`).join("\n")}`);
    };
  }),
];

export function documentOf(name: string, version: string, { text }: Block) {
  const spec = parse(text) as Record<"steps" | "finally", Record<string, { task?: string }> | undefined>;
  return { apiVersion: "hodei.dev/v1", kind: "Workflow", metadata: { name, version }, spec };
}
