import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { silentLogger } from "../../base/log.ts";
import { storeConformance } from "../conformance.ts";
import type { Store } from "../store.ts";
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
