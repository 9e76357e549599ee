import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { FromWorker } from "../transport/api/worker.ts";
import { HodeiError } from "../workflow/errors.ts";

export type Result = Extract<FromWorker, { kind: "result" }>;

/** With so many results on disk the worker takes no job: someone must come and fetch them. */
export const SPOOL_MAXIMUM = 256;

/**
 * Results that wait for their acknowledgement, one file each: written whole (a new file, fsync, rename, fsync of the
 * folder), so that a crash leaves a result or none. Not an append-only log: only results whose acknowledgement is late come
 * here, and single files need no compaction.
 */
export class Spool {
  readonly #directory: string;
  /** Key → the write in progress or done; a removal waits for it. */
  readonly #written = new Map<string, Promise<void>>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  get size(): number {
    return this.#written.size;
  }

  /** Makes the folder and reads what an earlier life of this worker left. A torn file is an error that names it. */
  async open(): Promise<Result[]> {
    await mkdir(this.#directory, { recursive: true });
    const results: Result[] = [];
    for (const file of await readdir(this.#directory)) {
      const path = join(this.#directory, file);
      if (!file.endsWith(".json")) {
        await rm(path, { force: true }); // begun and never renamed: its result was never promised
        continue;
      }
      const result = parse(path, await readFile(path, "utf8"));
      this.#written.set(keyOf(result), Promise.resolve());
      results.push(result);
    }
    return results;
  }

  /** Resolves when the result would survive a power failure. */
  write(result: Result): Promise<void> {
    const key = keyOf(result);
    const known = this.#written.get(key);
    if (known) return known;
    const writing = this.#write(this.#path(key), JSON.stringify(result));
    this.#written.set(key, writing);
    // A failed write is not a held result; the caller hears of it from the same promise.
    writing.catch(() => this.#written.delete(key));
    return writing;
  }

  /** Acknowledged. Nothing is to be done for a result that never came here. */
  async remove(of: { jobId: string; token: string }): Promise<void> {
    const key = keyOf(of);
    const writing = this.#written.get(key);
    if (!writing) return;
    await writing;
    await rm(this.#path(key), { force: true });
    this.#written.delete(key);
  }

  async #write(path: string, text: string): Promise<void> {
    const fresh = `${path}.new`;
    const file = await open(fresh, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
    const folder = await open(this.#directory, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  #path(key: string): string {
    return join(this.#directory, `${createHash("sha256").update(key).digest("hex").slice(0, 32)}.json`);
  }
}

function parse(path: string, text: string): Result {
  try {
    return JSON.parse(text) as Result;
  } catch (error) {
    throw new HodeiError("DATA_CORRUPT", `the spooled result ${path} is not JSON`, {
      hint: "remove the file: its step is then run again when its worker is counted lost",
      cause: error,
    });
  }
}

function keyOf(of: { jobId: string; token: string }): string {
  return `${of.jobId} ${of.token}`;
}
