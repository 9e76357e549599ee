import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { site } from "../../examples/pipeline.ts";
import { LIMITS } from "../../workflow/limits.ts";
import { definitionOf, digestOf, loadDefinition } from "../../workflow/load.ts";
import { blocks, pages, read, ROOT, table } from "./pages.ts";

const page = read("docs/workflows.md");
const definitions = ["README.md", ...pages()].flatMap((path) =>
  blocks(read(path), "yaml")
    .filter((text) => /^(#.*\n)*apiVersion:/.test(text))
    .map((text, index) => ({ place: `${path} ${index + 1}`, text })),
);
const examples = readdirSync(join(ROOT, "examples")).map((name) => `examples/${name}`);
const texts = examples.filter((path) => path.endsWith(".yaml")).map((path) => ({ path, text: read(path) }));

/** The package re-exports what the examples import by path. */
const exported = read("cmd/package.ts");
const IMPORT = /^import \{([^}]*)\} from "hodei";\n+/gm;

describe("workflow documents", () => {
  it("are found", () => expect(definitions.length).toBeGreaterThan(5));

  it.each(definitions)("of $place load", ({ place, text }) => {
    expect(loadDefinition(text, { file: place }).name).not.toBe("");
  });

  it.each(texts)("of $path load", ({ path, text }) => {
    expect(loadDefinition(text, { file: path }).name).not.toBe("");
  });

  it("of examples/pipeline.ts loads", () => {
    expect(Object.keys(definitionOf(site.document).steps)).toContain("size");
  });

  it("quoted in docs/workflows.md are the examples, word by word", () => {
    const quoted = definitions.filter(({ place }) => place.startsWith("docs/workflows.md"));
    const known = texts.map(({ text }) => text);
    const own = quoted.filter(({ text }) => !known.includes(text)).map(({ text }) => loadDefinition(text).name);
    // A step with every default written out is the page's own.
    expect(own).toEqual(["defaults"]);
  });
});

describe("TypeScript blocks", () => {
  const sources = examples.filter((path) => path.endsWith(".ts")).map(read);
  const quoted = pages().flatMap((path) => blocks(read(path), "ts").map((text) => ({ path, text })));

  it("are found", () => expect(quoted.length).toBeGreaterThan(2));

  it.each(quoted)("of $path stand in an example, which is type-checked", ({ text }) => {
    const body = text.replaceAll(IMPORT, "");
    expect(sources.filter((source) => source.includes(body))).toHaveLength(1);
  });

  it.each(quoted)("of $path import what the package exports", ({ text }) => {
    for (const [, names = ""] of text.matchAll(IMPORT)) {
      for (const name of names.split(",").map((one) => one.trim()))
        expect(exported).toMatch(new RegExp(`\\b${name}\\b`));
    }
  });
});

describe("what docs/workflows.md says", () => {
  it("of a step's defaults is what a step without them means", () => {
    const written = definitions.find(({ text }) => text.includes("name: defaults"))?.text ?? "";
    const short = definitionOf({
      apiVersion: "hodei.dev/v1",
      kind: "Workflow",
      metadata: { name: "defaults", version: "1.0.0" },
      spec: { steps: { hello: { run: "echo hi" } } },
    });
    expect(written).toContain("maxInterval");
    expect(digestOf(loadDefinition(written))).toBe(digestOf(short));
  });

  it("of bounds is what holds, and none is left out", () => {
    const stated = Object.fromEntries(table(page, "Bounds").map(([name = "", value = ""]) => [name, amountOf(value)]));
    expect(stated).toEqual({ ...LIMITS });
  });
});

function amountOf(text: string): number {
  const [amount = "", unit] = text.split(" ");
  return Number(amount) * (unit === "KiB" ? 1024 : unit === "MiB" ? 1024 ** 2 : 1);
}

describe("links between pages", () => {
  const links = pages().flatMap((path) =>
    [...read(path).matchAll(/\]\((?!https?:)([^)]+)\)/g)].map((match) => ({ path, target: match[1] ?? "" })),
  );

  it.each(links)("$path → $target leads somewhere", ({ path, target }) => {
    expect(leadsTo(path, target)).toBe(true);
  });
});

function leadsTo(path: string, target: string): boolean {
  const [file = "", anchor] = target.split("#");
  const aim = file === "" ? path : join(path, "..", file);
  if (anchor === undefined) return existsSync(join(ROOT, aim));
  return [...read(aim).matchAll(/^#+ (.*)$/gm)].some((match) => slugOf(match[1] ?? "") === anchor);
}

const slugOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-");
