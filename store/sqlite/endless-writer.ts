import { writeSync } from "node:fs";
import { systemClock } from "../../base/clock.ts";
import { jsonLogger } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { openOwner, SHARDS, turnOf } from "../fixtures.ts";
import { openSqliteStore } from "./store.ts";

/**
 * A process for the tests that kill one: `node endless-writer.ts DIRECTORY` commits turns of eight executions at once and
 * says on stdout `ID REVISION` for each one acknowledged, until it is killed.
 */
const [, , directory = ""] = process.argv;
const store = openSqliteStore({ directory, clock: systemClock, random: systemRandom, logger: jsonLogger("warn") });
await store.open({ shards: SHARDS });
const owner = await openOwner(store, "writer");

async function write(id: string): Promise<never> {
  for (let revision = 0; ; revision += 1) {
    const answer = await store.turn(turnOf(owner, id, { expectedRevision: revision, events: [`"${revision + 1}"`] }));
    if (answer.status !== "OK") throw new Error(`turn of ${id}: ${answer.status}`);
    writeSync(1, `${id} ${answer.revision}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, (_, at) => write(`x${at}`)));
