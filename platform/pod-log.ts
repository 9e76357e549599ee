import { closeSync, fstatSync, openSync, readSync, truncateSync } from "node:fs";
import { isSystemError } from "../base/process.ts";

/** The last `tailBytes` of a file, from the first whole line on when it is cut; "" when there is none. */
export function tailOf(path: string, tailBytes: number): string {
  const file = openOr(path);
  if (file === undefined) return "";
  try {
    const { size } = fstatSync(file);
    const length = Math.min(size, Math.max(0, tailBytes));
    const data = Buffer.alloc(length);
    const read = readSync(file, data, 0, length, size - length);
    const text = data.toString("utf8", 0, read);
    return length < size ? text.slice(text.indexOf("\n") + 1) : text;
  } finally {
    closeSync(file);
  }
}

/**
 * Empties a file that outgrew `maximum`. The writer is another process that holds it open for appending, so it can be
 * emptied but neither shortened at its front nor exchanged; a worker that writes so much has nothing left to say.
 */
export function capFile(path: string, maximum: number): void {
  const file = openOr(path);
  if (file === undefined) return;
  const { size } = fstatSync(file);
  closeSync(file);
  if (size > maximum) truncateSync(path, 0);
}

function openOr(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}
