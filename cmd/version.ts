import { existsSync, readFileSync } from "node:fs";

/** From the package.json beside the sources, or above dist/. */
export const VERSION = readVersion();

function readVersion(): string {
  for (const place of ["../package.json", "../../package.json"]) {
    const path = new URL(place, import.meta.url);
    if (!existsSync(path)) continue;
    const { version } = JSON.parse(readFileSync(path, "utf8")) as { version: string };
    return version;
  }
  throw new Error("package.json is missing beside the program");
}
