import { describe, expect, it } from "vitest";
import { child, run, Scenario, wait } from "./scenario.fixture.ts";
import { stepViews } from "./view.ts";

describe("stepViews", () => {
  it("gives one row per iteration in the order of the definition, and one per step that has none", () => {
    const steps = { a: run(), m: run({ forEach: [1, 2] }), w: wait(), c: child(), later: run({ needs: ["a"] }) };
    const of = new Scenario({ steps, finally: { z: run() } }).start();
    of.succeed("a", { v: 1 });
    of.fail("m", { exitCode: 3 }, "0");
    const jobs = [
      { jobId: "ns/x/m/1#1", state: "claimed", worker: "w2", startedAtMs: 5 },
      { jobId: "ns/x/later/0#1", state: "queued", reason: "no worker is free" },
    ] as const;
    const rows = stepViews(of.definition, of.execution, jobs);
    expect(rows.map((row) => `${row.id}/${row.iteration} ${row.state}`)).toEqual([
      "a/0 succeeded",
      "m/0 failed",
      "m/1 running",
      "w/0 waiting",
      "c/0 waiting",
      "later/0 queued",
      "z/ pending",
    ]);
    expect(rows[0]).toMatchObject({ worker: "w1", outputsJson: '{"v":1}', attempts: 1, needs: [], inFinally: false });
    expect(rows[1]).toMatchObject({ exitCode: 3, error: { code: "JOB_FAILED", step: "m", iteration: "0" } });
    expect(rows[2]).toMatchObject({ worker: "w2", startedAtMs: 5 });
    expect(rows[3]?.reason).toBe("for signal go");
    expect(rows[4]).toMatchObject({ childId: "x/c/0", kind: "workflow" });
    expect(rows[3]?.startedAtMs, "nothing stands before a wait").toBe(rows[3]?.queuedAtMs);
    expect(rows[5]?.reason).toBe("no worker is free");
    expect(rows[6]).toMatchObject({ inFinally: true, attempts: 0 });
  });

  it("says why a step was skipped, and leaves out what a rerun superseded", () => {
    const ws = { workspace: "src" };
    const of = new Scenario({
      steps: { a: run(ws), b: run({ ...ws, needs: ["a"], onLost: "rerun" }), n: run({ when: "false" }) },
    });
    of.start();
    of.succeed("a");
    of.lose("b");
    const rows = stepViews(of.definition, of.execution);
    expect(rows.map((row) => `${row.id}/${row.iteration} ${row.state}`)).toEqual([
      "a/0.1 queued",
      "b/ pending",
      "n/ skipped",
    ]);
    expect(rows[2]?.reason).toBe("when is false: false");
  });
});
