#!/usr/bin/env node
// Plain JavaScript, so that any Node can read it: finds a Node that is new enough, then runs the real program.
// In a checkout that Node comes through npm (tools/node); an installed package runs on the user's own.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const source = here("./main.ts");
const program = existsSync(source) ? source : here("../dist/cmd/main.js");

if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  // Half of a short command's time is compiling: 0.28 s of CPU to import a worker, 0.10 s from the cache.
  module.enableCompileCache?.();
  await import(program);
} else {
  const node = here("../node_modules/.bin/node");
  if (!existsSync(node)) {
    console.error(`hodei needs Node ${NEEDED_MAJOR} or newer, this is ${process.version}. In a checkout run: npm ci`);
    process.exit(1);
  }
  const child = spawn(node, [program, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
