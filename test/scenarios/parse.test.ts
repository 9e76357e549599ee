import { describe, expect, it } from "vitest";
import { parseScenario } from "./scenario.ts";
import { play } from "./play.ts";

const HEAD = `It shows something.

cluster: 1 orchestrator, 1 engine, 1 worker
`;
const WORKFLOW = `workflow order 1.0.0:
  steps:
    charge: { task: charge }
    ship: { task: ship, needs: [charge] }
`;
const parse = (text: string) => parseScenario("a.txt", text);

describe("a scenario that is not understood names its file and line", () => {
  it.each<[string, string, string]>([
    ["no sentence", "cluster: 1 orchestrator, 1 engine, 1 worker\n", "a.txt:1: it begins with a sentence"],
    ["nothing after it", "It shows something.\n\n", "a.txt:2: nothing happens"],
    ["no cluster", "It shows something.\n\nadvance 1s\n", 'a.txt:3: not understood: "advance 1s"; there is: cluster:'],
    ["no number", HEAD.replace("1 engine", "few engines"), "a.txt:3: few is no number from 0 to 9"],
    [
      "another verb",
      `${HEAD}explode engine-1\n`,
      'a.txt:4: not understood: "explode engine-1"; there is: advance {time} |',
    ],
    ["a known verb", `${HEAD}crash order-1\n`, 'a.txt:4: not understood: "crash order-1"; there is: crash {node} |'],
    ["no duration", `${HEAD}advance soon\n`, "a.txt:4: "],
    ["no JSON", `${HEAD}start order-1 of order with {\n`, "a.txt:4: "],
    ["a tab", `${HEAD}\tadvance 1s\n`, "a.txt:4: a tab"],
    ["a stray indent", `${HEAD}advance 1s\n  more\n`, "a.txt:5: indented, but"],
    ["nothing under a colon", `${HEAD}\nworkflow order 1.0.0:\n`, "a.txt:5: nothing stands indented under it"],
    ["a wrong workflow", `${HEAD}workflow order 1.0.0:\n  steps:\n    a: { tusk: x }\n`, "a.txt:4: "],
    ["a wrong expectation", `${HEAD}expect order-1 exploded\n`, 'a.txt:4: not understood: "order-1 exploded"'],
    ["what only expect can see", `${HEAD}until engine-1 is up\n`, 'a.txt:4: not understood: "engine-1 is up"'],
  ])("%s", (_what, text, words) => {
    expect(() => parse(text)).toThrow(words);
  });
});

describe("a sentence that does not hold names its line and what is so instead", () => {
  const before = `${HEAD}${WORKFLOW}hold charge
start order-1 of order
until charge of order-1 is running
`;
  const after = `finish charge
until order-1 succeeded
`;
  it.each<[string, string]>([
    ["expect order-1 succeeded", "expected: order-1 succeeded; but it is running"],
    ["expect order-2 is running", "but it is not there"],
    ["expect charge of order-1 ran twice", "but it ran 1 times (attempt 1 on worker-1: runs)"],
    ["expect charge of order-1 succeeded", "but it is running"],
    ["expect ship of order-1 is queued", "but it is pending"],
    ["expect order-1 runs version 2.0.0", "but it is 1.0.0"],
    ["expect order-1 failed with JOB_LOST", "but it is running"],
    ["expect the owner of order-1 is not engine-1", "but both are engine-1"],
    ["expect engine-1 was answered FENCED to turn", "but the store answered OK"],
    ["expect log of charge of order-1 is lines 1 to 3", 'but it is ""'],
    ["until order-1 succeeded within 5s", "waited 5000 ms for: order-1 succeeded; but it is running"],
    ["cancel order-9", "it was refused: NOT_FOUND"],
    ["start order-1 of order is refused with CONFLICT", "it was not refused"],
    ["finish ship", "nobody runs ship"],
    ["hold pay", "no step has a task pay"],
    ["crash the worker of ship of order-1", "there is no the worker of ship of order-1 now"],
    ["engine-1 comes back", "this does nothing here"],
    ["crash engine-7", "there is no engine-7 in this cluster"],
  ])("%s", async (sentence, words) => {
    await expect(play(parse(`${before}${sentence}\n${after}`))).rejects.toThrow(`a.txt:11: `);
    await expect(play(parse(`${before}${sentence}\n${after}`))).rejects.toThrow(words);
  });

  it("a fault that never came", async () => {
    const text = `${before}engine-1 will crash before its next expire\n${after}`;
    await expect(play(parse(text))).rejects.toThrow("it announces a fault that never came: crash before a store call");
  });
});
