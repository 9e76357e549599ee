import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { readAddresses, writeAddresses } from "./addresses.ts";

const folders: string[] = [];
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "hodei-addresses-"));
  folders.push(path);
  return path;
}
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true });
});

it("reads what it wrote, and nothing where nothing was written", () => {
  const directory = folder();
  expect(readAddresses(directory)).toBeUndefined();
  const addresses = { api: "127.0.0.1:1", http: "127.0.0.1:2", engines: { "engine-1": "127.0.0.1:3" } };
  writeAddresses(directory, addresses);
  expect(readAddresses(directory)).toEqual(addresses);
});

it.each([
  ["torn JSON", '{"api":'],
  ["no object", "null"],
  ["a field missing", '{"api":"a:1","engines":{}}'],
  ["a port that is no text", '{"api":1,"http":"h:2","engines":{}}'],
  ["engines in a list", '{"api":"a:1","http":"h:2","engines":["e:3"]}'],
  ["an engine without an address", '{"api":"a:1","http":"h:2","engines":{"engine-1":null}}'],
])("refuses a file with %s, and says what to do", (_, text) => {
  const directory = folder();
  writeFileSync(join(directory, "addresses.json"), text);
  expect(() => readAddresses(directory)).toThrow(
    expect.objectContaining({ code: "DATA_CORRUPT", hint: expect.stringContaining("Delete the file") }),
  );
});
