import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { silentLogger, type Logger } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import { openOwner, SHARDS, turnOf, type Owner } from "../fixtures.ts";
import type { Store } from "../store.ts";
import { Database } from "./database.ts";
import { JournalFile } from "./journal-file.ts";
import { openSqliteStore, type SqliteOptions } from "./store.ts";

/** What becomes of the journal when a disk fails, forgets or changes what it was given, or folders are mixed up. */
const JOURNAL = "hodei.journal";
const folders: string[] = [];
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "hodei-damage-"));
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true });
});

function imageOf(directory: string): string {
  const image = folder();
  for (const name of readdirSync(directory)) copyFileSync(join(directory, name), join(image, name));
  return image;
}

const open = (directory: string, over: Partial<SqliteOptions> = {}): Store =>
  openSqliteStore({ directory, clock: new ManualClock(), random: systemRandom, logger: silentLogger, ...over });

async function opened(over: Partial<SqliteOptions> = {}): Promise<{ directory: string; store: Store; owner: Owner }> {
  const directory = folder();
  const store = open(directory, over);
  await store.open({ shards: SHARDS });
  return { directory, store, owner: await openOwner(store, "a") };
}

const ended = { state: "succeeded" as const, endedAtMs: 1 };
const bytesOf = (directory: string): Buffer => readFileSync(join(directory, JOURNAL));

