import { describe, expect, it } from "vitest";
import { plan } from "./plan.ts";
import type { WorkerSnapshot } from "./snapshot.ts";

const GIB = 1024 ** 3;

function worker(id: string, over: Partial<WorkerSnapshot> = {}): WorkerSnapshot {
  return {
    worker: id,
    state: "available",
    offered: false,
    freeSlots: 4,
    slots: 4,
    total: { cpuMillis: 4000, memoryBytes: 8 * GIB, gpu: 0, storageBytes: 0 },
    free: { cpuMillis: 4000, memoryBytes: 8 * GIB, gpu: 0, storageBytes: 0 },
    workspaces: 0,
    cpuPercent: 5,
    idleSinceMs: 0,
    ...over,
  };
}

function used(share: number): Partial<WorkerSnapshot> {
  const left = 1 - share;
  return { free: { cpuMillis: 4000 * left, memoryBytes: 8 * GIB * left, gpu: 0, storageBytes: 0 } };
}

const asked = { rotation: 0, limit: 32 } as const;

describe("plan", () => {
  it("leaves out who drains, is unhealthy, is spoken for or has no room", () => {
    const workers = [
      worker("draining", { state: "draining" }),
      worker("ill", { state: "unhealthy" }),
      worker("offered", { offered: true }),
      worker("full", { freeSlots: 0 }),
      worker("free"),
    ];
    expect(plan(workers, { ...asked, strategy: "bin-pack" })).toEqual(["free"]);
  });

  it("keeps a full worker that holds a workspace, before all others", () => {
    const workers = [worker("free"), worker("holder", { freeSlots: 0, workspaces: 1 })];
    expect(plan(workers, { ...asked, strategy: "bin-pack" })).toEqual(["holder", "free"]);
  });

  it("bin-pack fills the fullest one below the band, and takes one above it last", () => {
    const workers = [worker("empty"), worker("half", used(0.5)), worker("over", used(0.95)), worker("most", used(0.8))];
    expect(plan(workers, { ...asked, strategy: "bin-pack" })).toEqual(["most", "half", "empty", "over"]);
  });

  it("spread asks for the emptiest first", () => {
    const workers = [worker("half", used(0.5)), worker("empty"), worker("most", used(0.8))];
    expect(plan(workers, { ...asked, strategy: "spread" })).toEqual(["empty", "half", "most"]);
  });

  it("fifo asks for the one that has been idle longest", () => {
    const workers = [worker("late", { idleSinceMs: 30 }), worker("early", { idleSinceMs: 10 })];
    expect(plan(workers, { ...asked, strategy: "fifo" })).toEqual(["early", "late"]);
  });

  it("rotates among equals", () => {
    const workers = [worker("a"), worker("b"), worker("c")];
    const firsts = [0, 1, 2, 3].map((rotation) => plan(workers, { strategy: "bin-pack", rotation, limit: 1 })[0]);
    expect(firsts).toEqual(["a", "b", "c", "a"]);
  });

  it("puts the named workers first and keeps to the limit", () => {
    const workers = Array.from({ length: 40 }, (_, index) => worker(`w${String(index).padStart(2, "0")}`));
    const planned = plan(workers, { ...asked, strategy: "spread", first: new Set(["w39"]) });
    expect(planned[0]).toBe("w39");
    expect(planned).toHaveLength(32);
  });
});
