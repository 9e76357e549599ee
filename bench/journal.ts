import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { nextTurn } from "../base/turn.ts";
import { ownCpuMs, removeFolder, temporaryFolder } from "./cluster.ts";
import { inFlight } from "./measure.ts";

const ENTRY = JSON.stringify({ revision: 1, events: [{ kind: "completed", step: "first", outputs: {} }] });

/** Durable writes one after the other that a workflow of `steps` needs: its start, its steps, its end. */
export const writesOf = (steps: number): number => steps + 2;

export type Floor = { perSecond: number; durationsMs: number[]; cpuMsEach: number };

/**
 * The floor: what the disk and SQLite allow to any engine that journals, with nothing around. Synchronous FULL; writes
 * that come in one turn of the event loop share a commit, as in the store. Each of `count` makes `writes` in a row.
 */
export async function journal(options: {
  writes: number;
  count: number;
  width: number;
  mostMs: number;
}): Promise<Floor> {
  const directory = temporaryFolder();
  const database = new DatabaseSync(join(directory, "journal.db"));
  try {
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE commits (serial INTEGER, revision INTEGER, events TEXT, PRIMARY KEY (serial, revision)) WITHOUT ROWID;
    `);
    const write = groupCommit(database);
    const one = async (serial: number): Promise<void> => {
      for (let revision = 0; revision < options.writes; revision += 1) await write(serial, revision);
    };
    // Compilers first, as for everything that is compared with it.
    await inFlight({ ...options, count: Math.ceil(options.count / 4) }, (at) => one(-1 - at));
    const before = ownCpuMs();
    const { perSecond, durationsMs, count } = await inFlight(options, one);
    return { perSecond, durationsMs, cpuMsEach: (ownCpuMs() - before) / count };
  } finally {
    database.close();
    removeFolder(directory);
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
