import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readText } from "./registry.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hodei-text-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a file named on the command line", () => {
  it("is read as text, without the mark that some editors put first", async () => {
    const file = join(folder, "a.yaml");
    writeFileSync(file, "\ufeffa: é日本\n");
    expect(await readText(file)).toBe("a: é日本\n");
  });

  it.each([
    ["has no end", "/dev/zero", "it has more than 8388608 bytes"],
    ["is a folder", tmpdir(), "EISDIR"],
    ["is not there", "/nowhere/x.yaml", "ENOENT"],
  ])("that %s cannot be read", async (_, file, words) => {
    await expect(readText(file)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      field: "file",
      message: expect.stringContaining(`${file} cannot be read: ${words}`) as string,
    });
  });
});
