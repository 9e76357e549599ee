import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Schema, Validator } from "@cfworker/json-schema";
import { expect } from "vitest";

/** What the command prints under `-o json`, by the name of its file in docs/schemas/. */
export type SchemaName = "execution" | "history" | "events" | "why" | "engines" | "workers" | "shards" | "error";

export function schemaOf(name: SchemaName): Schema {
  return JSON.parse(readFileSync(join(import.meta.dirname, `../docs/schemas/${name}.json`), "utf8")) as Schema;
}

/** The places that do not match; none: it does. The value is taken as it is after JSON: undefined members do not exist. */
export function mismatches(name: SchemaName, value: unknown): string[] {
  const { errors } = new Validator(schemaOf(name), "2020-12", false).validate(JSON.parse(JSON.stringify(value)));
  return errors.map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`);
}

/** The same as an assertion. */
export function expectMatches(name: SchemaName, value: unknown): void {
  expect(mismatches(name, value), `does not match docs/schemas/${name}.json: ${JSON.stringify(value)}`).toEqual([]);
}
