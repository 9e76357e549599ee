import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, it, vi } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { isHodeiError, type HodeiError } from "../../workflow/errors.ts";
import { storeConformance } from "../conformance.ts";
import { fenceOf, openOwner, SHARDS, turnOf, type Owner, op } from "../fixtures.ts";
import type { Store } from "../store.ts";
import { Database } from "./database.ts";
import { JournalFile } from "./journal-file.ts";
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

/** What a process that is killed now leaves behind. */
function imageOf(directory: string): string {
  const image = folder();
  for (const name of readdirSync(directory)) copyFileSync(join(directory, name), join(image, name));
  return image;
}

/** `reopen` ends the store properly: the journal is empty then. */
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

/** `reopen` finds what a kill left. The journal holds a few turns only: it is written over, and some fit only the tables. */
storeConformance(
  "sqlite, killed, with a small journal",
  async (options) => {
    let directory = folder();
    const open = (): Store => openSqliteStore({ ...options, directory, logger: silentLogger, journalBytes: 6_000 });
    let store = open();
    return {
      store,
      reopen: async () => {
        directory = imageOf(directory);
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

const open = (directory: string, over: { maxPages?: number; journalBytes?: number } = {}): Store =>
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

describe("sqlite: the journal", () => {
  const turns = async (store: Store, count: number): Promise<void> => {
    const owner = await openOwner(store, "a");
    for (let at = 0; at < count; at += 1) {
      const text = JSON.stringify(`${at} ${"x".repeat(300)}`);
      await store.turn(turnOf(owner, "long", { expectedRevision: at, events: [text] }));
      const ended = { state: "succeeded" as const, endedAtMs: 1, startedAtMs: at };
      await store.turn(
        turnOf(owner, `x${at}`, { events: [text], snapshot: text, definitions: { d: "{}" }, head: ended }),
      );
    }
  };
  const contents = async (store: Store): Promise<unknown> => ({
    long: await store.readHistory({ namespace: "default", id: "long", afterRevision: 0, limit: 999 }),
    list: await store.listExecutions({ namespace: "default", limit: 999 }),
    some: await store.readExecution({ namespace: "default", id: "x7" }),
  });

  it("holds everything at any moment: before and after each write, to the journal and to the tables", async () => {
    const directory = folder();
    const store = open(directory, { journalBytes: 8_000 });
    await store.open({ shards: SHARDS });
    const images: { image: string; revision: number }[] = [];
    let revision = 0;
    const around = (kind: "append" | "commit") => {
      const prototype: Record<string, (...values: never[]) => unknown> =
        kind === "append" ? (JournalFile.prototype as never) : (Database.prototype as never);
      const real = prototype[kind] as (...values: never[]) => unknown;
      return vi.spyOn(prototype, kind).mockImplementation(function (this: unknown, ...values) {
        images.push({ image: imageOf(directory), revision });
        const answer = real.apply(this, values);
        images.push({ image: imageOf(directory), revision });
        return answer;
      });
    };
    const spies = [around("append"), around("commit")];
    const owner = await openOwner(store, "a");
    for (; revision < 30; revision += 1) {
      const events = [JSON.stringify(`${revision + 1} ${"x".repeat(500)}`)];
      await Promise.all([
        store.turn(turnOf(owner, "long", { expectedRevision: revision, events })),
        store.turn(turnOf(owner, `x${revision}`, { events, head: { state: "succeeded", endedAtMs: 1 } })),
        // Every other group is large enough to be written in the background.
        ...(revision % 2 === 0 ? [store.sessions(), store.shards()] : []),
      ]);
    }
    expect(spies[1]?.mock.calls.length).toBeGreaterThan(5);
    for (const spy of spies) spy.mockRestore();
    await store.close();
    for (const { image, revision: acknowledged } of images) {
      const again = open(image);
      const history = await again.readHistory({ namespace: "default", id: "long", afterRevision: 0, limit: 999 });
      const revisions = history?.commits.map((commit) => commit.revision) ?? [];
      expect(revisions).toEqual(Array.from({ length: history?.head.revision ?? 0 }, (_, at) => at + 1));
      // Whole groups only: both of its calls, or neither, and never fewer than were acknowledged.
      expect([acknowledged, acknowledged + 1]).toContain(revisions.length);
      const { executions } = await again.listExecutions({ namespace: "default", limit: 999, states: ["succeeded"] });
      expect(executions.length).toBe(revisions.length);
      await again.close();
    }
  }, 60_000);

  it("is the same after a kill, a kill while that is mended, and a proper end", async () => {
    const directory = folder();
    const store = open(directory, { journalBytes: 30_000 });
    await store.open({ shards: SHARDS });
    await turns(store, 60);
    const before = await contents(store);
    const killed = imageOf(directory);
    const first = open(killed);
    expect(await contents(first)).toEqual(before);
    const twice = imageOf(killed);
    await first.close();
    for (const each of [killed, twice]) {
      const again = open(each);
      expect(await contents(again)).toEqual(before);
      await again.close();
    }
    expect(readdirSync(killed)).not.toContain("hodei.journal");
    await store.close();
  });

  it("ends before a record that was cut short, and goes on from there", async () => {
    const directory = folder();
    const store = open(directory);
    await store.open({ shards: SHARDS });
    await turns(store, 3);
    const image = imageOf(directory);
    await store.close();
    const path = join(image, "hodei.journal");
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(0, bytes.lastIndexOf("x".repeat(100))));
    const again = open(image);
    const { executions } = await again.listExecutions({ namespace: "default", limit: 9, states: ["succeeded"] });
    expect(executions.map(({ id }) => id)).toEqual(["x1", "x0"]);
    const next = await openOwner(again, "a");
    expect(await again.turn(turnOf(next, "x2", { events: ["1"] }))).toMatchObject({ status: "OK" });
    const twice = open(imageOf(image));
    expect(await twice.readExecution({ namespace: "default", id: "x2" })).toMatchObject({ events: ["1"] });
    await Promise.all([again.close(), twice.close()]);
  });

  it("refuses a folder whose journal is gone while it holds what was written last", async () => {
    const directory = folder();
    const store = open(directory);
    await store.open({ shards: SHARDS });
    const image = imageOf(directory);
    await store.close();
    rmSync(join(image, "hodei.journal"));
    expect(refusalOf(() => open(image))).toMatchObject({ code: "DATA_CORRUPT" });
  });

  it("forgets what was erased, whether a table had it or not, and keeps definitions that others lock", async () => {
    const directory = folder();
    const store = open(directory, { journalBytes: 20_000 });
    await store.open({ shards: SHARDS });
    await turns(store, 40);
    const owner = await openOwner(store, "b", [0]);
    await store.turn(
      turnOf(owner, "running", {
        events: ["1"],
        definitions: { d: "{}" },
        head: { shard: 1 },
        fence: fenceOf(await openOwner(store, "c", [1]), 1),
      }),
    );
    const [fence] = (await openOwner(store, "a")).fences;
    if (fence === undefined) throw new Error("nobody gave up shard 0");
    let expired = 0;
    for (let last = 1; last > 0; expired += last) {
      const answer = await store.expire({ fence, endedBeforeMs: 2, limit: 7 });
      last = "expired" in answer ? answer.expired : 0;
    }
    expect(expired).toBe(40);
    for (const each of [directory, imageOf(directory)]) {
      const again = each === directory ? store : open(each);
      const { executions } = await again.listExecutions({ namespace: "default", limit: 99 });
      expect(executions.map(({ id }) => id).sort()).toEqual(["long", "running"]);
      const record = await again.readExecution({ namespace: "default", id: "running" });
      expect(record).toMatchObject({ definitions: { d: "{}" } });
      await again.close();
    }
  });
});

describe("sqlite: a data folder of an older version", () => {
  it("of schema 1 is read as it was, and may be opened again", async () => {
    const directory = folder();
    const database = new DatabaseSync(join(directory, "hodei.db"));
    database.exec(readFileSync(join(import.meta.dirname, "schema-1.sql"), "utf8"));
    database.close();
    for (let time = 0; time < 2; time += 1) {
      const store = open(directory);
      await store.open({ shards: SHARDS });
      const commits = (id: string) => store.readHistory({ namespace: "default", id, afterRevision: 0, limit: 9 });
      expect((await commits("open"))?.commits).toEqual([
        { revision: 1, events: ['{"n":1}', '{"n":2}'] },
        { revision: 2, events: ['{"n":3}'] },
      ]);
      expect((await commits("done"))?.commits.at(-1)).toEqual({ revision: 2, events: ['{"n":2}', '"é"'] });
      expect(await store.readExecution({ namespace: "default", id: "done" })).toMatchObject({
        snapshot: { text: "S", revision: 2 },
        definitions: { d: '{"steps":{}}' },
      });
      expect((await store.jobs({ limit: 9 })).map(({ state }) => state)).toEqual(["claimed", "queued"]);
      expect(await store.registry.nextRunNumber({ opId: "run", namespace: "default", name: "g" })).toBe(1);
      expect(await store.logs.read({ namespace: "default", executionId: "open", limitBytes: 9 })).toMatchObject({
        chunks: [{ data: new Uint8Array(Buffer.from("log")) }],
      });
      await store.close();
    }
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

  it("gives no run number twice, although the group that one was answered from never came to be", async () => {
    const { store, owner } = await full();
    const next = (): Promise<number> => store.registry.nextRunNumber({ opId: op(), namespace: "default", name: "g" });
    const given = next();
    await expect(store.turn(turnOf(owner, "large", { events: [big()] }))).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    expect([await given, await next(), await next()]).toEqual([1, 2, 3]);
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
