import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { chooseAddresses, readAddresses, writeAddresses } from "./addresses.ts";

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

const NOTHING = { host: "127.0.0.1", apiPort: 0, httpPort: 0 };
const ENGINES = ["a", "b", "c", "d", "e", "f"];

it("free ports are several, free, and none that the system gives to outgoing connections", async () => {
  const { api, http, engines } = await chooseAddresses(undefined, { ...NOTHING, engines: ENGINES });
  const ports = [api, http, ...Object.values(engines)].map((address) => Number(address.split(":")[1]));
  expect(new Set(ports).size).toBe(8);
  const [first = 32_768] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/).map(Number);
  for (const port of ports) {
    expect(port).toBeLessThan(first);
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
    await new Promise((resolve) => server.close(resolve));
  }
});

it("an address that is remembered stays, also when any port would do", async () => {
  const kept = await chooseAddresses(undefined, { ...NOTHING, engines: ["a"] });
  const { api, engines } = await chooseAddresses(kept, { ...NOTHING, engines: ["a", "b"] });
  expect(api).toBe(kept.api);
  expect(engines["a"]).toBe(kept.engines["a"]);
  expect(engines["b"]).not.toBe(kept.engines["a"]);
});

it("a host that is not ours is named", async () => {
  const chosen = chooseAddresses(undefined, { ...NOTHING, host: "192.0.2.1", engines: ["a"] });
  await expect(chosen).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "host" });
});
