import { createHash } from "node:crypto";
import { renameSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isSystemError } from "../base/process.ts";

/**
 * One folder per workspace, kept until its release over reconnects and restarts of the worker:
 * `<directory>/<hash>/key` holds the name it goes by, `<directory>/<hash>/files` what steps see. The hash keeps keys that
 * hold `/`, `..` or 500 characters from becoming paths.
 */
export class Workspaces {
  readonly #directory: string;
  readonly #held = new Map<string, { path: string; users: number; released: boolean }>();
  #trash = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Finds what an earlier life left; what was being removed then is removed now. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const key = await readFile(join(path, "key"), "utf8").catch((error: unknown) => {
        if (isSystemError(error, "ENOENT", "ENOTDIR")) return undefined;
        throw error;
      });
      if (key === undefined || name !== hashOf(key)) await rm(path, { recursive: true, force: true });
      else this.#held.set(key, { path, users: 0, released: false });
    }
  }

  get keys(): string[] {
    return [...this.#held.entries()].filter(([, entry]) => !entry.released).map(([key]) => key);
  }

  has(key: string): boolean {
    return this.#held.get(key)?.released === false;
  }

  /** The folder for a job; `leave` must follow. */
  async enter(key: string): Promise<string> {
    const path = join(this.#directory, hashOf(key));
    const entry = this.#held.get(key) ?? { path, users: 0, released: false };
    entry.users++;
    entry.released = false;
    this.#held.set(key, entry);
    await mkdir(join(path, "files"), { recursive: true });
    await writeFile(join(path, "key"), key);
    return join(path, "files");
  }

  async leave(key: string): Promise<void> {
    const entry = this.#held.get(key);
    if (!entry) return;
    entry.users--;
    if (entry.released && entry.users === 0) await this.#remove(key, entry.path);
  }

  /** Removes it, or marks it for the last job that still runs in it. */
  async release(key: string): Promise<void> {
    const entry = this.#held.get(key);
    if (!entry) return;
    entry.released = true;
    if (entry.users === 0) await this.#remove(key, entry.path);
  }

  /**
   * Renamed first, since a large folder takes long to delete; and in this very turn, so that a job that enters the
   * same name next cannot have its new folder moved away from under it.
   */
  async #remove(key: string, path: string): Promise<void> {
    this.#held.delete(key);
    const trash = `${path}.${this.#trash++}.removed`;
    try {
      renameSync(path, trash);
    } catch (error) {
      if (isSystemError(error, "ENOENT")) return;
      throw error;
    }
    await rm(trash, { recursive: true, force: true, maxRetries: 3 });
  }
}

function hashOf(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 24);
}
