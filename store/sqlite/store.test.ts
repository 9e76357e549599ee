import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, it } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { isHodeiError, type HodeiError } from "../../workflow/errors.ts";
import { storeConformance } from "../conformance.ts";
import { fenceOf, openOwner, SHARDS, turnOf, type Owner } from "../fixtures.ts";
import type { Store } from "../store.ts";
import { APPLICATION_ID } from "./schema.ts";
import { openSqliteStore } from "./store.ts";

const folders: string[] = [];
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "hodei-store-"));
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true });
});

storeConformance(
  "sqlite",
  async (options) => {
    const directory = folder();
    const open = (): Store => openSqliteStore({ ...options, directory, logger: silentLogger });
    let store = open();
    return {
      store,
      reopen: async () => {
        await store.close();
        return (store = open());
      },
    };
  },
  { durable: true },
);

/** Starts the endless writer and waits until it has acknowledged `turns`; `end` kills it and answers all that it said. */
async function startWriter(directory: string, turns: number): Promise<{ pid: number; end: () => Promise<string[]> }> {
  const script = join(import.meta.dirname, "endless-writer.ts");
  const child = spawn(process.execPath, [script, directory], { stdio: ["ignore", "pipe", "inherit"] });
  const said: string[] = [];
  const enough = Promise.withResolvers<void>();
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    if (said.push(line) >= turns) enough.resolve();
  });
  const closed = once(lines, "close");
  const exited = once(child, "exit");
  exited.then(() => enough.reject(new Error("the writer ended by itself")), enough.reject);
  await enough.promise;
  return {
    pid: child.pid ?? 0,
    end: async () => {
      child.kill("SIGKILL");
      await Promise.all([exited, closed]);
      return said;
    },
  };
}

const open = (directory: string, over: { maxPages?: number } = {}): Store =>
  openSqliteStore({ directory, clock: new ManualClock(), random: systemRandom, logger: silentLogger, ...over });

function refusalOf(action: () => unknown): HodeiError {
  try {
    action();
  } catch (error) {
    if (isHodeiError(error)) return error;
    throw error;
  }
  throw new Error("was not refused");
}

describe("sqlite: the process and the file", () => {
  it("loses no acknowledged turn when the process is killed in the middle, and its lock dies with it", async () => {
    const directory = folder();
    for (let round = 0; round < 2; round += 1) {
      const at = join(directory, String(round));
      const writer = await startWriter(at, 200);
      const said = await writer.end();
      const store = open(at);
      for (const line of said) {
        const [id = "", revision = ""] = line.split(" ");
        const history = await store.readHistory({
          namespace: "default",
          id,
          afterRevision: Number(revision) - 1,
          limit: 1,
        });
        expect(history?.commits[0]).toEqual({ revision: Number(revision), events: [`"${revision}"`] });
        expect(history?.head.revision).toBeGreaterThanOrEqual(Number(revision));
      }
      await store.close();
    }
  });

  it("refuses a folder that another process holds, naming the folder and the process", async () => {
    const directory = folder();
    const writer = await startWriter(directory, 1);
    const error = refusalOf(() => open(directory));
    await writer.end();
    expect(error).toMatchObject({ code: "DATA_IN_USE", facts: { directory, pid: String(writer.pid) } });
    expect(error.message).toContain(directory);
  });

  it("refuses a folder that this process holds already", async () => {
    const directory = folder();
    const store = open(directory);
    expect(refusalOf(() => open(directory)).code).toBe("DATA_IN_USE");
    await store.close();
    await open(directory).close();
  });

  it("refuses a file that is not ours, of a newer schema, or no database", () => {
    const made = (sql: string): string => {
      const directory = folder();
      const database = new DatabaseSync(join(directory, "hodei.db"));
      database.exec(sql);
      database.close();
      return directory;
    };
    expect(refusalOf(() => open(made("CREATE TABLE theirs (a)"))).code).toBe("DATA_CORRUPT");
    const newer = `CREATE TABLE ours (a); PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = 99`;
    expect(refusalOf(() => open(made(newer))).message).toContain("99");
    const directory = folder();
    writeFileSync(join(directory, "hodei.db"), "no database, but long enough to have a header of its own".repeat(99));
    expect(refusalOf(() => open(directory)).code).toBe("DATA_CORRUPT");
  });

  it("refuses calls after close, and may be closed twice", async () => {
    const store = open(":memory:");
    await store.close();
    await store.close();
    await expect(store.sessions()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("sqlite: a full disk", () => {
  const big = (): string => JSON.stringify("x".repeat(100_000));
  const full = async (): Promise<{ store: Store; owner: Owner; held: string[] }> => {
    const store = open(":memory:", { maxPages: 300 });
    await store.open({ shards: SHARDS });
    const owner = await openOwner(store, "a");
    const held: string[] = [];
    const ended = { state: "succeeded" as const, endedAtMs: 1 };
    for (let at = 0; ; at += 1) {
      const done = turnOf(owner, `x${at}`, { events: [big()], head: ended });
      const code = await store.turn(done).then(
        () => undefined,
        (error: unknown) => isHodeiError(error) && error.code,
      );
      if (code === undefined) held.push(`x${at}`);
      else {
        expect(code).toBe("UNAVAILABLE");
        return { store, owner, held };
      }
    }
  };

  it("refuses every call of the group, keeps what was acknowledged and nothing else", async () => {
    const { store, owner, held } = await full();
    const { replicationId } = await store.open({ shards: SHARDS });
    const hints: unknown[] = [];
    store.watch({ kind: "execution", namespace: "default", id: "small" }, (hint) => hints.push(hint));
    const group = await Promise.allSettled([
      store.turn(turnOf(owner, "small", { events: ["1"] })),
      store.sessions(),
      store.turn(turnOf(owner, "large", { events: [big()] })),
    ]);
    expect(group.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect((await store.open({ shards: SHARDS })).replicationId).not.toBe(replicationId);
    expect(hints).toEqual([]);
    const { executions } = await store.listExecutions({ namespace: "default", limit: 100 });
    expect(executions.map(({ id }) => id).sort()).toEqual(held.sort());
    expect(await store.readExecution({ namespace: "default", id: "x0" })).toMatchObject({ events: [big()] });
  });

  it("may be watched right after a refusal", async () => {
    const { store } = await full();
    expect(() => store.watch({ kind: "registry", namespace: "default" }, () => {})).not.toThrow();
  });

  it("goes on when there is room again, with the same sessions and shards", async () => {
    const { store, owner } = await full();
    await store.expire({ fence: fenceOf(owner), endedBeforeMs: 2, limit: 3 });
    expect(await store.turn(turnOf(owner, "again", { events: [big()] }))).toMatchObject({ status: "OK" });
  });
});