/** The ids that a store of this folder has, or the code and the words of its refusal. */
async function found(directory: string): Promise<string[] | string> {
  try {
    const store = open(directory);
    const { executions } = await store.listExecutions({ namespace: "default", limit: 999 });
    await store.close();
    return executions.map(({ id }) => id).sort();
  } catch (error) {
    if (isHodeiError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
}

describe("sqlite: a sync that failed", () => {
  it.each(["sync", "syncLater"] as const)("(%s) takes nothing with it that comes later", async (name) => {
    const { directory, store, owner } = await opened();
    const before = bytesOf(directory).length;
    const spy = vi.spyOn(JournalFile.prototype, name).mockImplementationOnce((done?: (error: Error) => void) => {
      if (done === undefined) throw new Error("the disk is gone");
      queueMicrotask(() => done(new Error("the disk is gone")));
    });
    const calls = Array.from({ length: name === "sync" ? 1 : 5 }, (_, at) =>
      store.turn(turnOf(owner, `x${at}`, { events: [JSON.stringify("x".repeat(5000))] })),
    );
    for (const call of await Promise.allSettled(calls)) expect(call.status).toBe("rejected");
    spy.mockRestore();
    const after = bytesOf(directory).length;
    const forgotten = (): string => {
      const image = imageOf(directory);
      writeFileSync(join(image, JOURNAL), bytesOf(image).fill(0, before, after));
      return image;
    };
    // What a reader sees stays, though the disk never got the record that it was in.
    const { executions } = await store.listExecutions({ namespace: "default", limit: 9 });
    expect(await found(forgotten())).toEqual(executions.map(({ id }) => id).sort());
    for (const id of ["next", "later"]) {
      expect(await store.turn(turnOf(owner, id, { events: ["1"] }))).toMatchObject({ status: "OK" });
      expect(await found(forgotten())).toContain(id);
    }
    await store.close();
  });

  it("of the tables keeps the next commit out of the journal: the failed one may be found after a kill", async () => {
    const { directory, store, owner } = await opened({ journalBytes: 4_000 });
    const large = turnOf(owner, "large", { events: [JSON.stringify("x".repeat(9_000))] });
    vi.spyOn(Database.prototype, "commit").mockImplementationOnce(() => {
      throw new Error("the disk is gone");
    });
    await expect(store.turn(large)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const appended = vi.spyOn(JournalFile.prototype, "append");
    expect(await store.turn(turnOf(owner, "small", { events: ["1"] }))).toMatchObject({ status: "OK" });
    expect(appended).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    expect(await found(imageOf(directory))).toEqual(["small"]);
    await store.close();
  });

  it("is made good for what a killed process had written and not synced, before anybody reads it", async () => {
    const { directory, store } = await opened();
    const image = imageOf(directory);
    await store.close();
    const synced = vi.spyOn(JournalFile.prototype, "sync");
    const again = open(image);
    expect(synced).toHaveBeenCalled();
    synced.mockRestore();
    await again.close();
  });
});

describe("sqlite: a damaged journal", () => {
  it("is refused when a record is wrong behind which others are whole, whichever byte it is", async () => {
    const { directory, store, owner } = await opened();
    await store.turn(turnOf(owner, "x0", { events: ["1"] }));
    const from = bytesOf(directory).length;
    await store.turn(turnOf(owner, "x1", { events: ["1"] }));
    const to = bytesOf(directory).length;
    await store.turn(turnOf(owner, "x2", { events: ["1"] }));
    const image = imageOf(directory);
    await store.close();
    const whole = bytesOf(image);
    // Each byte of the header, some of the text; then all of it as if a block were gone.
    const places = Array.from({ length: 16 }, (_, at) => from + at);
    for (let at = from + 16; at < to; at += 50) places.push(at);
    for (const at of [...places, undefined]) {
      const each = imageOf(image);
      const bytes = Buffer.from(whole);
      if (at === undefined) bytes.fill(0, from, to);
      else bytes.writeUInt8((bytes[at] ?? 0) ^ 1, at);
      writeFileSync(join(each, JOURNAL), bytes);
      expect(await found(each)).toMatch(/^DATA_CORRUPT record \d+ of the journal .* is damaged/);
    }
  });

  it("of another folder is not taken for its own", async () => {
    const theirs = await opened();
    for (const id of ["t1", "t2", "t3"]) await theirs.store.turn(turnOf(theirs.owner, id, { events: ["1"] }));
    const mine = await opened();
    const image = imageOf(mine.directory);
    copyFileSync(join(theirs.directory, JOURNAL), join(image, JOURNAL));
    expect(await found(image)).toEqual([]);
    await Promise.all([theirs.store.close(), mine.store.close()]);
  });

  it("that ends before what the tables have seen of it is refused", async () => {
    const { directory, store, owner } = await opened({ journalBytes: 40_000 });
    const older = imageOf(directory);
    const slices = vi.spyOn(Database.prototype, "begin");
    // More rows than one slice takes.
    for (let at = 0; slices.mock.calls.length === 0; at += 1) {
      const timers = Array.from({ length: 80 }, (_, timer) => ({ id: `t${timer}`, atMs: 1 }));
      await store.turn(turnOf(owner, `x${at}`, { events: ["1"], timers }));
    }
    slices.mockRestore();
    const image = imageOf(directory);
    await store.close();
    copyFileSync(join(older, JOURNAL), join(image, JOURNAL));
    expect(await found(image)).toMatch(/^DATA_CORRUPT the journal ends before record/);
  });
});

describe("sqlite: tables that follow", () => {
  it("do so in small pieces, however large the rows are", async () => {
    const { store, owner } = await opened();
    const pieces: number[] = [];
    const run = vi.spyOn(Database.prototype, "run");
    const begin = vi.spyOn(Database.prototype, "begin");
    const events = [JSON.stringify("x".repeat(100_000))];
    for (let at = 0; pieces.length < 3; at += 1) {
      run.mockClear();
      await store.turn(turnOf(owner, `x${at}`, { events }));
      const texts = run.mock.calls.flat().filter((value) => typeof value === "string");
      const written = texts.reduce((sum, { length }) => sum + length, 0);
      if (begin.mock.calls.length > pieces.length) pieces.push(written);
    }
    for (const piece of pieces) {
      expect(piece).toBeGreaterThan(100_000);
      expect(piece).toBeLessThan(1_500_000);
    }
    for (const spy of [run, begin]) spy.mockRestore();
    await store.close();
  });
});

describe("sqlite: tables that cannot be written for a while", () => {
  it("are tried again now and then, and from then on as before", async () => {
    const warnings: unknown[] = [];
    const logger: Logger = { ...silentLogger, warn: (...words) => void warnings.push(words) };
    const { store, owner } = await opened({ journalBytes: 16_000, logger });
    let at = 0;
    const turn = (): Promise<unknown> => store.turn(turnOf(owner, `x${at++}`, { events: ["1"], head: ended }));
    const begin = vi.spyOn(Database.prototype, "begin");
    /** Turns from one transaction to the next. */
    const turnsToNext = async (): Promise<number> => {
      const from = at;
      for (begin.mockClear(); begin.mock.calls.length === 0;) await turn();
      return at - from;
    };
    await turnsToNext();
    const usual = await turnsToNext();
    begin.mockImplementationOnce(() => {
      throw new Error("the disk is full");
    });
    await turnsToNext();
    expect(warnings).toHaveLength(1);
    await turnsToNext();
    for (let time = 0; time < 3; time += 1) expect(await turnsToNext()).toBeLessThanOrEqual(usual + 2);
    begin.mockRestore();
    await store.close();
  });

  it("do not keep out what the journal has room for, after a group for which there was none", async () => {
    const { directory, store, owner } = await opened({ journalBytes: 16_000 });
    const begin = vi.spyOn(Database.prototype, "begin").mockImplementation(() => {
      throw new Error("the disk is full");
    });
    const large = turnOf(owner, "large", { events: [JSON.stringify("x".repeat(20_000))] });
    await expect(store.turn(large)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await store.turn(turnOf(owner, "small", { events: ["1"] }))).toMatchObject({ status: "OK" });
    begin.mockRestore();
    expect(await found(imageOf(directory))).toEqual(["small"]);
    await store.close();
  });

  it("do not cost a warning for each commit when rows were to be deleted from them", async () => {
    const warnings: unknown[] = [];
    const logger: Logger = { ...silentLogger, warn: (...words) => void warnings.push(words) };
    const { store, owner } = await opened({ logger });
    await store.turn(turnOf(owner, "old", { events: ["1"], head: ended }));
    const begin = vi.spyOn(Database.prototype, "begin").mockImplementation(() => {
      throw new Error("the disk is full");
    });
    const [fence] = owner.fences;
    if (fence === undefined) throw new Error("no shard");
    await store.expire({ fence, endedBeforeMs: 2, limit: 9 });
    for (let at = 0; at < 5; at += 1) await store.turn(turnOf(owner, `x${at}`, { events: ["1"] }));
    expect(warnings).toHaveLength(1);
    begin.mockRestore();
    await store.close();
  });
});

describe("sqlite: a folder that cannot be opened", () => {
  it.each([["hodei.db"], ["hodei.db-wal"]])("refuses a journal whose %s is missing, again and again", async (lost) => {
    const { directory, store, owner } = await opened();
    await store.turn(turnOf(owner, "x", { events: ["1"] }));
    const image = imageOf(directory);
    await store.close();
    const journal = bytesOf(image);
    rmSync(join(image, lost));
    for (let time = 0; time < 2; time += 1) expect(await found(image)).toMatch(/^DATA_CORRUPT /);
    expect(bytesOf(image).equals(journal)).toBe(true);
  });

  it("begins anew where a journal was moved away with its tables", async () => {
    const { directory, store } = await opened();
    await store.close();
    for (const name of readdirSync(directory)) rmSync(join(directory, name));
    expect(await found(directory)).toEqual([]);
  });

  it("is told as such, and not as a defect of ours", async () => {
    const directory = folder();
    mkdirSync(join(directory, "hodei.db"));
    expect(await found(directory)).toMatch(/^INVALID_ARGUMENT the data folder .* cannot be written: /);
    const other = await opened();
    const image = imageOf(other.directory);
    await other.store.close();
    rmSync(join(image, JOURNAL));
    mkdirSync(join(image, JOURNAL));
    expect(await found(image)).toMatch(/^INVALID_ARGUMENT .*EISDIR/);
  });
});
