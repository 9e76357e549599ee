import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");

it("ARCHITECTURE.md names functions that are where it says", () => {
  const links = [...text.matchAll(/\[`([^`]+)`\]\(([^)]+)\)/g)].map(([, name = "", path = ""]) => ({ name, path }));
  expect(links.length).toBeGreaterThan(20);
  const wrong = links.filter(({ name, path }) => {
    const source = existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), "utf8") : "";
    return !name.split(".").every((part) => new RegExp(`\\b${part}\\b`).test(source));
  });
  expect(wrong).toEqual([]);
});

it("ARCHITECTURE.md names tests that are where it says", () => {
  const claims = [...text.matchAll(/"([^"]+)" \(\[[^\]]+\]\(([^)]+)\)\)/g)].map(([, title = "", path = ""]) => ({
    title,
    path,
  }));
  expect(claims.length).toBeGreaterThan(12);
  expect(claims.filter(({ title, path }) => !readFileSync(join(ROOT, path), "utf8").includes(`"${title}"`))).toEqual(
    [],
  );
});

it("every relative link of the top pages leads somewhere", () => {
  const dead = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].flatMap((page) =>
    [...readFileSync(join(ROOT, page), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g)]
      .map(([, path = ""]) => path)
      .filter((path) => !existsSync(join(ROOT, path)))
      .map((path) => `${page}: ${path}`),
  );
  expect(dead).toEqual([]);
});
