import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { nextTurn } from "../base/turn.ts";
import { inFlight } from "./measure.ts";

/** Writes that a 3-step workflow must make durable one after the other: its start, three steps, its end. */
const WRITES = 5;
const ENTRY = JSON.stringify({ revision: 1, events: [{ kind: "completed", step: "first", outputs: {} }] });

/**
 * The floor: what the disk and SQLite allow to any engine that journals, with nothing around. Synchronous FULL; writes
 * that come in one turn of the event loop share a commit, as in the store.
 */
export async function journal(options: { count: number; width: number; mostMs: number }): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "hodei-bench-"));
  const database = new DatabaseSync(join(directory, "journal.db"));
  try {
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE commits (serial INTEGER, revision INTEGER, events TEXT, PRIMARY KEY (serial, revision)) WITHOUT ROWID;
    `);
    const write = groupCommit(database);
    const { perSecond } = await inFlight(options, async (serial) => {
      for (let revision = 0; revision < WRITES; revision += 1) await write(serial, revision);
    });
    return perSecond;
  } finally {
    database.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

function groupCommit(database: DatabaseSync): (serial: number, revision: number) => Promise<void> {
  const begin = database.prepare("BEGIN IMMEDIATE");
  const insert = database.prepare("INSERT INTO commits VALUES (?, ?, ?)");
  const commit = database.prepare("COMMIT");
  let waiting: { serial: number; revision: number; done: () => void }[] = [];
  const flush = (): void => {
    const batch = waiting;
    waiting = [];
    begin.run();
    for (const { serial, revision } of batch) insert.run(serial, revision, ENTRY);
    commit.run();
    for (const { done } of batch) done();
  };
  return (serial, revision) =>
    new Promise((done) => {
      if (waiting.push({ serial, revision, done }) === 1) nextTurn(flush);
    });
}
