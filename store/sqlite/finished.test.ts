import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, it, vi } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { openOwner, SHARDS, turnOf } from "../fixtures.ts";
import { createMemoryStore } from "../memory.ts";
import type { ExecutionFilter, ExecutionHead, Store } from "../store.ts";
import { Database } from "./database.ts";
import { openSqliteStore } from "./store.ts";

const directory = mkdtempSync(join(tmpdir(), "hodei-finished-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const STATES = ["succeeded", "succeeded", "failed", "running", "succeeded", "cancelled", "succeeded"] as const;

/** Of every state, some that started at the same time; with a small journal most are in the table, the last are not. */
async function fill(store: Store): Promise<void> {
  await store.open({ shards: SHARDS });
  const owner = await openOwner(store, "a");
  for (let at = 0; at < 90; at += 1) {
    const state = STATES[at % STATES.length] ?? "running";
    const head: Partial<ExecutionHead> = {
      state,
      startedAtMs: Math.floor(at / 2),
      workflow: at % 20 === 0 ? "rare" : "greet",
      labels: at % 10 === 3 ? { team: "a" } : {},
      ...(state === "running" ? {} : { endedAtMs: at }),
      ...(at % 9 === 1 ? { parent: { executionId: "x0", uid: "u", step: "s", iteration: "0", depth: 1 } } : {}),
    };
    await store.turn(turnOf(owner, `x${at}`, { events: ["1"], head }));
  }
}

const FILTERS: Omit<ExecutionFilter, "namespace" | "limit">[] = [
  {},
  { states: ["failed"] },
  { states: ["failed", "cancelled"] },
  { states: ["succeeded"] },
  { states: ["succeeded", "failed", "running"] },
  { states: ["running"] },
  { workflow: "rare" },
  { workflow: "rare", states: ["cancelled", "failed"] },
  { labels: { team: "a" } },
  { parent: "x0", states: ["failed", "running"] },
  { startedAfterMs: 10, startedBeforeMs: 30, states: ["cancelled"] },
];

async function all(store: Store, filter: (typeof FILTERS)[number], limit: number): Promise<string[][]> {
  const pages: string[][] = [];
  for (let page: string | undefined; ;) {
    const more = page === undefined ? {} : { page };
    const { executions, nextPage } = await store.listExecutions({ namespace: "default", ...filter, limit, ...more });
    pages.push(executions.map(({ id }) => id));
    if (nextPage === undefined) return pages;
    page = nextPage;
  }
}

describe("sqlite: lists of executions", () => {
  const options = { clock: new ManualClock(), random: systemRandom };

  it("are those of the model, by every filter and page, and read no row that cannot be in them", async () => {
    const model = createMemoryStore(options);
    const store = openSqliteStore({ ...options, directory, logger: silentLogger, journalBytes: 30_000 });
    await Promise.all([fill(model), fill(store)]);
    const asked = vi.spyOn(Database.prototype, "iterate");
    for (const filter of FILTERS) {
      for (const limit of [2, 7, 200]) expect(await all(store, filter, limit)).toEqual(await all(model, filter, limit));
    }
    const statements = [...new Set(asked.mock.calls.map(([sql]) => sql))].filter((sql) => sql.includes("'failed'"));
    asked.mockRestore();
    await Promise.all([store.close(), model.close()]);

    const database = new DatabaseSync(join(directory, "hodei.db"));
    expect(database.prepare("SELECT count(*) AS count FROM finished WHERE state = 'failed'").get()).toMatchObject({
      count: 13,
    });
    for (const sql of statements.filter((one) => !/'succeeded',|parent/.test(one))) {
      const values = Array.from({ length: sql.split("?").length - 1 }, () => 1);
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values);
      const steps = plan.map(({ detail }) => String(detail)).join("; ");
      expect(steps).toMatch(/INDEX finished_(unsuccessful|workflow) \(namespace=\? AND/);
      expect(steps).not.toContain("TEMP B-TREE");
    }
    database.close();
  });
});
