import { expect, test } from "vitest";
import { definitionOf, digestOf, normalForm } from "../workflow/load.ts";
import { Definitions } from "./definitions.ts";

function defined(...steps: string[]): { digest: string; text: string } {
  const spec = { steps: Object.fromEntries(steps.map((id) => [id, { run: "true" }])) };
  const metadata = { name: "made", version: "1.0.0" };
  const definition = definitionOf({ apiVersion: "hodei.dev/v1", kind: "Workflow", metadata, spec });
  return { digest: digestOf(definition), text: normalForm(definition) };
}

test("executions of one version share one object", () => {
  const definitions = new Definitions();
  const { digest, text } = defined("one");
  expect(definitions.read(digest, text)).toBe(definitions.read(digest, JSON.stringify(JSON.parse(text))));
});

test("the same digest with its steps in another order is read as it was written", () => {
  const definitions = new Definitions();
  const [ab, ba] = [defined("a", "b"), defined("b", "a")];
  expect(ba.digest).toBe(ab.digest);
  for (const { digest, text } of [ab, ba, ab]) {
    expect(Object.keys(definitions.read(digest, text).steps)).toEqual(Object.keys(JSON.parse(text).steps));
  }
});

test("what is kept is bounded, and what fell out is read again", () => {
  const definitions = new Definitions();
  const { text } = defined("one");
  const padded = `${text}${" ".repeat(1024 * 1024)}`;
  const first = definitions.read("0", padded);
  expect(definitions.read("0", padded)).toBe(first);
  for (let other = 1; other <= 8; other += 1) definitions.read(String(other), padded);
  expect(definitions.read("0", padded)).not.toBe(first);
});
