import type { OperationRow } from "../memory/rows.ts";
import type { Database } from "./database.ts";
import { textOf, type Commit } from "./history.ts";
import { OPERATIONS_TOGETHER, textOf as operationText } from "./operations.ts";
import { parsed } from "./rows.ts";
import { COMMITS, FILTERED, JOURNAL, OPERATIONS } from "./schema.ts";

/** By the version they start from; each leads to the next one, all in one transaction. */
export const MIGRATIONS: Readonly<Record<number, (database: Database) => void>> = { 1: journalFirst };

/** Version 1 had a row for every operation, in a ring of slots, and a row for every commit. */
function journalFirst(database: Database): void {
  database.run("ALTER TABLE operations RENAME TO operations_1");
  database.run("ALTER TABLE commits RENAME TO commits_1");
  for (const table of [JOURNAL, OPERATIONS, COMMITS]) database.run(table);
  for (const index of FILTERED.split(";").slice(0, -1)) database.run(index);

  const operations = database
    .all("SELECT key, row FROM operations_1")
    .map(({ key, row }) => parsed<OperationRow>(row, `operations ${String(key)}`))
    .sort((a, b) => a.order - b.order);
  for (let first = 0; first < operations.length; first += OPERATIONS_TOGETHER) {
    const rows = `[${operations
      .slice(first, first + OPERATIONS_TOGETHER)
      .map(operationText)
      .join(",")}]`;
    database.run("INSERT INTO operations (first, rows) VALUES (?, ?)", first + 1, rows);
  }

  for (const { serial, revision, events } of database.iterate("SELECT serial, revision, events FROM commits_1")) {
    const commit: Commit = { revision: Number(revision), events: String(events).split(BETWEEN_EVENTS) };
    database.run(
      "INSERT INTO commits (serial, revision, commits) VALUES (?, ?, ?)",
      Number(serial),
      commit.revision,
      textOf([commit]),
    );
  }
  for (const table of ["operations_1", "commits_1"]) database.run(`DROP TABLE ${table}`);
}

const BETWEEN_EVENTS = "\u001e";
