import type { TableName } from "../memory/rows.ts";

/** "HODE": tells our files from any other SQLite file. */
export const APPLICATION_ID = 0x484f4445;
/** Raised with every change that an older version cannot read; `migrate.ts` leads here from each version before. */
export const SCHEMA_VERSION = 2;

/** One table each: key and the row as JSON. All of them are in memory too. */
export type HotTable = Exclude<TableName, "operations">;
export const HOT_TABLES: Readonly<Record<HotTable, string>> = {
  clusters: "clusters",
  sessions: "sessions",
  shards: "shards",
  executions: "open_executions",
  timers: "timers",
  outbox: "outbox",
  jobs: "jobs",
  claims: "claims",
  inbox: "inbox",
  workspaces: "workspaces",
  registries: "registries",
  definitions: "definitions",
  workerRequests: "worker_requests",
};

const hot = Object.values(HOT_TABLES)
  .map((table) => `CREATE TABLE ${table} (key TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;`)
  .join("\n");

/**
 * The journal, a file of its own: where it must be read from and the number of the record there, the number of the record
 * that came next then (all before it were on disk), and what its checksums begin with. One row while there is a journal.
 */
export const JOURNAL = `
CREATE TABLE journal (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  start INTEGER NOT NULL, number INTEGER NOT NULL, next INTEGER NOT NULL, salt INTEGER NOT NULL
);`;
/** The newest operations, some in each row, by the number of the first. */
export const OPERATIONS = "CREATE TABLE operations (first INTEGER PRIMARY KEY, rows TEXT NOT NULL);";
/** A row holds the commits that were written together, by the last one's revision. */
export const COMMITS = `
CREATE TABLE commits (
  serial INTEGER NOT NULL, revision INTEGER NOT NULL, commits TEXT NOT NULL,
  PRIMARY KEY (serial, revision)
) WITHOUT ROWID;`;

/**
 * For filtered lists, which else pass over every execution that has ended: 12 ms of 30,000. Those that did not succeed are
 * few, so theirs costs next to nothing; that of workflows costs 2 µs for each end.
 */
export const FILTERED = `
CREATE INDEX finished_unsuccessful ON finished (namespace, state, started_at DESC, key DESC)
WHERE state <> 'succeeded';
CREATE INDEX finished_workflow ON finished (namespace, workflow, started_at DESC, key DESC);`;

/** What is read on demand. Executions are named by their serial, so that neighbours in time are neighbours on disk. */
const cold = `
CREATE TABLE finished (
  key TEXT PRIMARY KEY, serial INTEGER NOT NULL, namespace TEXT NOT NULL, shard INTEGER NOT NULL,
  state TEXT NOT NULL, workflow TEXT NOT NULL, parent TEXT,
  started_at INTEGER NOT NULL, ended_at INTEGER NOT NULL, row TEXT NOT NULL
);
CREATE INDEX finished_listed ON finished (namespace, started_at DESC, key DESC);
CREATE INDEX finished_ended ON finished (shard, ended_at);
CREATE INDEX finished_children ON finished (namespace, parent) WHERE parent IS NOT NULL;
CREATE INDEX finished_serial ON finished (serial);

CREATE TABLE snapshots (serial INTEGER PRIMARY KEY, revision INTEGER NOT NULL, text TEXT NOT NULL);

CREATE TABLE locked (serial INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (serial, digest)) WITHOUT ROWID;
CREATE INDEX locked_by ON locked (digest);
CREATE TABLE locked_bodies (digest TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE registry_bodies (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE counters (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE logs (
  position INTEGER PRIMARY KEY, serial INTEGER NOT NULL, step TEXT NOT NULL, iteration TEXT NOT NULL,
  attempt INTEGER NOT NULL, offset INTEGER NOT NULL, dropped INTEGER NOT NULL, at_ms INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX logs_listed ON logs (serial);
CREATE INDEX logs_attempt ON logs (serial, step, iteration, attempt);
`;

export const SCHEMA = `${hot}${JOURNAL}${OPERATIONS}${COMMITS}${cold}${FILTERED}
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};`;
