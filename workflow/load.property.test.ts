import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Definition } from "./definition.ts";
import { isHodeiError } from "./errors.ts";
import { digestOf, loadDefinition, normalForm, parseNormalForm } from "./load.ts";

/** Texts that people and programs get wrong: the examples with pieces cut, swapped and put in, and objects that look like one. */

const EXAMPLES = join(import.meta.dirname, "../examples");
const documents = readdirSync(EXAMPLES)
  .filter((name) => name.endsWith(".yaml"))
  .map((name) => readFileSync(join(EXAMPLES, name), "utf8"));

const PIECES = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "&a ",
  "*a",
  "<<: *a",
  "!!binary ",
  "? ",
  ": ",
  "- ",
  "[",
  "]",
  "{",
  "}",
  "'",
  '"',
  "\\",
  "\t",
  "\0",
  "\ud800",
  "\u2028",
  "\ufeff",
  "é日本😀",
  "\n",
  "\r\n",
  "\n  ",
  "1e999",
  "-0",
  "0x1F",
  ".inf",
  ".nan",
  "9".repeat(400),
  "null",
  "~",
  "true",
  "2024-01-01",
  "a".repeat(5000),
  "${{",
  "}}",
  "${{ }}",
  "${{ steps.a.outputs.x }}",
  "${{ input.__proto__ }}",
  "${{ constructor }}",
  "---\n",
  "...\n",
  "%YAML 1.1\n",
  "# c\n",
  "|\n  ",
  ">-\n",
  "@",
  "`",
  "[[[[[[",
  "5m",
  "^1.2",
  "1.0.0",
  "metadata",
  "spec",
  "steps",
  "needs",
  "env",
  "run",
  "matrix",
  "forEach",
  "retry",
  "timeout",
  "agent",
  "wait",
];

const piece = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...PIECES) },
  fc.string({ unit: "binary", maxLength: 5 }),
);

type Edit = { at: number; cut: number; put: string; how: "characters" | "word" | "line" | "indent" };
const edits = fc.array(
  fc.record({
    at: fc.nat(20_000),
    cut: fc.nat(30),
    put: piece,
    how: fc.constantFrom<Edit["how"]>("characters", "word", "line", "indent"),
  }),
  { minLength: 1, maxLength: 6 },
);

function edited(text: string, { at, cut, put, how }: Edit): string {
  if (how === "word") {
    const words = [...text.matchAll(/[A-Za-z0-9._-]+/g)];
    const word = words[at % Math.max(1, words.length)];
    return word === undefined ? put : text.slice(0, word.index) + put + text.slice(word.index + word[0].length);
  }
  if (how === "characters") {
    const from = at % (text.length + 1);
    return text.slice(0, from) + put + text.slice(from + cut);
  }
  const lines = text.split("\n");
  const line = at % lines.length;
  const was = lines[line] ?? "";
  lines.splice(line, 1, ...(how === "line" ? [was, was] : [" ".repeat(cut % 5) + was]));
  return lines.join("\n");
}

const mutated = fc
  .tuple(fc.constantFrom(...documents), edits)
  .map(([text, all]) => all.reduce((before, edit) => edited(before, edit), text));

/** As JSON text, so that "__proto__" is a key like any other. */
const key = fc.constantFrom("__proto__", "constructor", "a", "run", "needs", "env", "task", "input", "matrix", "type");
const tree = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 5 },
    fc.oneof(
      fc.constantFrom("0", "1e21", "-1", "null", "true"),
      piece.map((text) => JSON.stringify(text)),
    ),
    fc.array(tie("any"), { maxLength: 3 }).map((items) => `[${items.join(",")}]`),
    fc
      .array(fc.tuple(key, tie("any")), { maxLength: 4 })
      .map((entries) => `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`),
  ),
})).any;
const shaped = fc
  .tuple(
    fc.constantFrom("run", "task", "workflow", "wait", "sleep"),
    key,
    tree,
    fc.constantFrom("input", "env", "output"),
    tree,
  )
  .map(
    ([kind, name, value, field, other]) =>
      `{"apiVersion":"hodei.dev/v1","kind":"Workflow","metadata":{"name":"x","version":"1.0.0"},` +
      `"spec":{"${field}":${other},"steps":{"a":{"${kind}":"x","${name}":${value}}}}}`,
  );

const bytes = fc.uint8Array({ maxLength: 200 }).map((all) => Buffer.from(all).toString("latin1"));
const texts = fc.oneof(
  { weight: 5, arbitrary: mutated },
  shaped,
  bytes,
  fc.array(piece).map((all) => all.join("")),
);

/** What is wrong with how the text was taken; undefined when it was read or refused as it should be. */
function complaint(text: string): string | undefined {
  let definition: Definition;
  try {
    definition = loadDefinition(text);
  } catch (error) {
    if (isHodeiError(error, "TOO_LARGE")) return undefined;
    if (!isHodeiError(error, "INVALID_DEFINITION")) throw error;
    if (/\[object|native code|undefined/.test(error.message)) return error.message;
    const placed = error.violations.length > 0 && error.violations.every(({ line = 0 }) => line > 0);
    return placed ? undefined : `no line: ${error.message}`;
  }
  const back = parseNormalForm(normalForm(definition));
  return digestOf(back) === digestOf(definition) ? undefined : "reads back as another";
}

describe("any text", () => {
  it("is a definition that reads back as it is, or is refused with the line of each fault", () => {
    fc.assert(
      fc.property(texts, (text) => {
        expect(complaint(text)).toBeUndefined();
      }),
      { numRuns: 400 },
    );
  });

  it("leaves the prototypes alone", () => {
    const before = Object.getOwnPropertyNames(Object.prototype);
    fc.assert(
      fc.property(shaped, (text) => {
        expect(complaint(text)).toBeUndefined();
      }),
    );
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
  });
});
