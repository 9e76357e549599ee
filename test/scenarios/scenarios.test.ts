import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PLANTED_BUGS } from "../simulation/plants/all.ts";
import { play } from "./play.ts";
import { parseScenario, type Scenario } from "./scenario.ts";

const FOLDER = import.meta.dirname;
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".txt"));

function textOf(file: string): string {
  return readFileSync(join(FOLDER, file), "utf8");
}

function scenarioIn(file: string): Scenario {
  return parseScenario(join(FOLDER, file), textOf(file));
}

describe("scenarios", () => {
  it.each(files)("%s", async (file) => {
    const { violations } = await play(scenarioIn(file));
    expect(violations).toEqual([]);
  });

  // Of each history one line that is not so, so that no list of expected events is there for show.
  it.each(files.filter((file) => textOf(file).includes("expect history of")))(
    "%s with a wrong history",
    async (file) => {
      const text = textOf(file).replace(/^ {2}started$/m, "  begun");
      await expect(play(parseScenario(file, text))).rejects.toThrow(/history of \S+ is otherwise/);
    },
  );
});

describe("a planted bug breaks", () => {
  it.each<[string, string]>([
    ["a start is acknowledged before its commit", "promise-1-acknowledged-is-committed.txt"],
    ["history has a gap", "engine-crash-in-a-turn.txt"],
    ["a token is used again", "promise-3-at-least-once.txt"],
    ["the fence is not checked", "promise-4-late-write.txt"],
    ["cleanup is not fenced", "promise-4-late-write.txt"],
    ["a shard is taken from a living owner", "engine-parted-from-the-store.txt"],
    ["a child is started twice", "promise-6-child-on-another-engine.txt"],
    ["the outbox is not written", "promise-6-child-on-another-engine.txt"],
    ["an adoption is answered and not made", "promise-7-result-outlives-the-engine.txt"],
    ["a cancel is forgotten by the next owner", "cancel-in-a-takeover.txt"],
    ["a pause holds nothing back", "pause.txt"],
    ["an outcome in the inbox is overwritten by a cancel", "outcome-before-a-cancel.txt"],
    ["the first outcome does not win", "outcome-before-a-cancel.txt"],
    ["a repeated claim is dispatched by nobody", "lost-claim-answer.txt"],
    ["a cancel overtakes the start of its child", "cancel-overtakes-start-of-child.txt"],
    ["a child runs the newest version, not the one that was locked", "promote-in-the-middle.txt"],
    ["a timer fires early", "adopted-at-the-last-moment.txt"],
    ["an assignment is carried out twice", "step-that-kills-its-worker.txt"],
    ["the first outcome does not win", "engine-parted-from-its-worker.txt"],
    ["the first outcome does not win", "store-loses-its-tail.txt"],
    ["cleanup is not fenced", "store-away.txt"],
    ["a shard is taken from a living owner", "drain.txt"],
    ["a token is used again", "promise-8-lost-machine.txt"],
    ["a token is used again", "worker-back-too-late.txt"],
    ["a token is used again", "user-retry.txt"],
  ])("%s: %s", async (bug, file) => {
    const plant = PLANTED_BUGS.find(({ name }) => name === bug);
    if (!plant) throw new Error(`there is no such bug: ${bug}`);
    const seen = await play(scenarioIn(file), { plant }).then(
      ({ violations }) => violations.map(({ invariant }) => invariant),
      (error: unknown) => [String(error)],
    );
    expect(seen).not.toEqual([]);
  });
});
